"""A space's descriptor -> the tree of nodes that encode and decode its values."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import SchemaError, UnsupportedSpace
from .space_array import ArrayNode
from .space_descriptor import Descriptor
from .space_keys import key_from_json
from .space_list import GraphNode, SequenceNode
from .space_node import FixedNode, Node
from .space_numbers import dtype_from_json
from .space_one_of import OneOfNode
from .space_paths import Path
from .space_struct import FixedStructNode, StructNode
from .space_text import TextNode


def build_node(descriptor: Descriptor, path: Path) -> Node:
    """The node of a descriptor.

    Args:
        descriptor: as `describe_space` gives it.
        path: where the space lies.

    Raises:
        UnsupportedSpace: a type or dtype that this version or machine does not have.
        SchemaError: not a descriptor.
    """
    try:
        return _build(descriptor, path)
    except (KeyError, TypeError) as error:
        raise SchemaError(f"Not a space descriptor: {descriptor!r:.200} ({error!r}).") from error


def _build(descriptor: Descriptor, path: Path) -> Node:
    match descriptor["type"]:
        case "Box":
            return ArrayNode(path, dtype_from_json(descriptor["dtype"]), tuple(descriptor["shape"]))
        case "Discrete":
            return ArrayNode(path, dtype_from_json(descriptor["dtype"]), (), scalar=True)
        case "MultiDiscrete":
            return ArrayNode(path, dtype_from_json(descriptor["dtype"]), tuple(descriptor["shape"]), scalar=True)
        case "MultiBinary":
            n = descriptor["n"]
            return ArrayNode(path, np.dtype(np.int8), (n,) if isinstance(n, int) else tuple(n))
        case "Text":
            return TextNode(path, descriptor["charset"])
        case "Dict":
            keys = [key_from_json(key) for key, _ in descriptor["spaces"]]
            return _struct([part for _, part in descriptor["spaces"]], keys, path, is_dict=True)
        case "Tuple":
            return _struct(descriptor["spaces"], range(len(descriptor["spaces"])), path, is_dict=False)
        case "Sequence":
            return SequenceNode(path, _build(descriptor["space"], (*path, ...)), stack=descriptor["stack"])
        case "Graph":
            edge = descriptor["edge_space"]
            edges = None if edge is None else _build(edge, (*path, "edges", ...))
            return GraphNode(path, _build(descriptor["node_space"], (*path, "nodes", ...)), edges)
        case "OneOf":
            return OneOfNode(path, [_build(part, (*path, i)) for i, part in enumerate(descriptor["spaces"])])
        case unknown:
            raise UnsupportedSpace(f"Unknown space type {unknown!r}. A newer Rolltape may have written it.")


def _struct(spaces: list[Descriptor], keys: Any, path: Path, *, is_dict: bool) -> Node:
    parts = [_build(part, (*path, key)) for key, part in zip(keys, spaces, strict=True)]
    fixed = [part for part in parts if isinstance(part, FixedNode)]
    if len(fixed) == len(parts):
        return FixedStructNode(path, tuple(keys), fixed, is_dict=is_dict)
    return StructNode(path, tuple(keys), parts, is_dict=is_dict)
