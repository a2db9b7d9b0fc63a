"""Recorded episodes that were read at once, and the comparison of a replay with them.

Rules:
1. Steps are compared some at a time, column by column; only where a column differs is its first difference looked for.
2. Equal means the same bits: -0.0 is not 0.0, a NaN is itself with its payload.
3. Of one step the fields are compared in the order of `FIELDS`.
4. Infos that went through somebody's vector environment lost their types there: its arrays have that of the first
   value. Of those, numbers are compared as the recorded type holds them.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym
import numpy as np
import pyarrow as pa

from rolltape.schema.errors import SchemaError
from rolltape.schema.info_json import decode_info, encode_info
from rolltape.schema.picture_digest import picture_digest, picture_digests
from rolltape.schema.run_schema import STORING
from rolltape.schema.space_codec import SpaceCodec

from .compared_infos import InfoRows, unlike_key, unlike_row
from .differences import ANOTHER, first_row, magnitude
from .exact_bytes import ColumnBytes, Matching, column_bytes, matching
from .infos import InfoColumns
from .kept_values import RecordedBlocks
from .normalization_again import RecordedStatistics
from .recorded_rows import STEP_COLUMNS, rows_of_episodes, stored_columns
from .replayed import Divergence
from .tapes import tape

if TYPE_CHECKING:
    from rolltape.storage.frame_store import Frames
    from rolltape.storage.runs import Run

    from ._tape import Tape

EPISODE_COLUMNS: Final = (
    "episode", "sub_env", "length", "status", "seed", "seed_episode", "replay", "options", "reset_info",
    "worker", "incarnation", "skipped",
)  # fmt: skip
FIELDS: Final = ("reset_info", "observation", "reward", "terminated", "truncated", "info", "error")
READ_BYTES: Final = 64 << 20
READ_STEPS: Final = 100_000


@dataclass(slots=True)
class Seen:
    """What a replay gave for consecutive steps.

    Attributes:
        first: row of the first of them.
        observations: seen before each step, copied.
        infos: of the steps, counted from `first`.
        resets: places of episodes that began, and the infos of their resets.
        finals: places of episodes that were stepped to their end, and the observation after it.
    """

    first: int
    infos: InfoColumns
    observations: list[Any] = field(default_factory=list)
    rewards: list[Any] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    resets: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    finals: list[tuple[int, Any]] = field(default_factory=list)
    closed: InfoRows | None = None


class RecordedSteps:
    """Episodes of a run, in the order of `rows`, and their steps one after the other.

    Attributes:
        rows: the episodes' rows.
        edges: steps `edges[i]` to `edges[i + 1]` (exclusive) are those of episode i.
        actions: one a step, of the types that the space samples.
        statistics: of normalizing wrappers, put back where episodes begin; None: there are none.
    """

    def __init__(
        self,
        run: Run,
        rows: list[dict[str, Any]],
        observation: SpaceCodec,
        action: SpaceCodec,
        statistics: RecordedStatistics | None = None,
    ) -> None:
        self.run, self.rows, self._codec, self.statistics = run, rows, observation, statistics
        steps = rows_of_episodes(run, "steps", rows, STEP_COLUMNS)
        self.edges = _edges(steps, rows)
        self.actions = action.decode(steps["action"])
        self._rewards = steps["reward"].to_numpy()
        self._ends = {name: steps[name].to_numpy(zero_copy_only=False) for name in ("terminated", "truncated")}
        self._observations = steps["observation"] if "observation" in steps.column_names else None
        if self._observations is not None and observation.is_fixed:
            self._bytes = ColumnBytes(observation, self._observations)
        self._finals = finals_of(run, rows) if self._observations is not None else None
        self._digests: np.ndarray | None = None
        if "observation_digest" in steps.column_names:
            self._digests = steps["observation_digest"].to_numpy()
            self._finals = finals_of(run, rows, "final_observation_digest")
        self._infos = InfoRows.of(steps)
        env = run.info["env"]
        self._loose = env["kind"] == "recorder" and env["vectorization"] != "none"

    def between(self, start: int, stop: int) -> RecordedSteps:
        """The episodes `start` to `stop` (exclusive) of these alone; their steps are shared."""
        some = copy.copy(self)
        some.rows, some.edges = self.rows[start:stop], self.edges[start : stop + 1]
        some._finals = None if self._finals is None else self._finals.slice(start, stop - start)
        return some

    @property
    def last_flags(self) -> tuple[np.ndarray, np.ndarray]:
        """terminated and truncated of each step."""
        return self._ends["terminated"], self._ends["truncated"]

    @property
    def rewards(self) -> np.ndarray:
        """Rewards, float64, one a step."""
        return self._rewards

    @property
    def whole(self) -> list[int]:
        """The places of the episodes that can be replayed."""
        if self.statistics is not None:
            return [place for place in range(len(self.rows)) if not self.why_not(place)]
        lengths = [row["length"] for row in self.rows]
        return np.flatnonzero(np.diff(self.edges) == np.array(lengths, np.float64)).tolist()  # None is NaN

    @property
    def whole_chain(self) -> list[int]:
        """The same of a chain: those before the first that cannot be replayed."""
        whole = self.whole
        return whole[: next((i for i, place in enumerate(whole) if place != i), len(whole))]

    def why_not(self, place: int) -> str:
        """Why an episode cannot be replayed, such as steps that are missing; empty where it can."""
        if int(self.edges[place + 1] - self.edges[place]) != self.rows[place]["length"]:
            return "some of its steps are missing"
        return "" if self.statistics is None else self.statistics.lacks(self.rows[place]["episode"])

    def begin(self, env: gym.Env[Any, Any], place: int, *, seeded: bool) -> tuple[Any, dict[str, Any]]:
        """Reset an environment as an episode was: with its options and, where `seeded`, its seed."""
        row = self.rows[place]
        seed, options = row["seed"] if seeded else None, decode_info(row["options"]) or None
        if self.statistics is None:
            return env.reset(seed=seed, options=options)
        with self.statistics.put_back(env, row["episode"]):
            return env.reset(seed=seed, options=options)

    def pictures(self, place: int) -> Iterator[np.ndarray] | None:
        """The observations of an episode where they are stored as pictures; None where they are not."""
        frames = self.frames(place)
        return None if frames is None else iter(frames)

    def frames(self, place: int) -> Frames | None:
        """The observations of an episode where they are stored as pictures; None where they are not."""
        if self._observations is not None or self.run.info["frames"]["policy"] not in STORING:
            return None
        return self.run.frames(self.rows[place]["episode"], kind="observation")

    def seen(self, first: int) -> Seen:
        """What a replay fills, beginning with the step `first`."""
        return Seen(first, self._infos.like())

    # ---- comparing ----------------------------------------------------------------------------------------------

    def ends_within(self, places: Sequence[int]) -> bool:
        """Whether a step before the last one of an episode says that it ended: no replay goes on from there."""
        ended = np.flatnonzero(self._ends["terminated"] | self._ends["truncated"])
        early = ended[~np.isin(ended + 1, self.edges)]
        return bool(np.isin(np.searchsorted(self.edges, early, side="right") - 1, places).any())

    def is_same(self, seen: Seen, ignored: Collection[str] = ()) -> bool:
        """Whether the rewards and infos of a replay are the same."""
        stop = seen.first + len(seen.rewards)
        if self._rewards[seen.first : stop].tobytes() != np.array(seen.rewards, np.float64).tobytes():
            return False
        if next(self._step_infos(seen, seen.first, stop, ignored), None) is not None:
            return False
        return self.resets_alike(seen.resets, ignored)

    def resets_alike(self, resets: Iterable[tuple[int, dict[str, Any]]], ignored: Collection[str]) -> bool:
        """Whether episodes at places began with the infos that are recorded."""
        return next(self._reset_infos(resets, ignored), None) is None

    @property
    def is_exact(self) -> bool:
        """Whether observations can be compared one by one (`befores`): they are always the same arrays, or digests."""
        return self._observations is None or self._codec.is_fixed

    def matching(self) -> Matching:
        """What compares one of `befores` or a `final` with an observation. Raises SchemaMismatch."""
        if self._observations is not None:
            return matching(self._codec)
        if self._digests is not None:
            return lambda was, now: picture_digest(now) == was
        return lambda was, now: True

    def befores(self, start: int, stop: int) -> Iterable[Any]:
        """What was observed before the steps `start` to `stop` (exclusive), as `matching` takes it."""
        if self._observations is not None:
            return self._bytes.of(start, stop)
        return repeat(None, stop - start) if self._digests is None else self._digests[start:stop]

    def blocks(self) -> RecordedBlocks | None:
        """Observations of all steps as arrays; None where they have no column, or no fixed size."""
        nested = not self._codec.is_fixed or self._codec.descriptor["type"] in ("Dict", "Tuple")
        if self._observations is None or nested:
            return None
        known = None if self._finals is None else self._finals.is_valid().to_numpy()
        finals = None if self._finals is None else self._codec.decode_batch(self._finals)
        return RecordedBlocks(self._codec.decode_batch(self._observations), finals, known, self.edges)

    def tape(self, afters: np.ndarray | None, known: np.ndarray | None, ignored: Collection[str]) -> Tape | None:
        """What an environment is compared with as it steps; None where there can be no tape. As `tapes.tape`."""
        if not self.is_exact or self._digests is not None:
            return None
        return tape(self._codec, afters, known, self._rewards, self.last_flags, self._infos, ignored)

    def finals(self) -> list[Any]:
        """The last observation of each episode, as `matching` takes it; None where it is not known."""
        if self._finals is None:
            return [None] * len(self.rows)
        if self._digests is not None:
            return self._finals.to_pylist()
        known = iter(column_bytes(self._codec, self._finals.drop_null()))
        return [next(known) if valid else None for valid in self._finals.is_valid().to_pylist()]

    def difference(self, seen: Seen, place: int, ignored: Collection[str] = ()) -> tuple[int, Divergence] | None:
        """The first episode from `place` on that differs, and its first difference; None where all is the same.

        Args:
            seen: what a replay gave.
            place: episodes before it do not count.
            ignored: info keys that are not compared.
        """
        start, stop = max(seen.first, int(self.edges[place])), seen.first + len(seen.rewards)
        found: list[tuple[int, int, Divergence]] = []
        found += self._columns(seen, start, stop)
        found += self._step_infos(seen, start, stop, ignored)
        found += self._reset_infos([reset for reset in seen.resets if reset[0] >= place], ignored)
        finals = [final for final in seen.finals if final[0] >= place]
        found += self._last_observations(finals) if self._digests is None else self._last_digests(finals)
        if not found:
            return None
        place, _, divergence = min(found, key=lambda f: (f[0], f[2].t, f[1]))
        return place, divergence

    def _columns(self, seen: Seen, start: int, stop: int) -> Iterator[tuple[int, int, Divergence]]:
        if start >= stop:
            return
        at = start - seen.first
        if self._observations is not None:
            row = self._unlike(self._observations.slice(start, stop - start), seen.observations[at:])
            if row is not None:
                was = self._codec.decode(self._observations.slice(start + row, 1))[0]
                yield self._named(start + row, "observation", was, seen.observations[at + row])
        if self._digests is not None and (row := self._unlike_digest(start, seen.observations[at:])) is not None:
            yield self._named(start + row, "observation", *ANOTHER)
        was, now = self._rewards[start:stop], np.asarray(seen.rewards[at:], np.float64)
        different = np.flatnonzero(was.view(np.int64) != now.view(np.int64))
        if len(different):
            row = int(different[0])
            yield self._named(start + row, "reward", was[row].item(), now[row].item())
        for name, flags in (("terminated", seen.terminated), ("truncated", seen.truncated)):
            ends, now = self._ends[name][start:stop], np.asarray(flags[at:], bool)
            different = np.flatnonzero(ends != now)
            if len(different):
                row = int(different[0])
                yield self._named(start + row, name, bool(ends[row]), bool(now[row]))

    def _unlike_digest(self, start: int, pictures: list[Any]) -> int | None:
        """The first of these pictures, seen from the step `start` on, whose digest is not the recorded one."""
        assert self._digests is not None
        was, now = self._digests[start : start + len(pictures)], picture_digests(pictures)
        return next(iter(np.flatnonzero(was != now).tolist()), None)

    def _last_digests(self, finals: list[tuple[int, Any]]) -> Iterator[tuple[int, int, Divergence]]:
        for place, picture in finals:
            known = None if self._finals is None else self._finals[place].as_py()
            if known is not None and known != int(picture_digest(picture)):
                t = self.rows[place]["length"]
                yield place, FIELDS.index("observation"), Divergence(t, "observation", *ANOTHER, None)
                return

    def _last_observations(self, finals: list[tuple[int, Any]]) -> Iterator[tuple[int, int, Divergence]]:
        if self._finals is None or not finals:
            return
        known = [(place, value) for place, value in finals if self._finals[place].is_valid]
        if not known:
            return
        recorded = self._finals.take(pa.array([place for place, _ in known]))
        row = self._unlike(recorded, [value for _, value in known])
        if row is not None:
            place, value = known[row]
            was = self._codec.decode(recorded.slice(row, 1))[0]
            t = self.rows[place]["length"]
            yield place, FIELDS.index("observation"), Divergence(t, "observation", was, value, magnitude(was, value))

    def _unlike(self, recorded: pa.ChunkedArray, values: Sequence[Any]) -> int | None:
        """The first row in which a column is not these values; None where it is."""
        codec = self._codec
        try:
            encoded = codec.encode(values)
        except SchemaError:  # a value that is none of the space: find it
            encoded = None
        if codec.is_fixed:
            if encoded is None:
                return next(i for i, value in enumerate(values) if not _encodes(codec, value))
            was, now = leaves(codec.decode_batch(recorded)), leaves(codec.decode_batch(encoded))
            rows = [row for a, b in zip(was, now, strict=True) if (row := first_row(a, b)) is not None]
            return min(rows, default=None)
        decoded = codec.decode(recorded)
        if encoded is not None and _bytes(codec.encode(decoded)) == _bytes(encoded):
            return None
        for row, (a, b) in enumerate(zip(decoded, values, strict=True)):
            if not _encodes(codec, b) or _bytes(codec.encode([a])) != _bytes(codec.encode([b])):
                return row
        return None

    def _step_infos(
        self, seen: Seen, start: int, stop: int, ignored: Collection[str]
    ) -> Iterator[tuple[int, int, Divergence]]:
        n = stop - start
        unseen = seen.closed is None and not seen.infos.nbytes
        if n <= 0 or (unseen and self._infos.slice(start, n).is_empty):
            return
        if seen.closed is None:
            seen.closed = InfoRows(*seen.infos.close(len(seen.rewards)))
        replayed = seen.closed.slice(start - seen.first, n)
        unlike = unlike_row(self._infos.slice(start, n), replayed, ignored, loose=self._loose)
        if unlike is not None:
            row, key, was, now = unlike
            yield self._named(start + row, f"info.{key}", was, now)

    def _reset_infos(
        self, resets: Iterable[tuple[int, dict[str, Any]]], ignored: Collection[str]
    ) -> Iterator[tuple[int, int, Divergence]]:
        for place, info in resets:
            recorded = self.rows[place]["reset_info"]
            text = encode_info(info) if info else None
            if text == recorded:
                continue
            was, now = decode_info(recorded), decode_info(text)
            key = unlike_key(was, now, ignored, loose=self._loose)
            if key is not None:
                name = f"reset_info.{key}"
                yield place, 0, Divergence(0, name, was.get(key), now.get(key), magnitude(was.get(key), now.get(key)))
                return

    def place_of(self, row: int) -> int:
        """The place of the episode that a step belongs to."""
        return int(np.searchsorted(self.edges, row, side="right")) - 1

    def _named(self, row: int, name: str, was: Any, now: Any) -> tuple[int, int, Divergence]:
        place = self.place_of(row)
        order = FIELDS.index(name.partition(".")[0])
        return place, order, Divergence(row - int(self.edges[place]), name, was, now, magnitude(was, now))


def steps_at_once(observation: SpaceCodec, action: SpaceCodec) -> int:
    """So many steps are about `READ_BYTES`."""
    row_bytes = sum(
        int(np.prod(leaf.shape)) * leaf.dtype.itemsize for codec in (observation, action) for leaf in codec.leaves
    )
    return max(1, min(READ_STEPS, READ_BYTES // (row_bytes + 256)))


def read_some(
    run: Run, rows: list[dict[str, Any]], observation: SpaceCodec, action: SpaceCodec, env: gym.Env[Any, Any]
) -> Iterator[RecordedSteps]:
    """Read episodes, so many at a time that their steps are about `READ_BYTES`, and at least one.

    `env`: in which they are replayed.
    """
    most = steps_at_once(observation, action)
    start = 0
    while start < len(rows):
        stop, steps = start, 0
        while stop < len(rows) and (stop == start or steps + rows[stop]["length"] <= most):
            steps += rows[stop]["length"]
            stop += 1
        yield read_together(run, rows[start:stop], observation, action, env)
        start = stop


def read_together(
    run: Run, rows: list[dict[str, Any]], observation: SpaceCodec, action: SpaceCodec, env: gym.Env[Any, Any]
) -> RecordedSteps:
    """Read episodes, all at once."""
    statistics = RecordedStatistics(run, [row["episode"] for row in rows], env)
    return RecordedSteps(run, rows, observation, action, statistics if statistics.wanted else None)


def copied(value: Any) -> Any:
    """A value that its environment will not change any more."""
    if isinstance(value, np.ndarray):
        return value.copy()
    return value if isinstance(value, int | float | str | np.generic) else copy.deepcopy(value)


def leaves(value: Any) -> list[np.ndarray]:
    """The arrays of a batched value, depth first."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [np.ascontiguousarray(value)]


