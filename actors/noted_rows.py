"""Statistics of normalizing wrappers on their way into the table `normalization`, beside the rows of their producer.

Rules:
1. They are read by the thread that steps, between two steps, so that mean, variance and count belong together: after
   the reset of each episode, after the first step of each fragment, and when the recording is closed.
2. Where there are none, nothing stands before the rows, and a step costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from rolltape.schema.columns import CONSTANT, TIME, table_schema
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import key_columns
from .normalization import Statistics
from .sealed import Batches, Sealed

ROW_BYTES: Final = 128
"""Arrow bytes of a row, its mean and variance left out."""
_SCHEMA: Final = table_schema("normalization")


class NotedRows:
    """Rows of one producer with the statistics of the wrappers around its environment; all else is as in the rows.

    Args:
        rows: `SingleRows` or `VectorRows`.
        statistics: what is read, by place in the producer.
    """

    def __init__(
        self,
        rows: Any,
        statistics: Sequence[Statistics],
        schema: RunSchema,
        key: ProducerKey,
        max_bytes: int,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._rows, self._schema, self._key = rows, schema, key
        self._statistics = list(statistics)
        self._max_bytes, self._wall_ns = max_bytes, wall_ns
        self._begun: np.ndarray = np.full(len(rows.stands()[0]), -1, np.int64)
        self._noted: list[tuple[Any, ...]] = []
        self._noted_bytes = 0
        self._resets_itself = rows.resets_itself

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def watch(self, statistics: Sequence[Statistics]) -> None:
        """Read these as well from now on."""
        self._statistics += statistics

    def reset(self, *values: Any, **named: Any) -> bool:
        """As in the rows."""
        full = self._rows.reset(*values, **named)
        self._note_beginnings()
        return full or self._full

    def step(self, *values: Any, **named: Any) -> bool:
        """As in the rows."""
        first = not self._rows.rows
        full = self._rows.step(*values, **named)
        if self._resets_itself:
            self._note_beginnings()
        if first and self._rows.rows:
            self.note("fragment")
        return full or self._full

    def note(self, at: str) -> None:
        """Read all statistics."""
        _, episodes, steps = self._rows.stands()
        for one in self._statistics:
            self._add(one, one.read(), at, one.first, int(episodes[one.first]), int(steps[one.first]))

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        return self._rows.nbytes + self._noted_bytes

    def seal(self) -> Sealed | None:
        """The open fragment, and empty again; None where there is nothing in it."""
        noted, nbytes = self._noted, self._noted_bytes
        sealed = self._rows.seal()
        if not noted:
            return sealed
        self._noted, self._noted_bytes = [], 0
        oldest_ns = time.perf_counter_ns() if sealed is None else sealed.oldest_ns
        return _SealedWith(sealed, lambda fragment: self._batch(noted, fragment), nbytes, oldest_ns)

    @property
    def full(self) -> bool:
        """Whether the fragment should be closed now."""
        return self._rows.full or self._full

    @property
    def _full(self) -> bool:
        return self._noted_bytes >= self._max_bytes

    def _note_beginnings(self) -> None:
        is_open, episodes, steps = self._rows.stands()
        fresh = np.flatnonzero(is_open & (episodes != self._begun))
        if not len(fresh):
            return
        self._begun[fresh] = episodes[fresh]
        for one in self._statistics:
            places = fresh[(fresh >= one.first) & (fresh < one.first + one.envs)].tolist()
            moments = one.read() if places else None
            for place in places:
                self._add(one, moments, "episode", place, int(episodes[place]), int(steps[place]))

    def _add(self, one: Statistics, moments: Any, at: str, place: int, episode: int, t: int) -> None:
        self._noted.append((one, moments, at, place, episode, t, self._wall_ns() // 1000))
        self._noted_bytes += ROW_BYTES + moments.mean.nbytes + moments.var.nbytes

    def _batch(self, noted: list[tuple[Any, ...]], fragment: int) -> pa.RecordBatch:
        which, moments, at, places, episodes, steps, times = zip(*noted, strict=True)
        offset = self._rows.first_sub_env
        keys = key_columns(self._schema, self._key, fragment, np.array(places) + offset, np.array(episodes, np.int64))
        values: list[tuple[Any, pa.DataType]] = [
            ([t if t >= 0 else None for t in steps], pa.int32()),
            (times, pa.int64()),
            (at, CONSTANT),
            ([one.target for one in which], CONSTANT),
            ([one.wrapper for one in which], CONSTANT),
            ([one.place for one in which], pa.int32()),
            ([one.entry for one in which], pa.string()),
            ([one.envs for one in which], pa.int32()),
            ([list(m.mean.shape) for m in moments], pa.list_(pa.int32())),
            ([m.mean.reshape(-1) for m in moments], pa.list_(pa.float64())),
            ([m.var.reshape(-1) for m in moments], pa.list_(pa.float64())),
            ([m.count for m in moments], pa.float64()),
            ([one.epsilon for one in which], pa.float64()),
            ([m.updating for m in moments], pa.bool_()),
            ([one.signature for one in which], pa.string()),
            ([m.dtype for m in moments], pa.string()),
            ([None if m.discounted is None else m.discounted.reshape(-1) for m in moments], pa.list_(pa.float64())),
        ]
        arrays = [pa.array(column, kind) for column, kind in values]
        arrays[1] = arrays[1].cast(TIME)
        return pa.RecordBatch.from_arrays([*keys, *arrays], schema=_SCHEMA)


class _SealedWith:
    """A sealed fragment with its statistics. Implements `Sealed`."""

    def __init__(
        self, sealed: Sealed | None, make: Callable[[int], pa.RecordBatch], nbytes: int, oldest_ns: int
    ) -> None:
        self._sealed, self._make = sealed, make
        self.nbytes = nbytes + (0 if sealed is None else sealed.nbytes)
        self.oldest_ns = oldest_ns
        self.bulky = sealed is not None and sealed.bulky

    def batches(self, fragment: int) -> Batches:
        """As in `Sealed`."""
        batches: Batches = {} if self._sealed is None else self._sealed.batches(fragment)
        return {"normalization": self._make(fragment), **batches}

    def release(self) -> None:
        """As in `Sealed`."""
        if self._sealed is not None:
            self._sealed.release()
