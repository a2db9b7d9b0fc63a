"""OneOf: a struct of the index and one field a sub-space, of which the chosen one is not null.

`tag` (int8; int32 for more than 127 sub-spaces) is the index; the fields are called "0", "1", … An Arrow
union would say it more directly, but Parquet cannot store one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .space_node import Node, ValueNode
from .space_paths import Path


class OneOfNode(ValueNode):
    """OneOf: tuples of the index (np.int64) and a value of that sub-space."""

    def __init__(self, path: Path, parts: Sequence[Node]) -> None:
        self.path = path
        self.metadata = {}
        self._parts = tuple(parts)
        tag = pa.field("tag", pa.int8() if len(parts) <= 127 else pa.int32())
        self._fields = [tag, *(part.field(str(i)) for i, part in enumerate(parts))]
        self.arrow_type = pa.struct(self._fields)

    def from_values(self, values: Sequence[Any]) -> pa.Array:
        """A column of tagged values."""
        tags = np.array([self._tag(value) for value in values], np.int32)
        columns = [pa.array(tags, self._fields[0].type)]
        for i, part in enumerate(self._parts):
            chosen = tags == i
            dense = part.from_values([values[row][1] for row in np.flatnonzero(chosen).tolist()])
            # Where the sub-space was not chosen the index is null, and what is taken there too.
            columns.append(dense.take(pa.array(np.cumsum(chosen) - 1, mask=~chosen)))
        return pa.StructArray.from_arrays(columns, fields=self._fields)

    def decode(self, column: pa.Array) -> list[Any]:
        """Tuples (index, value)."""
        tags = column.field(0).to_numpy(zero_copy_only=False)
        values: list[Any] = [None] * len(column)
        for i, part in enumerate(self._parts):
            rows = np.flatnonzero(tags == i).tolist()
            for row, value in zip(
                rows, part.to_values(column.field(i + 1).take(pa.array(rows, pa.int64()))), strict=True
            ):
                values[row] = (np.int64(i), value)
        return values

    def _tag(self, value: Any) -> int:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise self.mismatch("a tuple (index, value)", f"a {type(value).__qualname__}: {value!r:.60}")
        tag = value[0]
        if not isinstance(tag, (int, np.integer)) or not 0 <= tag < len(self._parts):
            raise self.mismatch(f"an index from 0 to {len(self._parts) - 1}", f"{tag!r:.60}")
        return int(tag)
