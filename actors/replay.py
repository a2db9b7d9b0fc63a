"""Re-execution of recorded episodes, compared with the recording bit for bit.

Rules:
1. `alone`: the environment is reset with the episode's seed and options and given its recorded actions.
2. `forward`: replayed in one environment from the seeded reset (`seed_episode`) through every episode after it, because
   between them the environment's random state goes on.
3. `batch`: a native vector environment has one random state: all its sub-environments are replayed together from its reset.
4. `none`: was never seeded, or the recording has a hole before it: it cannot be replayed, and that is said.
5. Observation, reward, terminated, truncated and infos must be the same bits. The first difference ends the episode's replay.
6. An episode that differs is replayed once more. If the two replays differ, the environment is not deterministic.
7. Aborted episodes are replayed as far as they went. Lost ones are not: nobody knows their end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
import pyarrow as pa

from rolltape.schema.errors import UnknownEnvironment
from rolltape.schema.info_json import decode_info
from rolltape.schema.space_codec import SpaceCodec

from .episode_rows import REPLAYS
from .infos import InfoColumns
from .stepping import EnvRecipe, make_env

if TYPE_CHECKING:
    from rolltape.storage.lake import Run

Outcome = Literal["exact", "diverged", "nondeterministic", "not replayable"]
MakeEnv = Callable[[], gym.Env[Any, Any]]

EPISODE_COLUMNS = ("episode", "sub_env", "length", "status", "seed", "seed_episode", "replay", "options")


READ_STEPS = 100_000
"""Steps that are read from the lake at once."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference between a recording and its replay.

    `magnitude` is the largest absolute difference of numbers, None where the values are not numbers of one shape.
    """

    t: int
    field: str
    recorded: Any
    replayed: Any
    magnitude: float | None

    def __str__(self) -> str:
        size = "" if self.magnitude is None else f" (differs by {self.magnitude:g})"
        return f"t {self.t}, {self.field}: recorded {self.recorded}, replayed {self.replayed}{size}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one episode; `seconds` is the time in the environment and in comparing."""

    episode: int
    outcome: Outcome
    steps: int = 0
    seconds: float = 0.0
    reason: str = ""
    divergence: Divergence | None = None


