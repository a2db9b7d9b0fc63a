"""Episodes that ended since the last fragment, as lists that become the fragment's episodes batch."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

Status = Literal["completed", "aborted", "lost"]
STATUSES: Final = ("completed", "aborted", "lost")
Replay = Literal["alone", "forward", "batch", "none"]
REPLAYS: Final = ("alone", "forward", "batch", "none")
AGENTS: Final = pa.array(["agent_0"])

Values = pa.Array | list[np.ndarray]
"""Observations as a column, or as leaves that become one with others when the fragment's batch is made."""

LARGEST_SEED = (1 << 63) - 1
"""A seed beyond it has no column; its episodes are not replayable."""


def constant(value: str, n: int) -> pa.DictionaryArray:
    """`n` times the same string, as a dictionary column."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), pa.array([value]))


def choice(places: Sequence[int] | np.ndarray, words: Sequence[str]) -> pa.DictionaryArray:
    """A dictionary column of `words` by their places."""
    return pa.DictionaryArray.from_arrays(pa.array(np.asarray(places, np.int8)), pa.array(list(words)))


def key_columns(
    schema: RunSchema, key: ProducerKey, fragment: int, sub_env: np.ndarray, episode: np.ndarray
) -> list[pa.Array]:
    """The columns that every table begins with; `sub_env` and `episode` have one element a row."""
    n = len(sub_env)
    return [
        constant(schema.run_id, n),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), AGENTS),
        pa.array(np.full(n, key.producer, np.int32)),
        pa.array(np.full(n, key.incarnation, np.int32)),
        pa.array(np.full(n, fragment, np.int64)),
        pa.array(np.asarray(sub_env, np.int32)),
        pa.array(np.asarray(episode, np.int64)),
    ]


_NUMBERS: Final[dict[str, type]] = {
    "sub_env": np.int32,
    "episode": np.int64,
    "status": np.int8,
    "length": np.int32,
    "episode_return": np.float64,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "seed": np.int64,
    "seed_episode": np.int64,
    "replay": np.int8,
    "start_us": np.int64,
    "end_us": np.int64,
}
_TEXTS: Final = ("options", "reset_info")
ROW_BYTES: Final = 160
_PACKED: Final = np.dtype(list(_NUMBERS.items()))
_CODES: Final = {"i1": "b", "i4": "i", "i8": "q", "f8": "d", "b1": "?"}
pack_ended: Final = struct.Struct("=" + "".join(_CODES[np.dtype(kind).str[1:]] for kind in _NUMBERS.values())).pack
"""The numbers of one episode, in the order of `_NUMBERS`, as bytes, which the garbage collector does not count. Tuples
for each episode made it visit all of Ray's objects every eight seconds, for 0.1 s: a percent of CartPole's time."""


class EpisodeRows:
    """Rows of a fragment's episodes table, in no particular order.

    `status` and `replay` are places in `STATUSES` and `REPLAYS`; a `seed_episode` of -1 means never seeded; a lost
    episode's return is unknown. Times are UTC microseconds.
    """

    def __init__(self, schema: RunSchema, final_column: Callable[[Sequence[Any]], pa.Array] | None = None) -> None:
        self._schema = schema
        self._final_column = final_column
        self._ended: list[bytes] = []
        self._finals: list[Any] = []
        self._said: dict[int, tuple[str | None, str | None]] = {}
        self._chunks: list[tuple[int, dict[str, Any], Values | None]] = []
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._ended) + sum(n for n, _, _ in self._chunks)

    @property
    def newest(self) -> Any:
        """The number of the episode added last, or the numbers of those; None where none is waiting."""
        if self._chunks:
            return self._chunks[-1][1]["episode"]
        return int(np.frombuffer(self._ended[-1], _PACKED)["episode"][0]) if self._ended else None

    def add(self, packed: bytes, options: str | None, reset_info: str | None, final_item: Any) -> None:
        """Append one ended episode, by one append that is whole: that of its numbers.

        Args:
            packed: its numbers, of `pack_ended`.
            options, reset_info: as text, None for none.
            final_item: the last observation as the owner's `final_column` takes it, or None where observations are no
                column.
        """
        n = len(self._ended)
        del self._finals[n:]  # of one that an interrupt left behind
        self._finals.append(final_item)
        self.nbytes += ROW_BYTES
        if isinstance(final_item, pa.Array):
            self.nbytes += final_item.nbytes
        if options or reset_info or self._said:
            self._said[n] = options, reset_info
            self.nbytes += len(options or "") + len(reset_info or "")
        self._ended.append(packed)

    def extend(self, n: int, *, final_observation: Values | None, **values: Any) -> None:
        """Append `n` episodes: arrays of length n; texts are lists or None for no text at all.

        `final_observation` None means unknown.
        """
        self.nbytes += n * ROW_BYTES
        if final_observation is not None and not isinstance(final_observation, list):
            self.nbytes += final_observation.nbytes
        self._chunks.append((n, values, final_observation))

    def close(self, key: ProducerKey, fragment: int) -> pa.RecordBatch | None:
        """All rows as a batch; None where no episode ended."""
        n = len(self)
        if not n:
            return None
        ended = np.frombuffer(b"".join(self._ended), _PACKED)
        number = {name: np.concatenate([*(c[name] for _, c, _ in self._chunks), ended[name]]) for name in _NUMBERS}
        said = [self._said.get(row, (None, None)) for row in range(len(ended))] if self._said else []
        text = {name: self._text(name, [texts[place] for texts in said]) for place, name in enumerate(_TEXTS)}
        schema = self._schema.arrow("episodes")
        utc = pa.timestamp("us", tz="UTC")
        unseeded = number["seed_episode"] < 0
        lost = number["status"] == STATUSES.index("lost")
        columns = [
            *key_columns(self._schema, key, fragment, number["sub_env"], number["episode"]),
            constant(self._schema.env_id, n),
            choice(number["status"], STATUSES),
            pa.array(number["length"], pa.int32(), mask=number["length"] < 0),
            pa.array(number["episode_return"], pa.float64(), mask=lost),
            pa.array(number["terminated"]),
            pa.array(number["truncated"]),
            pa.array(number["seed"], pa.int64(), mask=unseeded),
            pa.array(number["seed_episode"], pa.int64(), mask=unseeded),
            choice(number["replay"], REPLAYS),
            text["options"],
            text["reset_info"],
        ]
        if self._schema.has_observation_column:
            columns.append(self._final_observations(self._finals[: len(ended)]))
        columns += [pa.array(number["start_us"]).cast(utc), pa.array(number["end_us"]).cast(utc)]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _final_observations(self, items: Sequence[Any]) -> pa.Array:
        kind = self._schema.observation.arrow_type
        chunks: list[pa.Array] = []
        for loose, group in itertools.groupby(self._chunks, lambda chunk: isinstance(chunk[2], list)):
            if loose:
                leaves = zip(*(final for _, _, final in group), strict=True)
                chunks.append(self._schema.observation.from_leaves([np.concatenate(leaf) for leaf in leaves]))
            else:
                chunks += [pa.nulls(n, kind) if final is None else final for n, _, final in group]
        if items and self._final_column is not None:
            chunks.append(self._final_column(items))
        return pa.concat_arrays(chunks)

    def _text(self, name: str, listed: Sequence[str | None]) -> pa.Array:
        if all(chunk[name] is None for _, chunk, _ in self._chunks) and not any(listed):
            return pa.nulls(len(self), pa.string())
        texts: list[str | None] = []
        for n, chunk, _ in self._chunks:
            texts += chunk[name] or [None] * n
        return pa.array([*texts, *(listed or [None] * len(self._ended))], pa.string())
