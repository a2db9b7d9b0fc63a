"""Arrow columns as NumPy arrays, without a copy where Arrow allows it, and as Python values."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import numpy as np
import pyarrow as pa


def column_to_numpy(column: pa.ChunkedArray | pa.Array, field: pa.Field | None = None) -> np.ndarray:
    """A column as one array of its rows.

    Numbers and booleans without nulls keep their type, integers with nulls become floats with NaN, times lose
    their zone (they are UTC). Arrays of one shape become (rows, *shape), where the field's metadata says which
    (`schema/space_layout.py`), other fixed-size lists of numbers (rows, size). All else becomes Python objects.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(column.type, pa.FixedShapeTensorType):
        return column.to_numpy_ndarray()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    shaped = None if field is None or column.null_count else _shaped(column, field.metadata or {})
    if shaped is not None:
        return shaped
    if isinstance(column.type, pa.FixedSizeListType) and column.null_count == 0:
        values = column.flatten()
        if pa.types.is_primitive(values.type) and values.null_count == 0:
            return values.to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp(column.type.unit))
    return column.to_numpy(zero_copy_only=False)


def column_to_python(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """A column as Python values; times are aware, in UTC.

    Arrow would do the same, but for a time with a zone it first imports pandas where that is installed.
    """
    kind = column.type
    if isinstance(kind, pa.TimestampType) and kind.tz is not None and kind.unit != "ns":
        naive = column.cast(pa.timestamp(kind.unit)).to_pylist()
        return [None if time is None else time.replace(tzinfo=UTC) for time in naive]
    return column.to_pylist()


def rows_to_python(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as dicts of Python values."""
    columns = [column_to_python(column) for column in rows.columns]
    return [dict(zip(rows.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _shaped(column: pa.Array, metadata: dict[bytes, bytes]) -> np.ndarray | None:
    if b"rolltape.shape" not in metadata or b"rolltape.dtype" not in metadata:
        return None
    from rolltape.schema.space_layout import ArrayLayout

    dtype = np.dtype(metadata[b"rolltape.dtype"].decode())
    layout = ArrayLayout(dtype, tuple(json.loads(metadata[b"rolltape.shape"])))
    return layout.to_numpy(column) if column.type == layout.arrow_type else None