class Replayer:
    """Replays episodes of one run in this process.

    Args:
        run: the recording.
        make: makes the environment; None: as `run.json` says. Needed where the recorded one was made by a callable
            that cannot be imported, or was wrapped by hand.
    """

    def __init__(self, run: Run, make: MakeEnv | None = None) -> None:
        self._run = run
        self._make = make or recorded_env(run)
        self._observation = SpaceCodec(run.info["spaces"]["observation"])
        self._action = SpaceCodec(run.info["spaces"]["action"])
        self._images = run.info["frames"]["policy"] != "none"
        self._env: gym.Env[Any, Any] | None = None

    def episodes(self, where: str | None = None) -> Iterator[Replayed]:
        """Replay the episodes that fit an SQL condition, in the order of sub-environments."""
        wanted = self._rows(where)
        kept = {kind: [r for r in wanted if r["replay"] == kind and r["status"] != "lost"] for kind in REPLAYS}
        for episodes in self._read(kept["alone"]):
            for episode in episodes:
                yield self._play([episode])[0]
        yield from self._forward(kept["forward"])
        if kept["batch"]:
            from .replay_batch import replay_batches

            yield from replay_batches(self._run, kept["batch"])
        for row in wanted:
            if row["replay"] == "none" or row["status"] == "lost":
                reason = "its producer died before it ended" if row["status"] == "lost" else "no reset before it was seeded"
                yield Replayed(row["episode"], "not replayable", reason=reason)

    def close(self) -> None:
        """Close the environment."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _forward(self, wanted: list[dict[str, Any]]) -> Iterator[Replayed]:
        chains: dict[tuple[int, int], set[int]] = {}
        for row in wanted:
            chains.setdefault((row["sub_env"], row["seed_episode"]), set()).add(row["episode"])
        stride = self._run.info["episode_stride"]
        for (sub_env, seeded), episodes in chains.items():
            where = f"sub_env = {sub_env} and episode >= {seeded} and episode <= {max(episodes)}"
            chain = self._rows(where)
            numbers = [row["episode"] for row in chain]
            if numbers != list(range(seeded, max(episodes) + 1, stride)) or any(r["status"] == "lost" for r in chain):
                for episode in sorted(episodes):
                    yield Replayed(episode, "not replayable", reason="an episode between its seeded reset and it is missing")
                continue
            read = [episode for part in self._read(chain) for episode in part]
            for result in self._play(read):
                if result.episode in episodes:
                    yield result

    def _rows(self, where: str | None) -> list[dict[str, Any]]:
        return self._run.episodes(where).order("sub_env", "episode").select(*EPISODE_COLUMNS).to_dicts()

    def _read(self, rows: list[dict[str, Any]]) -> Iterator[list[RecordedEpisode]]:
        """The recorded values of many episodes, read some `READ_STEPS` steps at a time."""
        start = 0
        while start < len(rows):
            stop, steps = start, 0
            while stop < len(rows) and (steps == 0 or steps + rows[stop]["length"] <= READ_STEPS):
                steps += rows[stop]["length"]
                stop += 1
            part = rows[start:stop]
            start = stop
            among = f"episode in ({', '.join(str(row['episode']) for row in part)})"
            table = self._run.steps(where=among).order("sub_env", "episode", "t").to_arrow()
            ended = self._run.episodes(among).order("sub_env", "episode").to_arrow()
            edges = np.searchsorted(_ranks(table, part), np.arange(len(part) + 1))
            yield [
                RecordedEpisode(self._run, row, table.slice(a, b - a), ended.slice(place, 1), self._observation, self._action)
                for place, (row, a, b) in enumerate(zip(part, edges[:-1], edges[1:], strict=True))
            ]

    def _play(self, chain: Sequence[RecordedEpisode]) -> list[Replayed]:
        results = self._play_once(chain)
        bad = next((r for r in results if r.divergence is not None), None)
        if bad is None:
            return results
        again = next((r for r in self._play_once(chain) if r.divergence is not None), None)
        if again is not None and (again.episode, again.divergence) == (bad.episode, bad.divergence):
            return results
        reason = "two replays with the same seed and actions differ: the environment is not deterministic"
        return [
            r if r.divergence is None else Replayed(r.episode, "nondeterministic", r.steps, r.seconds, reason, r.divergence)
            for r in results
        ]

    def _play_once(self, chain: Sequence[RecordedEpisode]) -> list[Replayed]:
        if self._env is None:
            self._env = self._make()
        env, results = self._env, []
        diverged: Replayed | None = None
        for place, recorded in enumerate(chain):
            row = recorded.row
            if diverged is not None:
                reason = f"episode {diverged.episode} before it diverged"
                results.append(Replayed(row["episode"], "diverged", reason=reason))
                continue
            began = time.perf_counter()
            options = decode_info(row["options"]) or None
            seed = row["seed"] if place == 0 else None
            observation, _ = env.reset(seed=seed, options=options)
            divergence, steps = recorded.compare(env, observation)
            seconds = time.perf_counter() - began
            outcome: Outcome = "exact" if divergence is None else "diverged"
            results.append(Replayed(row["episode"], outcome, steps, seconds, "", divergence))
            if divergence is not None:
                diverged = results[-1]
        return results


class RecordedEpisode:
    """The recorded values of one episode, to be compared with a replay of it."""

    def __init__(
        self,
        run: Run,
        row: dict[str, Any],
        steps: pa.Table,
        ended: pa.Table,
        observation: SpaceCodec,
        action: SpaceCodec,
    ) -> None:
        self._run, self.row, self._observation = run, row, observation
        self._vectorised = run.info["env"]["kind"] == "recorder" and run.info["env"]["vectorization"] != "none"
        self.steps = steps
        self.actions = action.decode(steps["action"])
        self._final = ended["final_observation"] if "final_observation" in ended.column_names else None

    @property
    def whole(self) -> bool:
        """Whether every step of the episode is there."""
        return self.steps.num_rows == self.row["length"]

    def compare(self, env: gym.Env[Any, Any], observation: Any) -> tuple[Divergence | None, int]:
        """Step `env`, which was just reset and returned `observation`; the first difference and the steps taken."""
        if not self.whole:
            return Divergence(self.steps.num_rows, "length", self.row["length"], self.steps.num_rows, None), 0
        seen, rewards, ends = [_copied(observation)], [], []
        infos: list[dict[str, Any]] = []
        step = env.step
        n = len(self.actions)
        for place, action in enumerate(self.actions):
            observation, reward, terminated, truncated, info = step(action)
            seen.append(_copied(observation))
            rewards.append(reward)
            infos.append(dict(info))
            if terminated or truncated:
                ends.append((place, bool(terminated), bool(truncated)))
                break
        return self.difference(seen, rewards, infos, ends), min(n, len(rewards))

    def difference(
        self, seen: list[Any], rewards: list[Any], infos: list[dict[str, Any]], ends: list[tuple[int, bool, bool]]
    ) -> Divergence | None:
        """Compare what a replay gave with what was recorded.

        Args:
            seen: observations, one more than steps.
            rewards, infos: of each step.
            ends: place, terminated and truncated of the step that ended the episode, if one did.
        """
        n = self.steps.num_rows
        done = len(rewards)
        found: list[Divergence] = []
        found += self._observations(seen)
        recorded = self.steps["reward"].to_numpy()[:done]
        replayed = np.asarray(rewards, np.float64)
        found += _first(recorded.view(np.int64) != replayed.view(np.int64), "reward", recorded, replayed)
        for field, part in (("terminated", 1), ("truncated", 2)):
            flags = np.zeros(done, bool)
            for end in ends:
                flags[end[0]] = end[part]
            was = self.steps[field].to_numpy(zero_copy_only=False)[:done]
            found += _first(was != flags, field, was, flags)
        found += self._infos(infos)
        if not found and done < n:
            found.append(Divergence(done, "length", n, done, float(n - done)))
        return min(found, key=lambda d: d.t, default=None)

    def _observations(self, seen: list[Any]) -> list[Divergence]:
        if "observation" not in self.steps.column_names:
            return self._pictures(seen)
        recorded = self.steps["observation"]
        if self._final is not None and len(self._final) and self._final[0].is_valid:
            recorded = pa.chunked_array([*recorded.chunks, *self._final.chunks])
        n = min(len(recorded), len(seen))
        replayed = self._observation.encode(seen[:n])
        return _column_difference("observation", recorded.slice(0, n), replayed, self._observation)

    def _as_vectorised(self, row: int, info: dict[str, Any]) -> dict[str, Any]:
        """The info as a vector environment hands it on: a number in the type of the key's first value."""
        was = decode_info(self.steps["info_json"][row].as_py())
        typed = self.steps["info"][row].as_py() if "info" in self.steps.column_names else {}
        was |= {key: value for key, value in typed.items() if value is not None}
        return {
            key: type(was[key])(value) if type(was.get(key)) in (int, bool) and isinstance(value, float) else value
            for key, value in info.items()
        }

    def _pictures(self, seen: list[Any]) -> list[Divergence]:
        if self._run.info["frames"]["policy"] == "none":
            return []
        for t, (was, now) in enumerate(zip(self._run.frames(self.row["episode"], kind="observation"), seen, strict=False)):
            if was.tobytes() != np.ascontiguousarray(now).tobytes():
                size = float(np.abs(was.astype(np.int64) - now.astype(np.int64)).max())
                pixels = int((was != now).sum())
                return [Divergence(t, "observation", f"picture {was.shape}", f"{pixels} values differ", size)]
        return []

    def _infos(self, infos: list[dict[str, Any]]) -> list[Divergence]:
        types: dict[str, pa.DataType] = {}
        if "info" in self.steps.column_names:
            types = {field.name: field.type for field in self.steps["info"].type}
        columns = InfoColumns(lambda _: types)
        for row, info in enumerate(infos):
            if info:
                columns.add(row, self._as_vectorised(row, info) if self._vectorised else info)
        done = len(infos)
        struct, json = columns.close(done)
        found = []
        if types and struct is not None:
            found += _rows_difference("info", self.steps["info"].slice(0, done), struct)
        return found + _rows_difference("info_json", self.steps["info_json"].slice(0, done), json)


