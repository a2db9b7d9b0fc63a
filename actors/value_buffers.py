"""Values of a space by row, in memory that is used again and again, that become an Arrow column when a fragment closes.

Memory that is touched for the first time costs more than the copy into it, so a fragment's values go where those of the
one before the last were. A value is copied when it is put: environments reuse their arrays.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from rolltape.schema.space_codec import SpaceCodec

BYTES_PER_COLUMN = 512
"""What a column of one row takes beside its buffers."""

LARGEST_C_INTEGER = (1 << 63) - 1

Expected = tuple[type | None, np.dtype[Any], int, int, int, tuple[int, ...]]
"""Type of integers or None for arrays, dtype, lowest, highest, bytes, shape."""


class ValueBuffer(Protocol):
    """Values of one space by row."""

    nbytes: int
    """Bytes of the values whose size the space does not say; 0 for spaces of fixed arrays."""

    def put(self, row: int, value: Any) -> None:
        """Copy one value in; what was in that row and after it is gone. Raises SchemaMismatch where it does not fit."""

    def item(self, row: int) -> Any:
        """A copy of one value in the buffer's own form, for `column`."""

    def column(self, items: Sequence[Any]) -> pa.Array:
        """Items as an Arrow array."""
        ...

    def take(self, rows: int) -> pa.Array:
        """The first `rows` values; the array may be a view of this buffer."""
        ...

    def carry(self, other: Any, row: int) -> None:
        """Begin with a copy of the value in a row of another buffer of this space."""

    def clear(self, rows: int = 0) -> None:
        """Forget all but the first `rows` values."""

    def grow(self, capacity: int) -> None:
        """Make room for more rows."""


def value_buffer(codec: SpaceCodec, capacity: int) -> ValueBuffer:
    """The cheapest buffer for the space of `codec`; only spaces of fixed arrays have a limit of rows."""
    if not codec.is_fixed:
        return ObjectBuffer(codec)
    if len(codec.leaves) == 1 and not codec.leaves[0].path:
        leaf = codec.leaves[0]
        kind = IntegerBuffer if leaf.shape == () and leaf.dtype.kind in "iu" else ArrayBuffer
        return kind(codec, capacity)
    return LeafBuffers(codec, capacity)


class LeafBuffers:
    """Spaces of fixed arrays: one array a leaf."""

    nbytes = 0

    def __init__(self, codec: SpaceCodec, capacity: int) -> None:
        self._codec = codec
        self._arrays = [np.empty((capacity, *leaf.shape), leaf.dtype) for leaf in codec.leaves]

    def put(self, row: int, value: Any) -> None:
        for array, leaf in zip(self._arrays, self._codec.split(value), strict=True):
            array[row] = leaf

    def item(self, row: int) -> list[np.ndarray]:
        return [array[row : row + 1].copy() for array in self._arrays]

    def column(self, items: Sequence[list[np.ndarray]]) -> pa.Array:
        return self._codec.from_leaves(
            [
                np.concatenate([item[place] for item in items]) if items else np.empty((0, *leaf.shape), leaf.dtype)
                for place, leaf in enumerate(self._codec.leaves)
            ]
        )

    def take(self, rows: int) -> pa.Array:
        return self._codec.from_leaves([array[:rows] for array in self._arrays])

    def carry(self, other: LeafBuffers, row: int) -> None:
        for mine, yours in zip(self._arrays, other._arrays, strict=True):
            mine[0] = yours[row]

    def clear(self, rows: int = 0) -> None:
        pass  # the arrays are written again

    def grow(self, capacity: int) -> None:
        for place, old in enumerate(self._arrays):
            self._arrays[place] = new = np.empty((capacity, *old.shape[1:]), old.dtype)
            new[: len(old)] = old


