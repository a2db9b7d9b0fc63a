"""A column through a Parquet file in memory, as the writer would store it: zstd, no dictionary."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_bytes(field: pa.Field, column: pa.Array) -> bytes:
    """A file with one column."""
    buffer = io.BytesIO()
    table = pa.Table.from_arrays([column], schema=pa.schema([field]))
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    return buffer.getvalue()


def through_parquet(field: pa.Field, column: pa.Array) -> tuple[pa.Field, pa.ChunkedArray]:
    """The field and the column as pyarrow reads them back."""
    table = pq.read_table(pa.BufferReader(parquet_bytes(field, column)))
    return table.schema.field(0), table.column(0)