def recorded_env(run: Run) -> MakeEnv:
    """How to make the environment that `run.json` describes.

    Raises UnknownEnvironment where it says too little: made by a callable that cannot be imported.
    """
    env = run.info["env"]
    if env.get("source"):
        recipe = EnvRecipe(env["source"], env.get("kwargs") or {})
        return lambda: make_env(recipe)
    spec = env.get("spec")
    if isinstance(spec, str) and spec.startswith("{"):
        from gymnasium.envs.registration import EnvSpec

        made = EnvSpec.from_json(spec)
        for name in ("num_envs", "vectorization_mode", "vector_kwargs", "wrappers"):
            made.kwargs.pop(name, None)
        recipe = EnvRecipe(made)
        return lambda: make_env(recipe)
    raise UnknownEnvironment(
        f"Run {run.run_id} does not say how to make {env['env_id']} again. Give a function that does: "
        f"Replayer(run, make=lambda: …)."
    )


def version_differences(run: Run) -> dict[str, tuple[str, str | None]]:
    """Packages whose version differs from the recording's: name -> (recorded, here)."""
    from .recording import package_versions

    here = package_versions()
    return {name: (was, here.get(name)) for name, was in run.info.get("versions", {}).items() if here.get(name) != was}


def _ranks(table: pa.Table, rows: list[dict[str, Any]]) -> np.ndarray:
    """For each step the place of its episode in `rows`; both are sorted alike."""
    place = {row["episode"]: i for i, row in enumerate(rows)}
    numbers, back = np.unique(table["episode"].to_numpy(), return_inverse=True)
    return np.array([place[n] for n in numbers.tolist()], np.int64)[back]


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _first(different: np.ndarray, field: str, recorded: np.ndarray, replayed: np.ndarray) -> list[Divergence]:
    places = np.flatnonzero(different)
    if not len(places):
        return []
    t = int(places[0])
    size = abs(float(recorded[t]) - float(replayed[t]))
    return [Divergence(t, field, recorded[t].item(), replayed[t].item(), size)]


