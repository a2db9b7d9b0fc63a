"""Whether two runs hold the same rows: every column but those that name the run and the fragment, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.columns import ABOUT_THE_RUN, TABLES
from rolltape.schema.info_json import encode_value

if TYPE_CHECKING:
    from .runs import Run

OTHER: Final = ("run_id", "fragment")
"""Columns in which two recordings of the same rows differ."""
ORDER: Final = ("sub_env", "episode", "t", "agent_id", "kind", "time", "table_name", "cause")
"""What rows are sorted by, as far as their table has it."""
BATCH_ROWS: Final = 50_000


@dataclass(frozen=True, slots=True)
class RowDifference:
    """The first difference of two runs.

    Attributes:
        table: in which table.
        row: its place in the order of sub-environment, episode and t.
        column: in which column; `rows` where one run has a row more, `columns` where one has other columns.
        left, right: the two values; of a picture, digests.
    """

    table: str
    row: int
    column: str
    left: Any
    right: Any

    def __str__(self) -> str:
        return f"{self.table}, row {self.row:,}, {self.column}: {self.left!r} is not {self.right!r}"


def first_difference(left: Run, right: Run) -> RowDifference | None:
    """The first row in which two runs differ; None where they hold the same rows. Pictures by their digests.

    Tables about the run are left out: how it went, what was logged, who watched.
    """
    for table in TABLES:
        if table in ABOUT_THE_RUN:
            continue
        if (found := _in_table(table, left, right)) is not None:
            return found
    return None


def _in_table(table: str, left: Run, right: Run) -> RowDifference | None:
    parts = left.parts(table), right.parts(table)
    if not parts[0] or not parts[1]:
        return None if parts == ([], []) else RowDifference(table, 0, "rows", bool(parts[0]), bool(parts[1]))
    ours, theirs = (_even(_sorted(run, table)) for run in (left, right))
    row = 0
    while True:
        a, b = next(ours, None), next(theirs, None)
        if a is None or b is None:
            return None if a is b else RowDifference(table, row, "rows", a is not None, b is not None)
        if a.column_names != b.column_names:
            return RowDifference(table, row, "columns", a.column_names, b.column_names)
        n = min(len(a), len(b))
        if (found := _in_rows(a.slice(0, n), b.slice(0, n))) is not None:
            place, column, was, now = found
            return RowDifference(table, row + place, column, was, now)
        row += n
        if len(a) != len(b):
            return RowDifference(table, row, "rows", len(a) > n, len(b) > n)


def _in_rows(a: pa.Table, b: pa.Table) -> tuple[int, str, Any, Any] | None:
    found: list[tuple[int, str, Any, Any]] = []
    for name in a.column_names:
        was, now = a[name].combine_chunks(), b[name].combine_chunks()
        if _bits(was) == _bits(now):
            continue
        for place, (x, y) in enumerate(zip(was.to_pylist(), now.to_pylist(), strict=True)):
            if encode_value(x) != encode_value(y):
                found.append((place, name, x, y))
                break
    return min(found, key=lambda f: f[0], default=None)


def _sorted(run: Run, table: str) -> Iterable[pa.RecordBatch]:
    """The rows of a table in the order of `ORDER`, without the columns of `OTHER`."""
    if table in ("steps", "episodes"):  # may be large: DuckDB sorts on the disk where it has to
        rows = run.steps() if table == "steps" else run.episodes()
        names = [name for name in rows.columns if name not in OTHER]
        by = [f'"{name}"' for name in ORDER if name in names]
        return rows.order(*by).select(*(f'"{name}"' for name in names)).batches(BATCH_ROWS)
    read = _digested if table == "frames" else pq.read_table
    whole = pa.concat_tables([read(part) for part in run.parts(table)], promote_options="permissive")
    whole = whole.select([name for name in whole.column_names if name not in OTHER])
    for place, field in enumerate(whole.schema):
        if pa.types.is_dictionary(field.type):  # the words of each part stand in an order of their own
            whole = whole.set_column(place, field.name, whole[field.name].cast(field.type.value_type))
    return whole.sort_by([(name, "ascending") for name in ORDER if name in whole.column_names]).to_batches()


def _digested(part: Any) -> pa.Table:
    """A part of frames with digests in place of the pictures."""
    tables: list[pa.Table] = []
    with pq.ParquetFile(part) as file:
        for batch in file.iter_batches(batch_size=256):
            digests = [hashlib.blake2b(data.as_buffer(), digest_size=16).digest() for data in batch["data"]]
            table = pa.Table.from_batches([batch])
            place = table.column_names.index("data")
            tables.append(table.set_column(place, "data", pa.array(digests, pa.binary(16))))
    return pa.concat_tables(tables)


def _even(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows, `BATCH_ROWS` at a time."""
    left: list[pa.RecordBatch] = []
    for batch in batches:
        left.append(batch)
        while sum(map(len, left)) >= BATCH_ROWS:
            table = pa.Table.from_batches(left)
            yield table.slice(0, BATCH_ROWS)
            left = table.slice(BATCH_ROWS).to_batches()
    if left:
        yield pa.Table.from_batches(left)


def _bits(array: pa.Array) -> bytes:
    array = array.take(pa.array(range(len(array)))) if array.offset else array
    return pa.RecordBatch.from_arrays([array], ["value"]).serialize().to_pybytes()
