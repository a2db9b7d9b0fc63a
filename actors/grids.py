"""Values of a vector environment by slot, one slot a step of all sub-environments, that become one Arrow column.

Slots are contiguous, so that a step is a copy of what the environment returned; a column is in the order
[sub-environment, slot], which `order` says: places in the flat [slot, sub-environment] array.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from rolltape.schema.space_codec import SpaceCodec

from .episode_rows import Values


class Grid(Protocol):
    """Batched values by slot; a slot is one step of all sub-environments."""

    nbytes: int
    """Bytes of the values whose size the space does not say; 0 for spaces of fixed arrays."""

    def put(self, slot: int, batch: Any, mask: np.ndarray | None = None) -> None:
        """Copy one batched value in; with `mask` only those sub-environments. Raises SchemaMismatch."""

    def pick(self, places: np.ndarray, slot: int) -> Values:
        """Copies of the values of some sub-environments in one slot."""
        ...

    def take(self, order: np.ndarray, slots: int) -> pa.Array:
        """Copies of the values at the places `order` of the first `slots` slots."""
        ...

    def carry(self, other: Any, slot: int) -> None:
        """Begin with a copy of a slot of another grid of this space."""

    def clear(self) -> None:
        """Forget everything."""

    def grow(self) -> None:
        """Make room for one slot more."""


def grid(codec: SpaceCodec, num_envs: int, slots: int) -> Grid:
    """A grid for the space of `codec` with room for `slots` steps."""
    return LeafGrid(codec, num_envs, slots) if codec.is_fixed else ObjectGrid(codec, num_envs, slots)


class LeafGrid:
    """Spaces of fixed arrays: one preallocated array a leaf."""

    nbytes = 0

    def __init__(self, codec: SpaceCodec, num_envs: int, slots: int) -> None:
        self._codec, self._num_envs = codec, num_envs
        self._arrays = [np.empty((slots, num_envs, *leaf.shape), leaf.dtype) for leaf in codec.leaves]
        self._plain = len(codec.leaves) == 1 and not codec.leaves[0].path
        self._expected = (num_envs, *codec.leaves[0].shape) if codec.leaves else ()

    def put(self, slot: int, batch: Any, mask: np.ndarray | None = None) -> None:
        array = self._arrays[0] if self._plain else None
        if (
            array is not None
            and mask is None
            and type(batch) is np.ndarray
            and batch.dtype == array.dtype
            and batch.shape == self._expected
        ):
            array[slot] = batch
            return
        for target, leaf in zip(self._arrays, self._codec.split_batch(batch, self._num_envs), strict=True):
            if mask is None:
                target[slot] = leaf
            else:
                target[slot, mask] = leaf[mask]

    def pick(self, places: np.ndarray, slot: int) -> Values:
        return [array[slot, places] for array in self._arrays]

    def take(self, order: np.ndarray, slots: int) -> pa.Array:
        return self._codec.from_leaves([ordered(array[:slots], order) for array in self._arrays])

    def carry(self, other: LeafGrid, slot: int) -> None:
        for mine, yours in zip(self._arrays, other._arrays, strict=True):
            mine[0] = yours[slot]

    def clear(self) -> None:
        pass  # the arrays are written again

    def grow(self) -> None:
        self._arrays = [np.concatenate([array, array[:1]]) for array in self._arrays]


WORDS: Final = {2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}
"""Elements that NumPy moves as one."""


def ordered(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Of an array [slot, sub-environment, …] the elements at the flat places `order`, copied."""
    shape = array.shape[2:]
    flat = array.reshape(array.shape[0] * array.shape[1], *shape)
    nbytes = array.itemsize * math.prod(shape)
    if shape and (word := WORDS.get(nbytes)) is not None:  # 16 bytes at once instead of four times four
        return flat.reshape(len(flat), -1).view(word).reshape(-1).take(order).view(array.dtype).reshape(-1, *shape)
    return flat.take(order, axis=0)


class ObjectGrid:
    """Spaces without a fixed size: a column a slot."""

    def __init__(self, codec: SpaceCodec, num_envs: int, slots: int) -> None:
        self._codec, self._num_envs = codec, num_envs
        self._slots: dict[int, pa.Array] = {}
        self.nbytes = 0

    def put(self, slot: int, batch: Any, mask: np.ndarray | None = None) -> None:
        # A column may share memory with its values.
        column = self._codec.encode_batch(copy.deepcopy(batch), self._num_envs)
        if mask is not None and slot in self._slots:
            kept = pa.concat_arrays([self._slots[slot], column])
            column = kept.take(pa.array(np.arange(self._num_envs) + mask * self._num_envs))
        if slot in self._slots:
            self.nbytes -= self._slots[slot].get_total_buffer_size()
        self._slots[slot] = column
        self.nbytes += column.get_total_buffer_size()

    def pick(self, places: np.ndarray, slot: int) -> Values:
        return self._slots[slot].take(pa.array(places))

    def take(self, order: np.ndarray, slots: int) -> pa.Array:
        return pa.concat_arrays([self._slots[slot] for slot in range(slots)]).take(pa.array(order))

    def carry(self, other: ObjectGrid, slot: int) -> None:
        self.clear()
        if (last := other._slots.get(slot)) is not None:
            self._slots, self.nbytes = {0: last}, last.get_total_buffer_size()

    def clear(self) -> None:
        self._slots, self.nbytes = {}, 0

    def grow(self) -> None:
        pass  # a slot more is an entry more
