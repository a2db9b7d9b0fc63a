"""Values of a space, one after the other, as lists that become an Arrow column when a fragment closes.

For single environments lists beat preallocated arrays: an `append` of bytes costs a tenth of a microsecond, an assignment
into an array several times that. A value is copied when it is appended: environments reuse their arrays.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.space_codec import SpaceCodec


class ValueList(Protocol):
    """Values of one space in order."""

    def append(self, value: Any) -> None:
        """Copy one value in. Raises SchemaMismatch where it does not fit and this is cheap to see."""

    def take(self, rows: int) -> pa.Array:
        """Remove the first `rows` values and return them as an Arrow array. Raises SchemaMismatch."""

    def pop_item(self) -> Any:
        """Remove the newest value, in the list's own form."""

    def push_item(self, item: Any) -> None:
        """Append what `pop_item` of a list of the same space gave."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """Stands for the newest value of `source`: whoever takes it in removes it there."""

    source: ValueList


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

    def __len__(self) -> int:
        return len(self._items)

    def pop_item(self) -> Any:
        return self._items.pop()

    def push_item(self, item: Any) -> None:
        self._items.append(item)


class ScalarList(_Items):
    """Integers (Discrete)."""

    def __init__(self, codec: SpaceCodec) -> None:
        super().__init__(codec)
        self._dtype = codec.leaves[0].dtype

    def append(self, value: Any) -> None:
        self._items.append(value.item() if type(value) is np.ndarray else value)

    def take(self, rows: int) -> pa.Array:
        values = self._items[:rows]
        array = np.asarray(values)
        if array.shape != (rows,) or array.dtype.kind not in "iu":
            array = np.array([self._codec.split(v)[0] for v in values], dtype=self._dtype)
        del self._items[:rows]
        return self._codec.from_leaves([array.astype(self._dtype, copy=False)])


class BytesList(_Items):
    """One array of fixed dtype and shape a value, kept as bytes."""

    def __init__(self, codec: SpaceCodec) -> None:
        super().__init__(codec)
        leaf = codec.leaves[0]
        self._dtype, self._shape = leaf.dtype, leaf.shape
        self._nbytes = leaf.dtype.itemsize * int(np.prod(leaf.shape, dtype=np.int64))

    def append(self, value: Any) -> None:
        if type(value) is np.ndarray and value.dtype is self._dtype:
            self._items.append(value.tobytes())
        else:
            self._items.append(self._codec.split(value)[0].tobytes())

    def take(self, rows: int) -> pa.Array:
        items = self._items[:rows]
        raw = b"".join(items)
        if len(raw) != rows * self._nbytes:
            bad = next(i for i, item in enumerate(items) if len(item) != self._nbytes)
            raise SchemaMismatch(
                f"a value has {len(items[bad]) // self._dtype.itemsize} elements, its space says shape {self._shape} of "
                f"{self._dtype} ({self._codec.descriptor}). Correct the environment's space or its values."
            )
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
    """Spaces without a fixed size (Text, Sequence, Graph, OneOf): the values themselves."""

    def append(self, value: Any) -> None:
        self._items.append(copy.deepcopy(value))

    def take(self, rows: int) -> pa.Array:
        items, self._items[:rows] = self._items[:rows], []
        return self._codec.encode(items)
