"""Recorded rows as the open fragment of a producer: what was recorded is sent again, through the whole pipeline.

Rules:
1. A row keeps every value; only the run and the fragment that bring it are others. Worker and incarnation stay, because
   each life of a recorded producer is played back by a producer of the same key.
2. Rows come in the order of their time. An episode's row never comes before its steps and pictures, and a picture comes
   with the step that returned it.
3. What is loaded is one commit of the recording: memory is bounded by the largest of its parts.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.columns import ABOUT_THE_RUN, TABLES
from rolltape.schema.config import FragmentConfig
from rolltape.schema.messages import ProducerKey
from rolltape.storage.layout import CommitRange, RunFolder, list_tables
from rolltape.storage.part_files import part_errors

from .open_rows import OpenRows
from .page import EPISODES, STEPS, ProducerPage
from .sealed import SealedCopy

RANK: Final = {name: place for place, name in enumerate(TABLES)}
"""Of rows that are due at the same time, in which order they come: that of a commit."""

Tables = dict[str, pa.Table]


class PlaybackRows(OpenRows):
    """The open fragment of a producer that plays recorded rows back. Its caller loads, advances and flushes.

    Args:
        run_id: of the new run.
        key: of the producer; rows that are loaded have its worker and incarnation.
    """

    def __init__(
        self,
        run_id: str,
        key: ProducerKey,
        page: ProducerPage,
        config: FragmentConfig,
        *,
        counter_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.key = key
        super().__init__(config)
        self._run_id, self._page, self._counter_ns = run_id, page, counter_ns
        self._tables: Tables = {}
        self._due = np.zeros(0, np.int64)
        self._table = np.zeros(0, np.int8)
        self._row = np.zeros(0, np.int64)
        self._bytes = np.zeros(1)
        self._closed = self._taken = 0
        self._frames_before = 0
        self._hastened = False
        self._pictures = 0

    @property
    def frames(self) -> int:
        """Pictures that were played back."""
        return self._frames_before + self._pictures

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        return int(self._bytes[self._taken] - self._bytes[self._closed])

    @property
    def next_due_us(self) -> int | None:
        """UTC microseconds at which the next row was recorded; None: all that was loaded is taken."""
        return int(self._due[self._taken]) if self._taken < len(self._due) else None

    def load(self, tables: Tables) -> None:
        """Take the rows of a commit as what comes next. Everything before must have been closed."""
        assert self._closed == len(self._due), "rows of the last commit are still open"
        self._tables = {name: table for name, table in tables.items() if len(table)}
        found = _due(self._tables)
        due, table, row, size = map(np.concatenate, zip(*found, strict=True)) if found else (np.zeros(0, np.int64),) * 4
        order = np.lexsort((row, table, due))
        self._due, self._table, self._row = due[order], table[order], row[order]
        self._bytes = np.concatenate([[0.0], np.cumsum(size[order])])
        self._closed = self._taken = 0

    def advance(self, until_us: int | None) -> bool:
        """Take the rows recorded up to a time, None: without end. True when the fragment should be closed now.

        A full fragment takes no more: close it and ask again.
        """
        stop = len(self._due) if until_us is None else int(np.searchsorted(self._due, until_us, side="right"))
        room = self._bytes[self._closed] + self._config.max_bytes
        most = max(self._closed + 1, int(np.searchsorted(self._bytes, room, side="right")) - 1)
        most = min(most, self._closed + self._config.max_rows)
        start, self._taken = self._taken, max(self._taken, min(stop, most))
        if self._taken > start:
            taken = self._table[start : self._taken]
            self.rows += int(np.count_nonzero(taken == RANK["steps"]))
            self._pictures += int(np.count_nonzero(taken == RANK["frames"]))
            self._count_episodes(self._row[start : self._taken][taken == RANK["episodes"]])
            self._page.words[STEPS], self._page.words[EPISODES] = self.steps, self.episodes
            self._began(self._counter_ns())
        return self._taken > self._closed and (self._taken < stop or self._taken == len(self._due) or self._hastened)

    def abort(self) -> None:
        """Nothing: an episode that has no row in the recording gets none."""

    def hasten(self) -> None:
        """From now on every row asks for its fragment to be closed."""
        self._hastened = True

    def relax(self) -> None:
        """Fragments are closed when they are full again."""
        self._hastened = False

    def seal(self) -> SealedCopy | None:
        """The open fragment, and empty again; None where there is nothing in it."""
        if self.oldest_ns is None:
            return None
        sealed = SealedCopy(copy.copy(self)._batches, self.nbytes, self.oldest_ns)
        self._frames_before, self._pictures = self.frames, 0
        self._closed = self._taken
        self._emptied()
        return sealed

    def _batches(self, fragment: int) -> dict[str, pa.RecordBatch]:
        batches: dict[str, pa.RecordBatch] = {}
        kinds, rows = self._table[self._closed : self._taken], self._row[self._closed : self._taken]
        for name, table in self._tables.items():
            mine = np.sort(rows[kinds == RANK[name]])
            if len(mine):
                batches[name] = self._renamed(table.take(pa.array(mine)), fragment)
        return batches

    def _renamed(self, table: pa.Table, fragment: int) -> pa.RecordBatch:
        n = len(table)
        place = pa.array(np.zeros(n, np.int8))
        columns = {
            "run_id": pa.DictionaryArray.from_arrays(place, pa.array([self._run_id])),
            "fragment": pa.array(np.full(n, fragment, np.int64)),
        }
        arrays = [columns.get(field.name, table[field.name].combine_chunks()) for field in table.schema]
        arrays = [a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for a in arrays]
        return pa.RecordBatch.from_arrays(arrays, schema=table.schema.remove_metadata())

    def _count_episodes(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        ended = self._tables["episodes"].select(["status", "return"]).take(pa.array(rows))
        returns = [
            total
            for status, total in zip(*(c.to_pylist() for c in ended.columns), strict=True)
            if status == "completed"
        ]
        self.episodes += len(ended)
        self.completed += len(returns)
        self.return_sum += sum(returns)


def commits_of(run: RunFolder) -> list[dict[str, Path]]:
    """The parts of a run by commit, each by table; in the order in which its writers committed."""
    found: dict[CommitRange, dict[str, Path]] = {}
    for table, parts in list_tables(run).items():
        if table in ABOUT_THE_RUN:
            continue
        for part in parts:
            commit = CommitRange.parse(part.name, part.suffix)
            assert commit is not None, part
            found.setdefault(commit, {})[table] = part
    return [found[commit] for commit in sorted(found, key=lambda c: (c.writer, c.first))]


def load_commit(parts: dict[str, Path], keys: Sequence[ProducerKey]) -> dict[ProducerKey, Tables]:
    """The rows of a commit that certain producers made, by producer."""
    found: dict[ProducerKey, Tables] = {key: {} for key in keys}
    for name, part in parts.items():
        with part_errors(str(part)):
            table = _as_sent(pq.read_table(part))
        worker, life = table["worker"].to_numpy(), table["incarnation"].to_numpy()
        for key in keys:
            mine = np.flatnonzero((worker == key.producer) & (life == key.incarnation))
            if len(mine):
                found[key][name] = table if len(mine) == len(table) else table.take(pa.array(mine))
    return {key: tables for key, tables in found.items() if tables}


def _as_sent(table: pa.Table) -> pa.Table:
    """Dictionaries as producers send them: Parquet widens their indices."""
    kind = pa.dictionary(pa.int8(), pa.string())
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) and field.type != kind:
            table = table.set_column(place, field.with_type(kind), table[place].cast(kind))
    return table


def _due(tables: Tables) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """For each table, of each row: when it is due, its table's rank, its place, and its bytes."""
    return [
        (when, np.full(len(when), RANK[name], np.int8), np.arange(len(when)), np.full(len(when), _row_bytes(table)))
        for name, table, when in _times(tables)
    ]


