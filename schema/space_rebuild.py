"""The descriptor of a space -> the space. What a descriptor is stands in `space_descriptor`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from .errors import SchemaError, UnsupportedSpace
from .space_descriptor import Descriptor, derived_bounded
from .space_keys import key_from_json
from .space_numbers import array_from_json, dtype_from_json, number_from_json


def space_from_descriptor(descriptor: Descriptor) -> gym.Space[Any]:
    """The space of a descriptor, equal (`==`) to the one described, with an unseeded random state.

    Raises:
        UnsupportedSpace: a type or dtype that this version or machine does not have.
        SchemaError: not a descriptor.
    """
    if not isinstance(descriptor, dict):
        raise SchemaError(f"Expected a space descriptor (a dict with a 'type'), found {descriptor!r}.")
    build = _BUILDERS.get(descriptor.get("type", ""))
    if build is None:
        raise UnsupportedSpace(
            f"Unknown space type {descriptor.get('type')!r}; this version knows {', '.join(_BUILDERS)}. "
            "A recording of a newer Rolltape needs that version to be read."
        )
    try:
        return build(descriptor)
    except KeyError as error:
        raise SchemaError(f"A descriptor of {descriptor['type']} lacks {error}.") from error


def _build_box(descriptor: Descriptor) -> spaces.Box:
    dtype, shape = dtype_from_json(descriptor["dtype"]), tuple(descriptor["shape"])
    low, high = (array_from_json(descriptor[bound], dtype, shape) for bound in ("low", "high"))
    # The constructor refuses NaN and turns infinite bounds of integers into finite ones: set them afterwards.
    box = spaces.Box(low=0, high=0, shape=shape, dtype=dtype)
    box.low, box.high = low, high
    box.bounded_below, box.bounded_above = derived_bounded(low, high)
    for key in ("bounded_below", "bounded_above"):
        if key in descriptor:
            setattr(box, key, array_from_json(descriptor[key], np.dtype(bool), shape))
    return box


def _build_discrete(descriptor: Descriptor) -> spaces.Discrete:
    n, start = (int(number_from_json(descriptor[key], "i")) for key in ("n", "start"))
    return spaces.Discrete(n, start=start, dtype=dtype_from_json(descriptor["dtype"]))


def _build_multi_binary(descriptor: Descriptor) -> spaces.MultiBinary:
    return spaces.MultiBinary(descriptor["n"])


def _build_multi_discrete(descriptor: Descriptor) -> spaces.MultiDiscrete:
    dtype, shape = dtype_from_json(descriptor["dtype"]), tuple(descriptor["shape"])
    nvec, start = (array_from_json(descriptor[key], dtype, shape) for key in ("nvec", "start"))
    return spaces.MultiDiscrete(nvec, dtype=dtype, start=start)


def _build_text(descriptor: Descriptor) -> spaces.Text:
    shortest, longest = (int(number_from_json(descriptor[key], "i")) for key in ("min_length", "max_length"))
    return spaces.Text(longest, min_length=shortest, charset=descriptor["charset"])


def _build_dict(descriptor: Descriptor) -> spaces.Dict:
    # Gymnasium declares string keys and takes any.
    parts: Any = OrderedDict((key_from_json(key), space_from_descriptor(part)) for key, part in descriptor["spaces"])
    return spaces.Dict(parts, sort_keys=descriptor.get("sort_keys", True))


def _build_tuple(descriptor: Descriptor) -> spaces.Tuple:
    return spaces.Tuple([space_from_descriptor(part) for part in descriptor["spaces"]])


def _build_one_of(descriptor: Descriptor) -> spaces.OneOf:
    return spaces.OneOf([space_from_descriptor(part) for part in descriptor["spaces"]])


def _build_sequence(descriptor: Descriptor) -> spaces.Sequence:
    return spaces.Sequence(space_from_descriptor(descriptor["space"]), stack=descriptor["stack"])


def _build_graph(descriptor: Descriptor) -> spaces.Graph:
    edges = descriptor["edge_space"]
    nodes = space_from_descriptor(descriptor["node_space"])
    return spaces.Graph(nodes, None if edges is None else space_from_descriptor(edges))


_BUILDERS: dict[str, Callable[[Descriptor], gym.Space[Any]]] = {
    "Box": _build_box,
    "Discrete": _build_discrete,
    "MultiBinary": _build_multi_binary,
    "MultiDiscrete": _build_multi_discrete,
    "Text": _build_text,
    "Dict": _build_dict,
    "Tuple": _build_tuple,
    "OneOf": _build_one_of,
    "Sequence": _build_sequence,
    "Graph": _build_graph,
}
