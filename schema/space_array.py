"""Box, Discrete, MultiBinary and MultiDiscrete: one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .space_exact import exact_array
from .space_layout import ArrayLayout
from .space_node import FixedNode, Leaf
from .space_paths import Path


class ArrayNode(FixedNode):
    """A space whose values are arrays of one dtype and shape; `ArrayLayout` says how they lie in Arrow.

    Values come back as arrays; those of Discrete and of MultiDiscrete without axes as NumPy scalars, as
    Gymnasium samples them.
    """

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...], *, scalar: bool = False) -> None:
        self.path = path
        self.dtype = dtype
        self.shape = shape
        self.leaves = (Leaf(path, dtype, shape),)
        self._scalar = scalar
        self._layout = ArrayLayout(dtype, shape)
        self.arrow_type = self._layout.arrow_type
        self.metadata = self._layout.metadata

    def split(self, value: Any) -> list[np.ndarray]:
        """The value itself, as an array of the declared dtype and shape."""
        return [exact_array(value, self.dtype, self.shape, self.path)]

    def split_values(self, values: Sequence[Any]) -> list[np.ndarray]:
        """One new array of shape (values, *shape)."""
        kinds = set(map(type, values))
        if self.shape == () and (kinds == {self.dtype.type} or (kinds == {int} and self.dtype.kind in "iu")):
            try:
                return [np.array(values, self.dtype)]
            except OverflowError:
                pass  # a Python integer too large: the loop below says which
        shape, arrays = self.shape, [exact_array(value, self.dtype, self.shape, self.path) for value in values]
        if shape == () or not arrays:
            return [np.array(arrays, self.dtype).reshape(len(arrays), *shape)]
        return [np.concatenate(arrays, dtype=self.dtype).reshape(len(arrays), *shape)]

    def split_batch(self, batch: Any, n: int) -> list[np.ndarray]:
        """The batch itself; a list, tuple or object array of n values is stacked."""
        if isinstance(batch, (list, tuple)) or (isinstance(batch, np.ndarray) and batch.dtype == object):
            if len(batch) != n:
                raise self.mismatch(f"a batch of {n} values", f"{len(batch)} values")
            return self.split_values(list(batch))
        return [exact_array(batch, self.dtype, (n, *self.shape), self.path)]

    def from_leaves(self, arrays: Sequence[np.ndarray], rows: int, valid: np.ndarray | None = None) -> pa.Array:
        """A column that shares the array's memory where its layout allows."""
        (array,) = arrays
        # The byte order is free: whatever stacked the values may have made it this machine's.
        if array.dtype.newbyteorder("=") != self.dtype.newbyteorder("=") or array.shape != (rows, *self.shape):
            expected = f"{self.dtype}{[rows, *self.shape]} as its leaf"
            raise self.mismatch(expected, f"{array.dtype}{list(array.shape)}")
        return self._layout.to_arrow(array, valid)

    def decode(self, column: pa.Array) -> list[Any]:
        """Arrays, or NumPy scalars."""
        rows = self.to_batch(column, writable=True)
        if self.shape != () or self._scalar:
            return list(rows)
        return [rows[i, ...] for i in range(len(rows))]

    def to_batch(self, column: pa.Array, *, writable: bool = False) -> np.ndarray:
        """One array of shape (rows, *shape)."""
        rows = self._layout.to_numpy(column)
        return rows.copy() if writable and not rows.flags.writeable else rows

    def is_batch(self, batch: Any, n: int) -> bool:
        """An array of numbers with n on its first axis."""
        return isinstance(batch, np.ndarray) and batch.dtype != object and batch.shape[:1] == (n,)

    def batch_length(self, batch: Any) -> int | None:
        """The first axis."""
        if isinstance(batch, np.ndarray):
            return batch.shape[0] if batch.ndim else None
        return len(batch) if isinstance(batch, (list, tuple)) else None

    def slice_batch(self, batch: Any, start: int, stop: int) -> Any:
        """A view."""
        return batch[start:stop]
