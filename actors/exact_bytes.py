"""The bytes of observations: what a replay gives is compared with them one by one, before the environment goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa

from rolltape.schema.space_codec import SpaceCodec

Matching = Callable[[Any, Any], bool]
"""Says whether an observation, the second, is the recorded one, the first."""
ROWS: Final = 4096
BYTES: Final = 8 << 20
"""So much of a column is made into bytes at once."""


def matching(codec: SpaceCodec) -> Matching:
    """What says whether a value has the bytes that `column_bytes` gave for another.

    `codec` is of a fixed space. Raises SchemaMismatch for a value that is none of the space.
    """
    split = codec.split

    def as_split(was: bytes, value: Any) -> bool:
        return b"".join([array.tobytes() for array in split(value)]) == was

    if codec.descriptor["type"] in ("Dict", "Tuple"):
        return as_split
    (leaf,) = codec.leaves
    dtype, shape = leaf.dtype, leaf.shape

    def as_array(was: bytes, value: Any) -> bool:
        try:
            if value.dtype is dtype and value.shape == shape:
                return value.tobytes() == was
        except AttributeError:  # a plain number
            pass
        return as_split(was, value)

    return as_array


def column_bytes(codec: SpaceCodec, column: pa.Array | pa.ChunkedArray) -> list[bytes]:
    """The bytes of each row of a column without nulls: of its arrays, one after the other, as the space has them."""
    lists = [row_bytes(array) for array in codec.split_batch(codec.decode_batch(column), len(column))]
    return lists[0] if len(lists) == 1 else [b"".join(parts) for parts in zip(*lists, strict=True)]


class ColumnBytes:
    """The same of a column, some rows at a time."""

    def __init__(self, codec: SpaceCodec, column: pa.ChunkedArray) -> None:
        self._codec, self._column = codec, column
        self._most = max(1, min(ROWS, BYTES // max(1, sum(leaf.nbytes for leaf in codec.leaves))))
        self._first, self._made = 0, list[bytes]()

    def of(self, start: int, stop: int) -> list[bytes]:
        """Those of the rows `start` to `stop` (exclusive)."""
        if start < self._first or stop > self._first + len(self._made):
            rows = self._column.slice(start, max(stop - start, self._most))
            self._first, self._made = start, column_bytes(self._codec, rows)
        return self._made[start - self._first : stop - self._first]


def same_signs(a: pa.Array, b: pa.Array) -> bool:
    """Whether the zeros in two equal columns have the same signs: Arrow says that -0.0 equals 0.0."""
    if pa.types.is_struct(a.type):
        return all(same_signs(x, y) for x, y in zip(a.flatten(), b.flatten(), strict=True))
    if pa.types.is_list(a.type) or pa.types.is_fixed_size_list(a.type) or pa.types.is_large_list(a.type):
        return same_signs(a.flatten(), b.flatten())
    if not pa.types.is_floating(a.type):
        return True
    signs = [np.signbit(column.drop_null().to_numpy(zero_copy_only=False)) for column in (a, b)]
    return np.array_equal(*signs)


def row_bytes(array: np.ndarray) -> list[bytes]:
    """The bytes of each row of an array, (rows, *shape)."""
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    size = flat.shape[1] * flat.dtype.itemsize
    return flat.view(np.dtype((np.void, size))).ravel().tolist() if size else [b""] * len(flat)
