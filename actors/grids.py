"""Values of a vector environment, `[sub-environment, step]`, that become one Arrow column when a fragment closes."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from rolltape.schema.space_codec import SpaceCodec


class Grid(Protocol):
    """Batched values by slot; a slot is one step of all sub-environments."""

    nbytes: int
    """Bytes of the values whose size the space does not say; 0 for spaces of fixed arrays."""

    def put(self, slot: int, batch: Any, mask: np.ndarray | None = None) -> None:
        """Copy one batched value in; with `mask` only those sub-environments. Raises SchemaMismatch."""

    def pick(self, places: np.ndarray, slot: int) -> pa.Array:
        """Copies of the values of some sub-environments in one slot."""

    def take(self, valid: np.ndarray) -> pa.Array:
        """The values where `valid` (sub-environments, slots), in the order [sub-environment, slot]."""

    def carry(self, slot: int) -> None:
        """Move what stands in `slot` to slot 0, and forget all others."""

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
        self._arrays = [np.empty((num_envs, slots, *leaf.shape), leaf.dtype) for leaf in codec.leaves]
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
            array[:, slot] = batch
            return
        for target, leaf in zip(self._arrays, self._codec.split_batch(batch, self._num_envs), strict=True):
            if mask is None:
                target[:, slot] = leaf
            else:
                target[mask, slot] = leaf[mask]

    def pick(self, places: np.ndarray, slot: int) -> pa.Array:
        return self._codec.from_leaves([array[places, slot] for array in self._arrays])

    def take(self, valid: np.ndarray) -> pa.Array:
        slots = valid.shape[1]
        if valid.all():
            # A copy also where one sub-environment's slots are contiguous: `carry` writes there before they are sent.
            flat = [a[:, :slots].copy().reshape(self._num_envs * slots, *a.shape[2:]) for a in self._arrays]
        else:
            flat = [a[:, :slots][valid] for a in self._arrays]
        return self._codec.from_leaves(flat)

    def carry(self, slot: int) -> None:
        for array in self._arrays:
            array[:, 0] = array[:, slot]

    def clear(self) -> None:
        pass  # the arrays are written again

    def grow(self) -> None:
        self._arrays = [np.concatenate([array, array[:, :1]], axis=1) for array in self._arrays]


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

    def pick(self, places: np.ndarray, slot: int) -> pa.Array:
        return self._slots[slot].take(pa.array(places))

    def take(self, valid: np.ndarray) -> pa.Array:
        places, slots = np.nonzero(valid)
        together = pa.concat_arrays([self._slots[slot] for slot in range(valid.shape[1])])
        return together.take(pa.array(slots * self._num_envs + places))

    def carry(self, slot: int) -> None:
        last = self._slots[slot]
        self._slots, self.nbytes = {0: last}, last.get_total_buffer_size()

    def clear(self) -> None:
        self._slots, self.nbytes = {}, 0

    def grow(self) -> None:
        pass  # a slot more is an entry more
