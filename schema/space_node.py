"""The nodes of a codec's tree, one a space: what every one of them can do with values and batches.

A *value* is what one environment returns, a *batch* what a vector environment returns for n of them (the
conventions of `gymnasium.vector.utils`): one array for Box, Discrete, MultiBinary and MultiDiscrete; a dict
or tuple of batches for Dict and Tuple; a tuple of n values for everything else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import SchemaMismatch
from .space_layout import validity
from .space_paths import Path, show_path


@dataclass(frozen=True, slots=True)
class Leaf:
    """One array of a fixed space: where it lies in a value, and what it is.

    Attributes:
        path: Dict keys and Tuple indices, outermost first; empty where the space itself is the array.
        dtype: dtype of the array.
        shape: shape of the array in one value; () for Discrete.
    """

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the array in one value."""
        return self.dtype.itemsize * math.prod(self.shape)


class Node(ABC):
    """One space in the tree: its Arrow type, and values and batches of it to columns and back.

    Columns given to `decode`, `to_values` and `to_batch` are of `arrow_type`. All raise SchemaMismatch for what
    does not fit, but bounds, lengths of text and counts of Discrete are not looked at: what was observed is
    recorded.

    Attributes:
        path: where the space lies, for messages.
        arrow_type: type of its column.
        metadata: what the field of that column carries.
        leaves: the arrays of a fixed space in order; None where values vary in size, () where there is
            nothing at all.
    """

    path: Path
    arrow_type: pa.DataType
    metadata: dict[bytes, bytes]
    leaves: tuple[Leaf, ...] | None

    @abstractmethod
    def from_values(self, values: Sequence[Any]) -> pa.Array:
        """A column with one row for each value; no value is None."""

    @abstractmethod
    def from_batches(self, batches: Sequence[Any], lengths: Sequence[int]) -> pa.Array:
        """A column with the rows of several batches, one after the other; `lengths[i]` rows in
        `batches[i]`."""

    @abstractmethod
    def decode(self, column: pa.Array) -> list[Any]:
        """One value for each row of a column without nulls."""

    def to_values(self, column: pa.Array) -> list[Any]:
        """One value for each row, None where it is null.

        Arrays are writable and nobody else's, but those of one call may be parts of one larger array.
        """
        if column.null_count == 0:
            return self.decode(column)
        values = iter(self.decode(column.drop_null()))
        return [next(values) if is_valid else None for is_valid in validity(column)]

    @abstractmethod
    def to_batch(self, column: pa.Array, *, writable: bool = False) -> Any:
        """All rows as one batch; a null row is zeros in arrays, None in tuples.

        Arrays are read-only and share the column's memory where they can, unless `writable` is asked for.
        """

    @abstractmethod
    def is_batch(self, batch: Any, n: int) -> bool:
        """Whether this has the form in which Gymnasium gives n values, by its containers and first axes
        only."""

    @abstractmethod
    def batch_length(self, batch: Any) -> int | None:
        """How many values a batch holds; None where it does not say (nothing inside) or is no batch."""

    @abstractmethod
    def slice_batch(self, batch: Any, start: int, stop: int) -> Any:
        """The part of a batch from `to_batch`, without a copy."""

    def field(self, name: str) -> pa.Field:
        """A nullable field of this space's type, with its metadata."""
        return pa.field(name, self.arrow_type, metadata=self.metadata or None)

    def mismatch(self, expected: str, found: str) -> SchemaMismatch:
        """The error for a value that does not fit here."""
        return SchemaMismatch(f"{show_path(self.path)}: expected {expected}, found {found}.")


class FixedNode(Node):
    """A space whose every value is the same set of arrays. `leaves` is never None."""

    leaves: tuple[Leaf, ...]

    @abstractmethod
    def split(self, value: Any) -> list[np.ndarray]:
        """The leaf arrays of one value, in the order of `leaves`, each of its leaf's dtype and shape."""

    @abstractmethod
    def split_values(self, values: Sequence[Any]) -> list[np.ndarray]:
        """The leaf arrays of several values, each of shape (values, *shape)."""

    @abstractmethod
    def split_batch(self, batch: Any, n: int) -> list[np.ndarray]:
        """The leaf arrays of a batch of n values, each of shape (n, *shape); no copy where they are so
        already."""

    @abstractmethod
    def from_leaves(self, arrays: Sequence[np.ndarray], rows: int, valid: np.ndarray | None = None) -> pa.Array:
        """A column of leaf arrays of shape (rows, *shape); where `valid` (bool, (rows,)) is False, the row is
        null."""

    def from_values(self, values: Sequence[Any]) -> pa.Array:
        """A column with one row for each value."""
        return self.from_leaves(self.split_values(values), len(values))

    def from_batches(self, batches: Sequence[Any], lengths: Sequence[int]) -> pa.Array:
        """A column with the rows of several batches."""
        split = [self.split_batch(batch, n) for batch, n in zip(batches, lengths, strict=True)]
        if len(split) == 1:
            arrays = split[0]
        else:
            arrays = [
                np.concatenate([np.empty((0, *leaf.shape), leaf.dtype), *parts], dtype=leaf.dtype)
                for leaf, *parts in zip(self.leaves, *split, strict=True)
            ]
        return self.from_leaves(arrays, sum(lengths))


class ValueNode(Node):
    """A space whose values vary in size: a batch of it is a tuple of values."""

    leaves = None

    def from_batches(self, batches: Sequence[Any], lengths: Sequence[int]) -> pa.Array:
        """A column of all values in turn; a batch may be a tuple, a list or an array of values."""
        values: list[Any] = []
        for batch, n in zip(batches, lengths, strict=True):
            if self.batch_length(batch) != n:
                raise self.mismatch(f"a batch of {n} values in a tuple", f"{type(batch).__qualname__}: {batch!r:.60}")
            values.extend(batch)
        return self.from_values(values)

    def to_batch(self, column: pa.Array, *, writable: bool = False) -> tuple[Any, ...]:
        """A tuple of values. They are always writable."""
        return tuple(self.to_values(column))

    def is_batch(self, batch: Any, n: int) -> bool:
        """A tuple, list or array of n values."""
        return self.batch_length(batch) == n

    def batch_length(self, batch: Any) -> int | None:
        """The number of values."""
        one_axis = isinstance(batch, np.ndarray) and batch.ndim > 0
        return len(batch) if one_axis or isinstance(batch, (list, tuple)) else None

    def slice_batch(self, batch: Any, start: int, stop: int) -> Any:
        """A shorter tuple."""
        return batch[start:stop]