def finals_of(run: Run, rows: list[dict[str, Any]], column: str = "final_observation") -> pa.ChunkedArray | None:
    """The last observations of some episodes (or their digests), in their order; None where there are none."""
    if not rows or column not in stored_columns(run, "episodes"):
        return None
    return rows_of_episodes(run, "episodes", rows, ("sub_env", "episode", column))[column]


def _edges(steps: pa.Table, rows: list[dict[str, Any]]) -> np.ndarray:
    """Where the steps of each episode begin and end; both are sorted by sub-environment and episode."""
    episodes = steps["episode"].to_numpy()
    starts = np.flatnonzero(np.diff(episodes, prepend=-1)) if len(episodes) else np.zeros(0, np.int64)
    counts = np.diff(starts, append=len(episodes))
    if np.array_equal(episodes[starts], [row["episode"] for row in rows]):  # each has steps, as usual
        return np.concatenate([[0], np.cumsum(counts)])
    lengths = dict(zip(episodes[starts].tolist(), counts.tolist(), strict=True))
    return np.cumsum([0, *(lengths.get(row["episode"], 0) for row in rows)])


def _encodes(codec: SpaceCodec, value: Any) -> bool:
    try:
        codec.encode([value])
    except SchemaError:
        return False
    return True


def _bytes(array: pa.Array) -> bytes:
    return pa.RecordBatch.from_arrays([array], ["value"]).serialize().to_pybytes()
