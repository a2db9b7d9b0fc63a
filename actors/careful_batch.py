"""A recorded batch stepped carefully: what differs first in each of its sub-environments."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from .compared_infos import InfoRows, unlike_row
from .differences import ANOTHER, magnitude
from .recorded_batch import RecordedBatch, shaped
from .replayed import Divergence
from .vector_infos import info_reader

Found = dict[int, tuple[int, Divergence]]
"""By place in the batch: the episode that differs first, and how."""


class CarefulBatch:
    """The careful way through a batch, as it is laid out at the moment.

    Args:
        batch: the recorded one.
    """

    def __init__(self, batch: RecordedBatch) -> None:
        self._batch = batch

    def step_through(self) -> Found:
        """The first difference of each sub-environment that has one: its episode and what differs."""
        batch = self._batch
        env = batch.make()
        try:
            return self._step_through(env)
        finally:
            env.close()

    def _step_through(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> Found:
        batch = self._batch
        bad: Found = {}
        if not len(batch.slot):
            return bad
        order = np.lexsort((batch.place, batch.slot))
        films = batch.films()
        observations, given = None, None
        slots = batch.slot[order]
        edges = np.flatnonzero(np.diff(slots, prepend=-1, append=slots[-1] + 1))
        batched = batch_space(env.single_action_space, batch.n)
        actions = [np.repeat(leaf[order[:1]], batch.n, axis=0) for leaf in batch.actions]
        expected = 0
        for first, last in pairwise(edges):
            rows = order[first:last]
            slot = int(slots[first])
            observations, given = batch.reset(env, expected, observations, given)
            while expected < slot:  # every sub-environment was being reset at once
                observations, *_, infos = env.step(shaped(batched, actions))
                expected += 1
                observations, given = batch.reset(env, expected, observations, info_reader(infos))
            places = batch.place[rows]
            by_place = [-1] * batch.n
            for place, row in zip(places.tolist(), rows.tolist(), strict=True):
                by_place[place] = row
            for whole, leaf in zip(actions, batch.actions, strict=True):
                whole[places] = leaf[rows]
            for place, divergence in batch.unlike_resets(by_place, given):
                self._note_one(bad, by_place[place], divergence)
            before = batch.split(observations) if batch.observations else ()
            for was, now in zip(batch.observations, before, strict=True):
                self._note(bad, rows, places, "observation", was[rows], now[places])
            if films is not None:
                for place, divergence in films.unlike(by_place, observations):
                    self._note_one(bad, by_place[place], divergence)
            observations, rewards, terminated, truncated, infos = env.step(shaped(batched, actions))
            expected += 1
            given = info_reader(infos)
            self._note(bad, rows, places, "reward", batch.rewards[rows], rewards[places].astype(np.float64))
            ends = batch.ends["terminated"][rows] | batch.ends["truncated"][rows]
            for name, flags in (("terminated", terminated), ("truncated", truncated)):
                self._note(bad, rows, places, name, batch.ends[name][rows], np.asarray(flags, bool)[places])
            done = np.zeros(batch.n, bool)
            done[places] = ends
            self._note_unlike_infos(bad, by_place, done, infos)
            last_seen = batch.last_observations(by_place, done, observations, infos)
            if films is not None:
                for place, divergence in films.unlike_last(last_seen):
                    self._note_one(bad, by_place[place], divergence)
            if ends.any() and batch.observations:
                self._note_finals(bad, rows[ends], observations, last_seen)
        return bad

    def _note_unlike_infos(self, bad: Found, by_place: list[int], done: np.ndarray, infos: dict[str, Any]) -> None:
        batch = self._batch
        for place, row in enumerate(by_place):
            if row < 0 or place in bad or ((recorded := batch.infos.slice(row, 1)).is_empty and not infos):
                continue
            noted = batch.infos.like()
            alone = [row if at == place else -1 for at in range(batch.n)]
            batch.note_infos(noted, -place, alone, done, infos)
            unlike = unlike_row(recorded, InfoRows(*noted.close(1)), batch.ignored)
            if unlike is not None:
                _, key, was, now = unlike
                divergence = Divergence(int(batch.t[row]), f"info.{key}", was, now, magnitude(was, now))
                self._note_one(bad, row, divergence)

    def _note_finals(self, bad: Found, rows: np.ndarray, observations: Any, last: dict[int, Any]) -> None:
        """The observation after an episode's last step, where its row is durable."""
        batch = self._batch
        rows = np.array([row for row in rows.tolist() if int(batch.episode[row]) in batch.final_of], np.int64)
        at = [batch.final_of[int(batch.episode[row])] for row in rows]
        places = batch.place[rows]
        if not batch.same_step:
            for was, now in zip(batch.finals, batch.split(observations), strict=True):
                self._note(bad, rows, places, "observation", was[at], now[places], after=1)
            return
        for row, place, known in zip(rows.tolist(), places.tolist(), at, strict=True):
            if place not in last:
                was = batch.finals[0][known].tolist()
                self._note_one(bad, row, Divergence(int(batch.t[row]) + 1, "observation", was, None, None))
                continue
            one = np.array([row]), np.array([place])
            for was, now in zip(batch.finals, batch.split_one(last[place]), strict=True):
                self._note(bad, *one, "observation", was[known : known + 1], now[None], after=1)

    def _note_one(self, bad: Found, row: int, divergence: Divergence) -> None:
        batch = self._batch
        bad.setdefault(int(batch.place[row]), (int(batch.episode[row]), divergence))

    def _note(
        self, bad: Found, rows: np.ndarray, places: np.ndarray, field: str, was: Any, now: Any, after: int = 0
    ) -> None:
        batch = self._batch
        if was.tobytes() == np.ascontiguousarray(now).tobytes():
            return
        for i, row in enumerate(rows.tolist()):
            if was[i].tobytes() == np.ascontiguousarray(now[i]).tobytes():
                continue
            t = int(batch.t[row]) + after
            if batch.digests and field == "observation":
                found = Divergence(t, field, *ANOTHER, None)
            else:
                found = Divergence(t, field, was[i].tolist(), now[i].tolist(), magnitude(was[i], now[i]))
            self._note_one(bad, row, found)
