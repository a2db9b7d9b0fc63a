"""Episodes that ended since the last fragment, as lists that become the fragment's episodes batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

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


class EndedEpisode(NamedTuple):
    """One row: the values of `_NUMBERS` in their order, the texts, and the last observation as the owner's
    `final_column` takes it, or None where observations are no column."""

    sub_env: int
    episode: int
    status: int
    length: int
    episode_return: float
    terminated: bool
    truncated: bool
    seed: int
    seed_episode: int
    replay: int
    start_us: int
    end_us: int
    options: str | None
    reset_info: str | None
    final_item: Any


class EpisodeRows:
    """Rows of a fragment's episodes table, in no particular order. Each is added by one append, which is whole.

    Each has the values of `EndedEpisode`: `status` and `replay` as places in `STATUSES` and `REPLAYS`; a
    `seed_episode` of -1 means never seeded; a lost episode's return is unknown. Times are UTC microseconds.
    """

    def __init__(self, schema: RunSchema, final_column: Callable[[Sequence[Any]], pa.Array] | None = None) -> None:
        self._schema = schema
        self._final_column = final_column
        self._ended: list[EndedEpisode] = []
        self._chunks: list[tuple[int, dict[str, Any], Values | None]] = []
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._ended) + sum(n for n, _, _ in self._chunks)

    @property
    def newest(self) -> Any:
        """The number of the episode added last, or the numbers of those; None where none is waiting."""
        if self._chunks:
            return self._chunks[-1][1]["episode"]
        return self._ended[-1].episode if self._ended else None

    def add(self, row: EndedEpisode) -> None:
        """Append one ended episode."""
        self.nbytes += ROW_BYTES + len(row.options or "") + len(row.reset_info or "")
        if isinstance(row.final_item, pa.Array):
            self.nbytes += row.final_item.nbytes
        self._ended.append(row)

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
        ended = dict(zip(EndedEpisode._fields, zip(*self._ended, strict=True), strict=False))
        number = {
            name: np.concatenate([*(c[name] for _, c, _ in self._chunks), np.array(ended.get(name, ()), dtype)])
            for name, dtype in _NUMBERS.items()
        }
        text = {name: self._text(name, ended.get(name, ())) for name in _TEXTS}
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
            columns.append(self._final_observations(ended.get("final_item", ())))
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
        return pa.array([*texts, *listed], pa.string())
