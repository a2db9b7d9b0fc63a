"""A recorded batch stepped swiftly: whether a replay gives the same, and nothing of what differs.

Rules:
1. By tapes where nothing is unusual (`tapes`); otherwise some hundred steps at a time, which are compared at once.
2. Whatever goes wrong on the way, it is not the same: the careful way meets it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym
import numpy as np

from .compared_infos import InfoRows, unlike_row
from .infos import InfoColumns
from .recorded_batch import RecordedBatch, shaped
from .tapes import batch_tape
from .vector_infos import Reader, info_reader

if TYPE_CHECKING:
    from ._tape import Tape

STEPS_AT_ONCE: Final = 256


class SwiftBatch:
    """The swift way through a batch, as it is laid out at the moment.

    Args:
        batch: the recorded one.
    """

    def __init__(self, batch: RecordedBatch) -> None:
        self._batch = batch

    def is_same(self) -> bool:
        """Whether a replay gives the same; where it does not, or cannot be told, `CarefulBatch` says what differs."""
        taped = [partial(self._is_as_taped, dtype) for dtype in (np.float64, np.float32)]
        return any(self._goes_through(way) for way in (*taped, self._is_same))

    def _goes_through(self, way: Callable[[gym.vector.VectorEnv[Any, Any, Any]], bool]) -> bool:
        batch = self._batch
        env = batch.make()
        try:
            return way(env)
        except Exception:  # whatever it is, the careful way meets it again
            return False
        finally:
            env.close()

    def _is_as_taped(self, dtype: type[np.floating[Any]], env: gym.vector.VectorEnv[Any, Any, Any]) -> bool:
        """By tapes, where nothing is unusual: observations are one array, and there are no infos.

        `dtype`: of the rewards that the environment gives.
        """
        batch = self._batch
        unusual = batch.same_step or batch.digests or batch.seen_pictures or len(batch.observations) != 1
        if unusual or not len(batch.slot) or not batch.infos.is_empty:
            return False
        row_of = self._row_of()
        observations: Any = None
        for start, stop in self._stretches(len(row_of)):
            observations, given = batch.reset(env, start, observations, None)
            rows = row_of[start:stop]
            after = row_of[start + 1 : stop + (stop not in batch.resets)]
            following = np.concatenate([after, np.full((len(rows) - len(after), batch.n), -1)])
            first = rows[0]
            there = first >= 0
            seen = batch.split(observations)[0][there]
            if batch.observations[0][first[there]].tobytes() != seen.tobytes():
                return False
            if not self._begins_same(first.tolist(), given):
                return False
            taped = self._tape(rows, following, dtype)
            actions = self._batched_actions(rows, env)
            if taped is None:
                return False
            done, last = taped.play(env.step, actions, 0)
            if done != len(actions):
                return False
            observations = last[0]
        return True

    def _tape(self, rows: np.ndarray, following: np.ndarray, dtype: type[np.floating[Any]]) -> Tape | None:
        """The tape of some calls.

        Args:
            rows: by call and place, which recorded row it is, -1: none.
            following: the same of the calls after each, -1 also where there is a reset in between.
            dtype: of the rewards.
        """
        batch = self._batch
        there = rows >= 0
        which = np.maximum(rows, 0)
        terminated, truncated = (batch.ends[name][which] & there for name in ("terminated", "truncated"))
        afters, known = batch.observations[0][np.maximum(following, 0)], following >= 0
        done = terminated | truncated
        final = np.array([batch.final_of.get(episode, -1) for episode in batch.episode[rows[done]].tolist()], np.int64)
        known[done] = final >= 0
        if batch.finals and len(final):
            afters[done] = batch.finals[0][np.maximum(final, 0)]
        rewards = batch.rewards[which].astype(dtype)
        if rewards.astype(np.float64)[there].tobytes() != batch.rewards[rows[there]].tobytes():
            return None
        return batch_tape(afters, known, rewards, (terminated, truncated), there)

    def _row_of(self) -> np.ndarray:
        """By slot and place, which recorded row it is, -1: none."""
        batch = self._batch
        row_of = np.full((int(batch.slot.max()) + 1, batch.n), -1, np.int64)
        row_of[batch.slot, batch.place] = np.arange(len(batch.slot))
        return row_of

    def _stretches(self, slots: int) -> Iterator[tuple[int, int]]:
        """Slots that are stepped without a reset by the caller, some at a time."""
        batch = self._batch
        edges = {*range(0, slots, STEPS_AT_ONCE), *(slot for slot in batch.resets if slot < slots), slots}
        return pairwise(sorted(edges))

    def _batched_actions(self, rows: np.ndarray, env: gym.vector.VectorEnv[Any, Any, Any]) -> list[Any]:
        """What `step` takes; while a sub-environment is being reset, its action counts for nothing."""
        batch = self._batch
        some = np.maximum(rows, 0)
        actions = [leaf[some] for leaf in batch.actions]
        space = env.single_action_space
        if not isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
            return list(actions[0])
        return [shaped(space, [leaf[k] for leaf in actions]) for k in range(len(rows))]

    def _is_same(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> bool:
        """Steps some hundred times, then compares all of it at once; pictures and infos of resets at once."""
        batch = self._batch
        if not len(batch.slot):
            return True
        row_of = self._row_of()
        films = batch.films()
        observations, given = None, None
        for start, stop in self._stretches(len(row_of)):
            observations, given = batch.reset(env, start, observations, given)
            rows = row_of[start:stop]
            actions = self._batched_actions(rows, env)
            kept = batch.split(observations) if batch.observations else []
            seen = [np.empty((len(rows) + 1, *leaf.shape), leaf.dtype) for leaf in kept]
            rewards = np.empty(rows.shape, np.float64)
            terminated, truncated = np.empty(rows.shape, bool), np.empty(rows.shape, bool)
            ends = terminated, truncated
            noted, places_of = batch.infos.like(), rows.tolist()
            finals: dict[int, Any] = {}
            for k, taken in enumerate(actions):
                if seen:
                    for whole, leaf in zip(seen, batch.split(observations), strict=True):
                        whole[k] = leaf
                if (given or batch.has_reset_infos) and not self._begins_same(places_of[k], given):
                    return False
                if films is not None and any(films.unlike(places_of[k], observations)):
                    return False
                observations, rewards[k], terminated[k], truncated[k], infos = env.step(taken)
                given = info_reader(infos) if infos else None
                if infos or films is not None:
                    done = np.logical_or(terminated[k], truncated[k])
                    batch.note_infos(noted, k * batch.n, places_of[k], done, infos)
                    last = batch.last_observations(places_of[k], done, observations, infos)
                    if films is not None and any(films.unlike_last(last)):
                        return False
                    if batch.same_step:
                        finals |= {places_of[k][place]: value for place, value in last.items()}
            for whole, leaf in zip(seen, batch.split(observations) if seen else (), strict=True):
                whole[-1] = leaf
            if not self._are_same(rows, seen, rewards, ends, finals) or not self._same_infos(noted, rows):
                return False
        return True

    def _begins_same(self, rows: list[int], given: Reader | None) -> bool:
        batch = self._batch
        return next(batch.unlike_resets(rows, given), None) is None

    def _same_infos(self, noted: InfoColumns, rows: np.ndarray) -> bool:
        batch = self._batch
        where = np.flatnonzero(rows.ravel() >= 0)
        recorded = batch.infos.take(rows.ravel()[where])
        if not noted.nbytes and recorded.is_empty:
            return True
        to_row = np.full(rows.size, -1, np.int64)
        to_row[where] = np.arange(len(where))
        replayed = InfoRows(*noted.close(len(where), lambda at: to_row[np.asarray(at, np.int64)]))
        return unlike_row(recorded, replayed, batch.ignored) is None

    def _are_same(
        self,
        rows: np.ndarray,
        seen: list[np.ndarray],
        rewards: np.ndarray,
        ends: tuple[np.ndarray, np.ndarray],
        finals: dict[int, Any],
    ) -> bool:
        """Whether what some steps gave is as recorded.

        Args:
            rows: by step and place, which recorded row it is, -1: none.
            seen: observations before each step, and one more.
            finals: under SAME_STEP the last observations of episodes, by their last row.
        """
        batch = self._batch
        there = rows >= 0
        which = rows[there]
        pairs = [(was[which], kept[:-1][there]) for was, kept in zip(batch.observations, seen, strict=True)]
        pairs.append((batch.rewards[which], rewards[there]))
        pairs += [(batch.ends[name][which], ends[i][there]) for i, name in enumerate(("terminated", "truncated"))]
        done = there & (ends[0] | ends[1])
        if batch.same_step:
            for row in rows[done].tolist():
                if (at := batch.final_of.get(int(batch.episode[row]))) is not None:
                    if row not in finals:
                        return False
                    now = batch.split_one(finals[row])
                    pairs += [(was[at], value) for was, value in zip(batch.finals, now, strict=True)]
        else:
            episodes = batch.episode[rows[done]].tolist()
            known = np.array([episode in batch.final_of for episode in episodes], bool)
            at = [batch.final_of[episode] for episode in episodes if episode in batch.final_of]
            pairs += [(was[at], kept[1:][done][known]) for was, kept in zip(batch.finals, seen, strict=False) if at]
        return all(was.dtype == now.dtype and was.tobytes() == now.tobytes() for was, now in pairs)