def _row_bytes(table: pa.Table) -> float:
    return table.nbytes / len(table)


def _times(tables: Tables) -> Iterator[tuple[str, pa.Table, np.ndarray]]:
    steps, frames, episodes = (tables.get(name) for name in ("steps", "frames", "episodes"))
    when = np.zeros(0, np.int64) if steps is None else _us(steps["time"])
    ended = np.zeros(0, np.int64) if episodes is None else _us(episodes["end_time"])
    known = np.concatenate([when, ended[ended > 0]])
    first = int(known.min()) if len(known) else 0
    if steps is not None:
        yield "steps", steps, when
    last_of: dict[int, int] = {}
    seen: dict[tuple[int, int], int] = {}
    if steps is not None and (frames is not None or episodes is not None):
        numbers, t = steps["episode"].to_numpy(), steps["t"].to_numpy()
        if frames is not None:
            seen = dict(zip(zip(numbers.tolist(), t.tolist(), strict=True), when.tolist(), strict=True))
        order = np.lexsort((when, numbers))
        last_of = dict(zip(numbers[order].tolist(), when[order].tolist(), strict=True))  # the last of each stays
    if frames is not None:
        places = zip(frames["episode"].to_pylist(), frames["t"].to_pylist(), strict=True)
        yield "frames", frames, np.array([seen.get((e, t - 1), seen.get((e, t), first)) for e, t in places], np.int64)
    for name, table in tables.items():
        if name not in ("steps", "frames", "episodes"):
            timed = "time" in table.column_names
            yield name, table, _us(table["time"]) if timed else np.full(len(table), first, np.int64)
    if episodes is not None:
        steps_end = np.array([last_of.get(e, first) for e in episodes["episode"].to_pylist()], np.int64)
        last = int(when.max()) if len(when) else first  # an episode may have been left open for hours: nobody waits
        yield "episodes", episodes, np.maximum(steps_end, np.minimum(ended, last))


def _us(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.int64()).fill_null(0).to_numpy()
