"""A Gymnasium space <-> its descriptor: plain JSON values, the same for the same space on every machine.

```
{"type": "Box", "dtype": "float32", "shape": [2], "low": [-4.5, "-inf"], "high": "inf"}
{"type": "Discrete", "dtype": "int64", "n": 4, "start": 0}
{"type": "MultiBinary", "n": 3}                     or a list: MultiBinary(3) is not equal to MultiBinary([3])
{"type": "MultiDiscrete", "dtype": "int64", "shape": [2], "nvec": [5, 2], "start": 0}
{"type": "Text", "min_length": 1, "max_length": 8, "charset": "abc"}
{"type": "Dict", "spaces": [["position", {…}], [{"int": 3}, {…}]]}      and "sort_keys": false where it is so
{"type": "Tuple" | "OneOf", "spaces": [{…}, …]}
{"type": "Sequence", "space": {…}, "stack": false}
{"type": "Graph", "node_space": {…}, "edge_space": {…} | null}
```
Numbers and arrays are written by the rules of `space_numbers`. The order of a Dict is Gymnasium's: a plain
dict is sorted, an OrderedDict or a list of pairs keeps its own. A Box of integers that was given infinite
bounds says so in `bounded_below` / `bounded_above`, because its `low` and `high` are then those of the dtype.
A subclass is described as the space that it derives from; for a space of one's own see `space_stand_in`.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from .errors import UnsupportedSpace
from .space_keys import key_to_json
from .space_numbers import array_to_json, dtype_to_json, number_to_json
from .space_paths import Path, show_path
from .space_stand_in import stand_in

Descriptor: TypeAlias = dict[str, Any]


def describe_space(space: gym.Space[Any]) -> Descriptor:
    """The descriptor of a space: dicts, lists, strings, finite numbers, booleans and None, ready for
    `json.dumps`.

    Raises:
        UnsupportedSpace: the space, or one inside it, is not of Gymnasium and has no substitute; or a Dict
            has a key that is not made of str, bytes, int, float, bool, None and tuples. The message names the
            path.
    """
    return _describe_at(space, ())


def _describe_at(space: Any, path: Path) -> Descriptor:
    known = stand_in(space)
    described = _describe(known, path)
    if known is not space:
        described["stands_for"] = f"{type(space).__module__}.{type(space).__qualname__}"
    return described


@singledispatch
def _describe(space: Any, path: Path) -> Descriptor:
    if isinstance(space, gym.Space):
        raise UnsupportedSpace(
            f"{show_path(path)} is a {type(space).__module__}.{type(space).__qualname__}, which is not a "
            "space of Gymnasium. Name one that stands for it: substitute_space(class, function)."
        )
    raise UnsupportedSpace(f"{show_path(path)}: expected a gymnasium.Space, found {space!r}.")


@_describe.register
def _(space: spaces.Box, path: Path) -> Descriptor:
    described = {
        "type": "Box",
        "dtype": dtype_to_json(space.dtype),
        "shape": list(space.shape),
        "low": array_to_json(space.low),
        "high": array_to_json(space.high),
    }
    bounded = {"bounded_below": space.bounded_below, "bounded_above": space.bounded_above}
    derived = dict(zip(bounded, derived_bounded(space.low, space.high), strict=True))
    for key, mask in bounded.items():
        if not np.array_equal(mask, derived[key]):
            described[key] = array_to_json(mask)
    return described


@_describe.register
def _(space: spaces.Discrete, path: Path) -> Descriptor:
    n, start = number_to_json(int(space.n)), number_to_json(int(space.start))
    return {"type": "Discrete", "dtype": dtype_to_json(space.dtype), "n": n, "start": start}


@_describe.register
def _(space: spaces.MultiBinary, path: Path) -> Descriptor:
    return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}


@_describe.register
def _(space: spaces.MultiDiscrete, path: Path) -> Descriptor:
    return {
        "type": "MultiDiscrete",
        "dtype": dtype_to_json(space.dtype),
        "shape": list(space.shape),
        "nvec": array_to_json(space.nvec),
        "start": array_to_json(space.start),
    }


@_describe.register
def _(space: spaces.Text, path: Path) -> Descriptor:
    return {
        "type": "Text",
        "min_length": number_to_json(space.min_length),
        "max_length": number_to_json(space.max_length),
        "charset": "".join(space.character_list),
    }


@_describe.register
def _(space: spaces.Dict, path: Path) -> Descriptor:
    pairs = [[key_to_json(key, path), _describe_at(part, (*path, key))] for key, part in space.spaces.items()]
    return {"type": "Dict", "spaces": pairs} | ({} if space.sort_keys else {"sort_keys": False})


@_describe.register
def _(space: spaces.Tuple, path: Path) -> Descriptor:
    return {
        "type": "Tuple",
        "spaces": [_describe_at(part, (*path, i)) for i, part in enumerate(space.spaces)],
    }


@_describe.register
def _(space: spaces.OneOf, path: Path) -> Descriptor:
    return {
        "type": "OneOf",
        "spaces": [_describe_at(part, (*path, i)) for i, part in enumerate(space.spaces)],
    }


@_describe.register
def _(space: spaces.Sequence, path: Path) -> Descriptor:
    inner = _describe_at(space.feature_space, (*path, ...))
    return {"type": "Sequence", "space": inner, "stack": bool(space.stack)}


@_describe.register
def _(space: spaces.Graph, path: Path) -> Descriptor:
    edges = None if space.edge_space is None else _describe_at(space.edge_space, (*path, "edges", ...))
    return {
        "type": "Graph",
        "node_space": _describe_at(space.node_space, (*path, "nodes", ...)),
        "edge_space": edges,
    }


def derived_bounded(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What Gymnasium derives from finite and infinite bounds: `bounded_below` and `bounded_above`."""
    return np.asarray(-np.inf < low), np.asarray(high < np.inf)
