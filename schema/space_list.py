"""Sequence and Graph: lists of any length.

A Sequence is `list<element>`. A Graph is a struct:

| field | Arrow type | holds |
|---|---|---|
| `nodes` | `list<node>` | the nodes |
| `edges` | `list<edge>`, null where None; absent where the space has no edge space | the edges |
| `edge_links` | `list<fixed_size_list<int64>[2]>`, null where None | the two nodes of each edge |
| `edge_links_dtype` | `string`, null for int32, which is Gymnasium's | the dtype of the given links |

No edges (None) and a list of zero edges are different values and stay so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
from gymnasium.spaces import GraphInstance

from .errors import SchemaMismatch
from .space_array import ArrayNode
from .space_exact import exact_array
from .space_layout import LARGEST_COLUMN_BYTES, validity
from .space_node import Node, ValueNode
from .space_paths import Path

LINKS_DTYPE: Final = np.dtype(np.int32)


class SequenceNode(ValueNode):
    """Sequence: tuples of values, or where it is stacked, batches of any length."""

    def __init__(self, path: Path, element: Node, *, stack: bool) -> None:
        self.path = path
        self.metadata = {}
        self._element = element
        self._stack = stack
        self.arrow_type = pa.list_(element.field("element"))

    def from_values(self, values: Sequence[Any]) -> pa.Array:
        """A column of lists. Tuples, lists and arrays are taken; a stacked one needs the form of a batch."""
        if self._stack:
            return _lists_of_batches(self._element, values, self.arrow_type)
        for value in values:
            if not isinstance(value, (tuple, list, np.ndarray)):
                raise self.mismatch("a tuple of any length", f"a {type(value).__qualname__}: {value!r:.60}")
        elements = self._element.from_values([element for value in values for element in value])
        return _lists(self.arrow_type, elements, [len(value) for value in values])

    def decode(self, column: pa.Array) -> list[Any]:
        """Tuples, or batches."""
        elements, bounds = _elements(column)
        if self._stack:
            batch = self._element.to_batch(elements, writable=True)
            return [self._element.slice_batch(batch, start, stop) for start, stop in bounds]
        values = self._element.to_values(elements)
        return [tuple(values[start:stop]) for start, stop in bounds]


class GraphNode(ValueNode):
    """Graph: `GraphInstance` of a batch of nodes, a batch of edges or None, and links or None."""

    def __init__(self, path: Path, node: Node, edge: Node | None) -> None:
        self.path = path
        self.metadata = {}
        self._parts = {"nodes": node} | ({} if edge is None else {"edges": edge})
        self._links = ArrayNode((*path, "edge_links", ...), np.dtype(np.int64), (2,))
        self._parts["edge_links"] = self._links
        self._types = {name: pa.list_(part.field("element")) for name, part in self._parts.items()}
        fields = [pa.field(name, list_type) for name, list_type in self._types.items()]
        self._fields = [*fields, pa.field("edge_links_dtype", pa.string())]
        self.arrow_type = pa.struct(self._fields)

    def from_values(self, values: Sequence[Any]) -> pa.Array:
        """A column of graphs, given as GraphInstance or as tuples of three."""
        for value in values:
            self._check(value)
        links = [None if value[2] is None else self._as_links(value[2]) for value in values]
        columns = {
            "nodes": [value[0] for value in values],
            "edges": [value[1] for value in values],
            "edge_links": [None if link is None else link.astype(np.int64, copy=False) for link in links],
        }
        lists = [_lists_of_batches(part, columns[name], self._types[name]) for name, part in self._parts.items()]
        dtypes = [None if link is None or link.dtype == LINKS_DTYPE else link.dtype.str for link in links]
        return pa.StructArray.from_arrays([*lists, pa.array(dtypes, pa.string())], fields=self._fields)

    def decode(self, column: pa.Array) -> list[Any]:
        """GraphInstances."""
        lists = {name: self._batches(name, column.field(name)) for name in self._parts}
        edges = lists.get("edges", [None] * len(column))
        dtypes = column.field("edge_links_dtype").to_pylist()
        links = [
            None if link is None else link.astype(dtype or LINKS_DTYPE, copy=False)
            for link, dtype in zip(lists["edge_links"], dtypes, strict=True)
        ]
        return [GraphInstance(*parts) for parts in zip(lists["nodes"], edges, links, strict=True)]

    def _batches(self, name: str, column: pa.Array) -> list[Any]:
        part = self._parts[name]
        elements, bounds = _elements(column)
        batch = part.to_batch(elements, writable=True)
        return [
            part.slice_batch(batch, start, stop) if is_valid else None
            for (start, stop), is_valid in zip(bounds, validity(column), strict=True)
        ]

    def _check(self, value: Any) -> None:
        if not isinstance(value, (tuple, list)) or len(value) != 3:
            raise self.mismatch(
                "a GraphInstance (nodes, edges, edge_links)", f"a {type(value).__qualname__}: {value!r:.60}"
            )
        if value[0] is None:
            raise self.mismatch("a GraphInstance with nodes", "nodes=None")
        if value[1] is not None and "edges" not in self._parts:
            raise self.mismatch("edges=None, because the space has no edge space", f"edges={value[1]!r:.60}")

    def _as_links(self, value: Any) -> np.ndarray:
        links = np.asarray(value)
        if links.dtype.kind not in "iu" and links.size:
            raise self.mismatch("edge_links of integers", f"{links.dtype}{list(links.shape)}")
        # The check of shape and range is that of a column of pairs; the dtype is kept beside it.
        pairs = exact_array(links, self._links.dtype, (len(links) if links.ndim else 0, 2), (*self.path, "edge_links"))
        return links if links.dtype.kind in "iu" else pairs


def _lists_of_batches(part: Node, batches: Sequence[Any], list_type: pa.DataType) -> pa.Array:
    """A list for each batch; null where it is None."""
    lengths = [0 if batch is None else _length(part, batch) for batch in batches]
    valid = np.array([batch is not None for batch in batches], bool)
    present = [(batch, n) for batch, n in zip(batches, lengths, strict=True) if batch is not None]
    elements = part.from_batches([batch for batch, _ in present], [n for _, n in present])
    return _lists(list_type, elements, lengths, None if valid.all() else valid)


def _length(part: Node, batch: Any) -> int:
    length = part.batch_length(batch)
    if length is not None:
        return length
    if part.leaves == ():
        return 0  # a batch of empty Dicts or Tuples does not say how many; it looks the same for every number
    raise part.mismatch("a batch", f"a {type(batch).__qualname__}: {batch!r:.60}")


def _lists(
    list_type: pa.DataType,
    elements: pa.Array,
    lengths: Sequence[int],
    valid: np.ndarray | None = None,
) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] > LARGEST_COLUMN_BYTES:
        raise SchemaMismatch(f"{offsets[-1]} elements are more than one Arrow list holds. Encode fewer rows at a time.")
    nulls = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [nulls, pa.py_buffer(offsets.astype(np.int32))]
    return pa.Array.from_buffers(list_type, len(lengths), buffers, children=[elements])


def _elements(column: pa.Array) -> tuple[pa.Array, list[tuple[int, int]]]:
    """The elements of all lists of a column in one, and where in it each list starts and stops."""
    offsets = column.offsets.to_numpy()
    elements = column.values.slice(offsets[0], offsets[-1] - offsets[0])
    inner = (offsets - offsets[0]).tolist()
    return elements, list(pairwise(inner))
