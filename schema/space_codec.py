"""Values of any Gymnasium space <-> Arrow columns, exactly, one at a time or a batch at once.

How each space lies in Arrow: `space_layout` (arrays), `space_struct` (Dict, Tuple), `space_list` (Sequence,
Graph), `space_one_of`, `space_text`. What is taken for a value: `space_exact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
import pyarrow as pa

from .errors import SchemaMismatch, UnsupportedSpace
from .space_descriptor import Descriptor, describe_space
from .space_node import FixedNode, Leaf, Node
from .space_signature import canonical_json, space_signature
from .space_tree import build_node

LARGEST_METADATA_BYTES: Final = 8192


class SpaceCodec:
    """Encodes and decodes the values of one space. Has no state: threads may share it.

    Bounds, counts and lengths of text are not checked (`space.contains` does that): what an environment returned
    is recorded, as long as it has the declared form, shape, and a dtype that converts without a change
    (`space_exact`).

    Attributes:
        descriptor: the space as JSON values.
        signature: its short hash.
        arrow_type: type of its column.
        is_fixed: whether every value is the same set of arrays (Box, Discrete, MultiBinary and MultiDiscrete,
            under Dict and Tuple). Only then are `split`, `split_batch`, `from_leaves` and `decode_batch` of
            use. A space with nothing in it (an empty Dict) is not: without arrays nobody knows the number of
            rows.
        leaves: those arrays in canonical order: that of the space, depth first; empty where the space is not
            fixed.
    """

    def __init__(self, space: gym.Space[Any] | Descriptor) -> None:
        """Take a space, or its descriptor (to read a recording without building the space).

        Raises:
            UnsupportedSpace: the space, or one inside it, is not of Gymnasium and has no substitute.
            SchemaError: not a descriptor.
        """
        self.descriptor: Descriptor = space if isinstance(space, dict) else describe_space(space)
        self.signature = space_signature(self.descriptor)
        self._node: Node = build_node(self.descriptor, ())
        self.arrow_type: pa.DataType = self._node.arrow_type
        self._fixed = self._node if isinstance(self._node, FixedNode) and self._node.leaves else None
        self.is_fixed = self._fixed is not None
        self.leaves: tuple[Leaf, ...] = () if self._fixed is None else self._fixed.leaves

    def __reduce__(self) -> tuple[Any, ...]:
        return SpaceCodec, (self.descriptor,)

    def field(self, name: str) -> pa.Field:
        """A nullable field of `arrow_type` with metadata.

        `rolltape.signature` is always there, `rolltape.space` (canonical JSON of the descriptor) where it is at most
        8 KiB; arrays add `rolltape.shape`, `rolltape.dtype`, `rolltape.storage`, also deep inside.
        """
        text = canonical_json(self.descriptor).encode("ascii")
        metadata = {**self._node.metadata, b"rolltape.signature": self.signature.encode("ascii")}
        if len(text) <= LARGEST_METADATA_BYTES:
            metadata[b"rolltape.space"] = text
        return pa.field(name, self.arrow_type, metadata=metadata)

    def check(self, value: Any) -> None:
        """Do nothing for a value that can be encoded.

        Raises:
            SchemaMismatch: it cannot; the message names the path inside it, what was expected and what was
            found.
        """
        if self._fixed is not None:
            self._fixed.split(value)
        else:
            self._node.from_values([value])

    def split(self, value: Any) -> list[np.ndarray]:
        """One value as its leaf arrays: `arrays[i]` has the dtype and shape of `leaves[i]`.

        An array that is right already is returned itself, not a copy.

        Raises:
            SchemaMismatch: as `check`.
            UnsupportedSpace: the space is not fixed.
        """
        return self._fixed_node("split").split(value)

    def split_batch(self, batched: Any, n: int) -> list[np.ndarray]:
        """What a vector environment returned for n sub-environments, as leaf arrays of shape (n, *shape).

        Args:
            batched: as Gymnasium batches: an array for an array, a dict or tuple of batches for Dict and
                Tuple. A tuple, list or object array of n values is taken too.
            n: the number of sub-environments.

        Returns:
            Arrays that were right already are returned themselves; they may be the environment's own buffers.

        Raises:
            SchemaMismatch: as `check`, or there are not n values.
            UnsupportedSpace: the space is not fixed.
        """
        return self._fixed_node("split_batch").split_batch(batched, n)

    def from_leaves(self, arrays: Sequence[np.ndarray], valid: np.ndarray | None = None) -> pa.Array:
        """Leaf arrays as a column, without a copy where they are C-contiguous and not bool.

        Args:
            arrays: one a leaf, of its dtype and shape (rows, *shape). Shared with the column: do not write to
                them after.
            valid: bool, (rows,); a row is null where it is False. None: no row is null.

        Raises:
            SchemaMismatch: an array has another dtype or shape than its leaf, or the number of arrays is
            wrong.
            UnsupportedSpace: the space is not fixed.
        """
        node = self._fixed_node("from_leaves")
        if len(arrays) != len(self.leaves):
            raise SchemaMismatch(f"Expected {len(self.leaves)} leaf arrays, found {len(arrays)}.")
        rows = len(arrays[0])
        if valid is not None and valid.all():
            valid = None
        return node.from_leaves(arrays, rows, valid)

    def encode(self, values: Sequence[Any]) -> pa.Array:
        """Single values as a column, one row each; None becomes null.

        Raises:
            SchemaMismatch: as `check`.
        """
        present = [value for value in values if value is not None]
        column = self._node.from_values(present)
        if len(present) == len(values):
            return column
        valid = np.array([value is not None for value in values])
        return column.take(pa.array(np.cumsum(valid) - 1, mask=~valid))

    def encode_batch(self, batched: Any, n: int) -> pa.Array:
        """What a vector environment returned for n sub-environments, as a column of n rows; for any space.

        Args:
            batched: as in `split_batch`; for Text, Sequence, Graph and OneOf a tuple, list or object array of
                n values.
            n: the number of sub-environments.

        Raises:
            SchemaMismatch: as `split_batch`.
        """
        return self._node.from_batches([batched], [n])

    def decode(self, array: pa.Array | pa.ChunkedArray) -> list[Any]:
        """The values of a column, of the types, dtypes and shapes that the space samples; None where it is
        null.

        Discrete gives NumPy scalars, Box of shape () arrays without axes, Dict dicts in the order of the space,
        Sequence tuples (or batches where it is stacked), Graph GraphInstance, OneOf (np.int64, value). Arrays
        are writable; those of one call may be parts of one larger array.

        Args:
            array: of `arrow_type`, or of what another reader made of it and Arrow can cast back (DuckDB gives
                lists for lists of fixed size).

        Raises:
            SchemaMismatch: the column is not of this space.
        """
        return self._node.to_values(self._column(array))

    def decode_batch(self, array: pa.Array | pa.ChunkedArray) -> Any:
        """All rows of a fixed space as Gymnasium batches them: arrays of shape (rows, *shape), in dicts and
        tuples.

        Read-only and sharing the column's memory where it has one chunk and no nulls and is not bool. A null row is
        zeros: ask `array.is_valid()`.

        Raises:
            SchemaMismatch: the column is not of this space.
            UnsupportedSpace: the space is not fixed.
        """
        return self._fixed_node("decode_batch").to_batch(self._column(array))

    def _fixed_node(self, method: str) -> FixedNode:
        if self._fixed is None:
            raise UnsupportedSpace(
                f"{method} needs a space whose values are always the same arrays; this "
                f"{self.descriptor['type']} ({self.signature}) has parts of varying size, or none. "
                "Use encode, encode_batch and decode."
            )
        return self._fixed

    def _column(self, array: pa.Array | pa.ChunkedArray) -> pa.Array:
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
        if array.type == self.arrow_type:
            return array
        try:
            return array.cast(self.arrow_type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise SchemaMismatch(
                f"Expected a column of {self.arrow_type} (space {self.signature}), found {array.type}: {error}"
            ) from error
