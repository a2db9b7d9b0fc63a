"""How arrays of one dtype and shape lie in an Arrow column, so that every reader of Parquet understands them.

| the array | Arrow type | read as |
|---|---|---|
| shape () | the number's own type | a number |
| up to 4,096 bytes | `fixed_size_list<number>[size]` | a flat list in C order |
| more than 4,096 bytes, or long doubles | `binary` | raw bytes in C order, little-endian |
| no elements | `list<number>` | an empty list |

Why not one way for all: Parquet writes lists of bytes 20 to 30 times slower than binary values, and a third
larger than the bytes are; and neither pyarrow nor polars reads lists of fixed size 0 back. Numbers that are
not little-endian are turned. The shape and dtype stand in the field's metadata (`rolltape.shape`,
`rolltape.dtype`, `rolltape.storage`).
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

import numpy as np
import pyarrow as pa

from .errors import SchemaMismatch
from .space_numbers import dtype_to_json, little_endian

LARGEST_LIST_BYTES: Final = 4096
LARGEST_COLUMN_BYTES: Final = 2**31 - 1


class ArrayLayout:
    """Arrays of one dtype and shape as an Arrow column, and back.

    Attributes:
        dtype: the dtype of the arrays, in whatever byte order.
        shape: the shape of one array.
        arrow_type: the type of the column.
        metadata: what a field of that type should carry.
    """

    def __init__(self, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape
        self._size = math.prod(shape)
        self._nbytes = self._size * dtype.itemsize
        self._stored = dtype.newbyteorder("<")
        self.arrow_type, storage = self._choose()
        self.metadata = {
            b"rolltape.shape": json.dumps(list(shape)).encode(),
            b"rolltape.dtype": dtype_to_json(dtype).encode(),
            b"rolltape.storage": storage.encode(),
        }

    def _choose(self) -> tuple[pa.DataType, str]:
        long_double = self.dtype.kind == "f" and self.dtype.itemsize > 8
        if long_double or self._nbytes > LARGEST_LIST_BYTES:
            return pa.binary(), "raw bytes, C order, little-endian"
        number = pa.from_numpy_dtype(self.dtype.newbyteorder("="))
        if self.shape == ():
            return number, "number"
        if self._size == 0:
            return pa.list_(pa.field("element", number)), "empty list"
        return pa.list_(pa.field("element", number, nullable=False), self._size), "flat list, C order"

    def to_arrow(self, rows: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
        """A column of arrays; shares the memory of `rows` where it is C-contiguous, little-endian and not
        bool.

        Args:
            rows: of `dtype` and shape (rows, *shape). Where it is shared it must not be written to
                afterwards.
            valid: bool (rows,); False makes a row null. None: all valid.

        Raises:
            SchemaMismatch: 2 GiB or more of binary values, which one Arrow array cannot hold.
        """
        n = len(rows)
        nulls = None if valid is None else _bits(valid)
        if self._size == 0 and not pa.types.is_binary(self.arrow_type):
            numbers = pa.array([], self.arrow_type.value_type)
            offsets = pa.py_buffer(np.zeros(n + 1, np.int32))
            return pa.Array.from_buffers(self.arrow_type, n, [nulls, offsets], children=[numbers])
        if pa.types.is_binary(self.arrow_type) and n * self._nbytes > LARGEST_COLUMN_BYTES:
            raise SchemaMismatch(
                f"{n} values of {self._nbytes} bytes are more than the {LARGEST_COLUMN_BYTES} bytes that "
                "one Arrow array holds. Encode fewer rows at a time."
            )
        stored = little_endian(rows)
        if pa.types.is_binary(self.arrow_type):
            offsets = np.arange(n + 1, dtype=np.int32) * np.int32(self._nbytes)
            return pa.Array.from_buffers(self.arrow_type, n, [nulls, pa.py_buffer(offsets), _buffer(stored)])
        data = _bits(stored) if self.dtype.kind == "b" else _buffer(stored)
        if self.shape == ():
            return pa.Array.from_buffers(self.arrow_type, n, [nulls, data])
        numbers = pa.Array.from_buffers(self.arrow_type.value_type, n * self._size, [None, data])
        return pa.Array.from_buffers(self.arrow_type, n, [nulls], children=[numbers])

    def to_numpy(self, column: pa.Array) -> np.ndarray:
        """The arrays of a column of `arrow_type`: shape (rows, *shape), zero where a row is null.

        Read-only and sharing the column's memory where it has no nulls, the byte order is this machine's and the
        dtype is not bool.

        Raises:
            SchemaMismatch: a binary value has not the length that dtype and shape need.
        """
        if self._size == 0:
            return np.zeros((len(column), *self.shape), self.dtype)
        if pa.types.is_binary(self.arrow_type):
            return self._from_binary(column)
        numbers, start = column, column.offset
        if self.shape != ():
            numbers = column.values
            start = numbers.offset + column.offset * self._size
        flat = self._numbers(numbers.buffers()[1], start, len(column) * self._size)
        rows = flat.reshape(len(column), *self.shape)
        if column.null_count:
            rows = rows.copy()
            rows[~validity(column)] = 0
        return rows

    def _from_binary(self, column: pa.Array) -> np.ndarray:
        offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
        valid = validity(column)
        lengths = np.diff(offsets)
        wrong = valid & (lengths != self._nbytes)
        if wrong.any():
            raise SchemaMismatch(
                f"Row {int(np.argmax(wrong))} of the column holds {int(lengths[wrong][0])} bytes; "
                f"{self.dtype}{list(self.shape)} needs {self._nbytes}. The column is not of this space."
            )
        if valid.all() and len(column):
            start = int(offsets[0]) // self.dtype.itemsize
            if int(offsets[0]) % self.dtype.itemsize == 0:
                flat = self._numbers(column.buffers()[2], start, len(column) * self._size)
                return flat.reshape(len(column), *self.shape)
        rows = np.zeros((len(column), *self.shape), self._stored)
        for i in np.flatnonzero(valid):
            row = np.frombuffer(column.buffers()[2], self._stored, self._size, int(offsets[i]))
            rows[i] = row.reshape(self.shape)
        return rows.astype(self.dtype, copy=False)

    def _numbers(self, data: pa.Buffer | None, start: int, count: int) -> np.ndarray:
        if data is None or count == 0:
            return np.zeros(count, self.dtype)
        if self.dtype.kind == "b" and not pa.types.is_binary(self.arrow_type):
            used = np.frombuffer(data, np.uint8, (start + count + 7) // 8)
            return np.unpackbits(used, bitorder="little")[start : start + count].view(np.bool_)
        numbers = np.frombuffer(data, self._stored, count, start * self.dtype.itemsize)
        # Arrow passes on that the producer's array was writable; a column is not.
        numbers.flags.writeable = False
        return numbers.astype(self.dtype, copy=False)


def validity(column: pa.Array) -> np.ndarray:
    """Which rows of a column are not null: bool (rows,)."""
    if column.null_count == 0:
        return np.ones(len(column), bool)
    return column.is_valid().to_numpy(zero_copy_only=False)


def _bits(flags: np.ndarray) -> Any:
    return pa.py_buffer(np.packbits(flags.reshape(-1).view(np.uint8), bitorder="little"))


def _buffer(array: np.ndarray) -> Any:
    # Arrow counts an empty buffer as a missing one only where there are no rows.
    return pa.py_buffer(array.reshape(-1).view(np.uint8)) if array.size else pa.py_buffer(b"")
