"""Values of a space, one after the other, as lists that become an Arrow column when a fragment closes.

For single environments lists beat preallocated arrays: an `append` of bytes costs a tenth of a microsecond, an
assignment into an array several times that. A value is copied when it is appended: environments reuse their arrays.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from rolltape.schema.space_codec import SpaceCodec

BYTES_PER_COLUMN = 512
"""What a column of one row takes beside its buffers."""


class ValueList(Protocol):
    """Values of one space in order."""

    nbytes: int
    """Bytes of the values whose size the space does not say; 0 for spaces of fixed arrays."""

    def append(self, value: Any) -> None:
        """Copy one value in. Raises SchemaMismatch where it does not fit; nothing is appended then."""

    def take(self, rows: int) -> pa.Array:
        """Remove the first `rows` values and return them as an Arrow array."""

    def trim(self, rows: int) -> None:
        """Remove the newest values, so that `rows` are left."""

    def newest_item(self) -> Any:
        """The newest value, in the list's own form; it stays."""

    def push_item(self, item: Any) -> None:
        """Append what `newest_item` of a list of the same space gave."""

    def __len__(self) -> int: ...


def value_list(codec: SpaceCodec) -> ValueList:
    """The cheapest list for the space of `codec`."""
    if not codec.is_fixed:
        return ObjectList(codec)
    if len(codec.leaves) == 1 and not codec.leaves[0].path:
        leaf = codec.leaves[0]
        return ScalarList(codec) if leaf.shape == () and leaf.dtype.kind in "iu" else BytesList(codec)
    return LeafLists(codec)


class _Items:
    def __init__(self, codec: SpaceCodec) -> None:
        self._codec = codec
        self._items: list[Any] = []
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def trim(self, rows: int) -> None:
        del self._items[rows:]

    def newest_item(self) -> Any:
        return self._items[-1]

    def push_item(self, item: Any) -> None:
        self._items.append(item)


class ScalarList(_Items):
    """Integers (Discrete)."""

    def __init__(self, codec: SpaceCodec) -> None:
        super().__init__(codec)
        self._dtype = codec.leaves[0].dtype
        self._type = self._dtype.type
        limits = np.iinfo(self._dtype)
        self._low, self._high = int(limits.min), int(limits.max)

    def append(self, value: Any) -> None:
        kind = type(value)
        if kind is self._type or (kind is int and self._low <= value <= self._high):
            self._items.append(value)
            return
        if kind is np.ndarray and value.size == 1:
            value = value.reshape(())
        self._items.append(self._codec.split(value)[0].item())

    def take(self, rows: int) -> pa.Array:
        array = np.array(self._items[:rows], self._dtype)
        del self._items[:rows]
        return self._codec.from_leaves([array])


class BytesList(_Items):
    """One array of fixed dtype and shape a value, kept as bytes."""

    def __init__(self, codec: SpaceCodec) -> None:
        super().__init__(codec)
        leaf = codec.leaves[0]
        self._dtype, self._shape = leaf.dtype, leaf.shape

    def append(self, value: Any) -> None:
        if type(value) is np.ndarray and value.dtype is self._dtype and value.shape == self._shape:
            self._items.append(value.tobytes())
        else:
            self._items.append(self._codec.split(value)[0].tobytes())

    def take(self, rows: int) -> pa.Array:
        raw = b"".join(self._items[:rows])
        del self._items[:rows]
        return self._codec.from_leaves([np.frombuffer(raw, self._dtype).reshape(rows, *self._shape)])


class LeafLists(_Items):
    """Dict and Tuple spaces of fixed arrays: bytes a leaf."""

    def append(self, value: Any) -> None:
        self._items.append([leaf.tobytes() for leaf in self._codec.split(value)])

    def take(self, rows: int) -> pa.Array:
        items, self._items[:rows] = self._items[:rows], []
        arrays = [
            np.frombuffer(b"".join(item[place] for item in items), leaf.dtype).reshape(rows, *leaf.shape)
            for place, leaf in enumerate(self._codec.leaves)
        ]
        return self._codec.from_leaves(arrays)


class ObjectList(_Items):
    """Spaces without a fixed size (Text, Sequence, Graph, OneOf): a column of one row a value.

    Encoded at once, a value that does not fit is found when it comes, and its size is known.
    """

    def append(self, value: Any) -> None:
        if value is None:
            self._codec.check(value)  # a column takes None for null
        # A column may share memory with its values.
        self.push_item(self._codec.encode([copy.deepcopy(value)]))

    def take(self, rows: int) -> pa.Array:
        items, self._items[:rows] = self._items[:rows], []
        self.nbytes -= sum(map(_nbytes, items))
        return pa.concat_arrays(items) if items else self._codec.encode([])

    def trim(self, rows: int) -> None:
        while len(self._items) > rows:
            self.nbytes -= _nbytes(self._items.pop())

    def push_item(self, item: Any) -> None:
        self._items.append(item)
        self.nbytes += _nbytes(item)


def _nbytes(column: pa.Array) -> int:
    return column.get_total_buffer_size() + BYTES_PER_COLUMN