class ArrayBuffer(LeafBuffers):
    """One array of fixed dtype and shape a value."""

    def __init__(self, codec: SpaceCodec, capacity: int) -> None:
        super().__init__(codec, capacity)
        leaf = codec.leaves[0]
        self._dtype, self._shape = leaf.dtype, leaf.shape
        self._size = leaf.nbytes
        self._look()

    def _look(self) -> None:
        self._array = self._arrays[0]
        self._bytes = self._array.reshape(-1).view(np.uint8).data if self._size else memoryview(b"")

    @property
    def array(self) -> np.ndarray:
        """The values by row, contiguous."""
        return self._array

    @property
    def expected(self) -> Expected:
        """What a value has to be exactly, for `_row.c`."""
        return None, self._dtype, 0, 0, self._size, self._shape

    def put(self, row: int, value: Any) -> None:
        if type(value) is np.ndarray and value.dtype is self._dtype and value.shape == self._shape:
            at = row * self._size  # a third faster than assigning the array
            self._bytes[at : at + self._size] = value.tobytes()
        else:
            self._array[row] = self._codec.split(value)[0]

    def item(self, row: int) -> Any:
        at = row * self._size
        return bytes(self._bytes[at : at + self._size])

    def column(self, items: Sequence[Any]) -> pa.Array:
        return self._codec.from_leaves([np.frombuffer(b"".join(items), self._dtype).reshape(len(items), *self._shape)])

    def grow(self, capacity: int) -> None:
        super().grow(capacity)
        self._look()


class IntegerBuffer(LeafBuffers):
    """Integers (Discrete)."""

    def __init__(self, codec: SpaceCodec, capacity: int) -> None:
        super().__init__(codec, capacity)
        self._dtype = codec.leaves[0].dtype
        self._type = self._dtype.type
        limits = np.iinfo(self._dtype)
        self._low, self._high = int(limits.min), int(limits.max)
        self._view = self._arrays[0].data

    @property
    def array(self) -> np.ndarray:
        """The values by row, contiguous."""
        return self._arrays[0]

    @property
    def expected(self) -> Expected:
        """What a value has to be exactly, for `_row.c`."""
        return self._type, self._dtype, self._low, min(self._high, LARGEST_C_INTEGER), self._dtype.itemsize, ()

    def put(self, row: int, value: Any) -> None:
        kind = type(value)
        if kind is self._type or (kind is int and self._low <= value <= self._high):
            self._view[row] = value
            return
        if kind is np.ndarray and value.size == 1:
            value = value.reshape(())
        self._view[row] = self._codec.split(value)[0].item()

    def grow(self, capacity: int) -> None:
        super().grow(capacity)
        self._view = self._arrays[0].data


class ObjectBuffer:
    """Spaces without a fixed size (Text, Sequence, Graph, OneOf): a column of one row a value.

    Encoded at once, a value that does not fit is found when it comes, and its size is known.
    """

    def __init__(self, codec: SpaceCodec) -> None:
        self._codec = codec
        self._items: list[pa.Array] = []
        self.nbytes = 0

    def put(self, row: int, value: Any) -> None:
        if value is None:
            self._codec.check(value)  # a column takes None for null
        # A column may share memory with its values.
        column = self._codec.encode([copy.deepcopy(value)])
        self.clear(row)
        self._items.append(column)
        self.nbytes += _nbytes(column)

    def item(self, row: int) -> pa.Array:
        return self._items[row]

    def column(self, items: Sequence[pa.Array]) -> pa.Array:
        return pa.concat_arrays(items) if items else self._codec.encode([])

    def take(self, rows: int) -> pa.Array:
        return self.column(self._items[:rows])

    def carry(self, other: ObjectBuffer, row: int) -> None:
        self.clear()
        self._items.append(other.item(row))
        self.nbytes = _nbytes(self._items[0])

    def clear(self, rows: int = 0) -> None:
        while len(self._items) > rows:
            self.nbytes -= _nbytes(self._items.pop())

    def grow(self, capacity: int) -> None:
        pass  # a value more is an item more


def _nbytes(column: pa.Array) -> int:
    return column.get_total_buffer_size() + BYTES_PER_COLUMN
