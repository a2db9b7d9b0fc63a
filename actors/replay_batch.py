"""Replay of native vector environments: one random state for all sub-environments, so that only the whole batch replays.

The rows of a producer are laid out again as the batch that they were: step k of the batch holds one row of each
sub-environment, except where that one was being reset (NEXT_STEP autoreset ignores an action and gives no row).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pyarrow as pa

from rolltape.schema.space_codec import SpaceCodec

from .replay import Divergence, Replayed
from .stepping import EnvRecipe, make_sub_environments

if TYPE_CHECKING:
    from rolltape.storage.lake import Run

COLUMNS = ("worker", "incarnation", "sub_env", "episode", "t", "action", "reward", "terminated", "truncated")


def replay_batches(run: Run, wanted: list[dict[str, Any]]) -> Iterator[Replayed]:
    """Replay the batches to which the wanted episodes belong; yields the wanted ones."""
    numbers = {row["episode"] for row in wanted}
    for worker, incarnation in run.episodes("replay = 'batch'").select("distinct worker, incarnation").fetchall():
        rows = (
            run.episodes(f"worker = {worker} and incarnation = {incarnation} and status <> 'lost'")
            .order("sub_env", "episode")
            .select("sub_env", "episode", "length", "seed", "seed_episode", "status")
            .to_dicts()
        )
        mine = [row for row in rows if row["episode"] in numbers]
        if not mine:
            continue
        for result in _replay(run, worker, incarnation, rows):
            if result.episode in numbers:
                yield result


def _replay(run: Run, worker: int, incarnation: int, rows: list[dict[str, Any]]) -> Iterator[Replayed]:
    reason = _unreplayable(run, rows)
    if reason:
        for row in rows:
            yield Replayed(row["episode"], "not replayable", reason=reason)
        return
    batch = _Batch(run, worker, incarnation, rows)
    began = time.perf_counter()
    bad = batch.step_through()
    seconds = (time.perf_counter() - began) / max(1, len(rows))
    for row in rows:
        place = row["sub_env"] - batch.offset
        first = bad.get(place)
        if first is None or row["episode"] < first[0]:
            yield Replayed(row["episode"], "exact", row["length"], seconds)
        elif row["episode"] == first[0]:
            yield Replayed(row["episode"], "diverged", row["length"], seconds, "", first[1])
        else:
            yield Replayed(row["episode"], "diverged", reason=f"episode {first[0]} before it diverged")


def _unreplayable(run: Run, rows: list[dict[str, Any]]) -> str:
    if len({row["seed"] for row in rows}) != 1 or len({row["sub_env"] for row in rows}) != len(
        {(row["sub_env"], row["seed_episode"]) for row in rows}
    ):
        return "the batch was reset with a seed more than once"
    if not all(SpaceCodec(space).is_fixed for space in run.info["spaces"].values()):
        return "its spaces have no fixed size"
    if run.info["frames"]["policy"] == "observation":
        return "observations of a native vector environment that are pictures are not compared"
    return ""


class _Batch:
    def __init__(self, run: Run, worker: int, incarnation: int, rows: list[dict[str, Any]]) -> None:
        self._run = run
        info = run.info
        self._codec = SpaceCodec(info["spaces"]["observation"])
        table = (
            run.steps(where=f"worker = {worker} and incarnation = {incarnation}")
            .order("sub_env", "episode", "t")
            .to_arrow()
            .combine_chunks()
        )
        sub_env = table["sub_env"].to_numpy()
        self.offset = int(sub_env.min())
        self.n = int(sub_env.max()) - self.offset + 1
        self._seed = rows[0]["seed"]
        self._place = sub_env - self.offset
        self._episode = table["episode"].to_numpy()
        self._t = table["t"].to_numpy()
        self._slot = _slots(self._place, self._episode, gap=int(info["env"]["autoreset"] == "next_step"))
        self._order = np.lexsort((self._place, self._slot))
        self._actions = _batched(SpaceCodec(info["spaces"]["action"]), table["action"])
        self._observations = _batched(self._codec, table["observation"])
        self._rewards = table["reward"].to_numpy()
        self._ends = {
            field: table[field].to_numpy(zero_copy_only=False) for field in ("terminated", "truncated")
        }
        self._env = self._make(info)

    def _make(self, info: dict[str, Any]) -> gym.vector.VectorEnv[Any, Any, Any]:
        env = info["env"]
        if env.get("source"):
            recipe = EnvRecipe(env["source"], env.get("kwargs") or {}, "native", env["autoreset"])
            return make_sub_environments(
                recipe, True, self.n, run_seed=0, sub_env_offset=0, first_index=[0] * self.n
            ).env
        from gymnasium.envs.registration import EnvSpec

        spec = EnvSpec.from_json(env["spec"])
        spec.kwargs.pop("num_envs", None)
        spec.kwargs.pop("vectorization_mode", None)
        return gym.make_vec(spec, num_envs=self.n, vectorization_mode="vector_entry_point")

    def step_through(self) -> dict[int, tuple[int, Divergence]]:
        """The first difference of each sub-environment that has one: its episode and what differs."""
        bad: dict[int, tuple[int, Divergence]] = {}
        observations, _ = self._env.reset(seed=self._seed)
        slots = self._slot[self._order]
        edges = np.flatnonzero(np.diff(slots, prepend=-1, append=slots[-1] + 1))
        default = self._actions[self._order[0]]
        actions = np.broadcast_to(default, (self.n, *default.shape)).copy()
        expected_slot = 0
        for first, last in zip(edges[:-1], edges[1:], strict=True):
            rows = self._order[first:last]
            slot = int(slots[first])
            while expected_slot < slot:  # every sub-environment was being reset at once
                observations, *_ = self._env.step(actions)
                expected_slot += 1
            places = self._place[rows]
            actions[places] = self._actions[rows]
            self._note(bad, rows, places, "observation", self._observations[rows], np.asarray(observations)[places])
            observations, rewards, terminated, truncated, _ = self._env.step(actions)
            expected_slot += 1
            self._note(bad, rows, places, "reward", self._rewards[rows], rewards[places].astype(np.float64))
            self._note(bad, rows, places, "terminated", self._ends["terminated"][rows], terminated[places])
            self._note(bad, rows, places, "truncated", self._ends["truncated"][rows], truncated[places])
        self._env.close()
        return bad

    def _note(
        self, bad: dict[int, tuple[int, Divergence]], rows: np.ndarray, places: np.ndarray, field: str, was: Any, now: Any
    ) -> None:
        if was.tobytes() == np.ascontiguousarray(now).tobytes():
            return
        for i in range(len(rows)):
            place = int(places[i])
            if place in bad or was[i].tobytes() == np.ascontiguousarray(now[i]).tobytes():
                continue
            size = float(np.abs(np.asarray(was[i], np.float64) - np.asarray(now[i], np.float64)).max())
            difference = Divergence(int(self._t[rows[i]]), field, was[i].tolist(), now[i].tolist(), size)
            bad[place] = (int(self._episode[rows[i]]), difference)


def _slots(place: np.ndarray, episode: np.ndarray, gap: int) -> np.ndarray:
    """The step of the batch in which each row was made; rows are sorted by sub-environment, episode and t."""
    n = len(place)
    new_place = np.diff(place, prepend=-1) != 0
    new_episode = (np.diff(episode, prepend=-1) != 0) & ~new_place
    running = np.arange(n) + gap * np.cumsum(new_episode)
    return running - np.maximum.accumulate(np.where(new_place, running, 0))


def _batched(codec: SpaceCodec, column: pa.ChunkedArray) -> np.ndarray:
    value = codec.decode_batch(column)
    if not isinstance(value, np.ndarray):
        raise TypeError("only spaces of one array are laid out as a batch")
    return value