def _column_difference(field: str, recorded: pa.ChunkedArray, replayed: pa.Array, codec: SpaceCodec) -> list[Divergence]:
    if _same_bits(recorded, replayed, codec):
        return []
    was, now = codec.decode(recorded), codec.decode(replayed)
    for t, (a, b) in enumerate(zip(was, now, strict=True)):
        if codec.encode([a]).to_pylist() != codec.encode([b]).to_pylist() or _bits(a) != _bits(b):
            return [Divergence(t, field, a, b, _magnitude(a, b))]
    return []


def _same_bits(recorded: pa.ChunkedArray, replayed: pa.Array, codec: SpaceCodec) -> bool:
    if codec.is_fixed:
        was, now = codec.decode_batch(recorded), codec.decode_batch(replayed)
        return all(a.tobytes() == b.tobytes() for a, b in zip(_leaves(was), _leaves(now), strict=True))
    return recorded.combine_chunks().equals(replayed)


def _leaves(value: Any) -> Iterable[np.ndarray]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield np.ascontiguousarray(value)


def _bits(value: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value)


def _magnitude(a: Any, b: Any) -> float | None:
    try:
        return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())
    except (TypeError, ValueError):
        return None


def _rows_difference(field: str, recorded: pa.ChunkedArray, replayed: pa.Array) -> list[Divergence]:
    joined = recorded.combine_chunks() if recorded.num_chunks != 1 else recorded.chunk(0)
    if joined.equals(replayed) or joined.type != replayed.type:
        return []
    for t, (a, b) in enumerate(zip(joined.to_pylist(), replayed.to_pylist(), strict=True)):
        if repr(a) != repr(b):
            return [Divergence(t, field, a, b, None)]
    return []

