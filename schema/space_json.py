"""Plain JSON values, as a program without Rolltape wrote them, -> values of a space.

Rules:
1. A number is read as the nearest one that the space's dtype has: `0.1` of a float32 is what a float32 was printed as.
   An integer space takes whole numbers only.
2. Dict is an object by the text of its keys, Tuple and MultiDiscrete and Box are arrays, Sequence an array of any
   length, Graph an object of `nodes`, `edges`, `edge_links`, OneOf an array of the choice and its value.
3. Bounds are not looked at. What has not the form of the space raises SchemaMismatch with the path to it.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from .errors import SchemaMismatch
from .space_paths import Path, show_path


def value_from_json(space: gym.Space[Any], value: Any) -> Any:
    """The value of `space` that a JSON value stands for.

    Args:
        space: a space of Gymnasium.
        value: what `json.loads` gave.

    Raises:
        SchemaMismatch: it has not the form of the space; the message has path, expected and found.
    """
    return _value(space, value, ())


def _value(space: gym.Space[Any], value: Any, path: Path) -> Any:
    match space:
        case spaces.Dict():
            given = _of(dict, value, "an object", path)
            missing = [key for key in space.spaces if str(key) not in given]
            if missing or len(given) != len(space.spaces):
                raise _unfit(path, f"an object with the keys {', '.join(map(str, space.spaces))}", sorted(given))
            return {key: _value(part, given[str(key)], (*path, key)) for key, part in space.spaces.items()}
        case spaces.Tuple():
            items = _of(list, value, f"an array of {len(space.spaces)}", path)
            if len(items) != len(space.spaces):
                raise _unfit(path, f"an array of {len(space.spaces)}", items)
            return tuple(
                _value(part, item, (*path, i)) for i, (part, item) in enumerate(zip(space.spaces, items, strict=True))
            )
        case spaces.Text():
            return _of(str, value, "a text", path)
        case spaces.Sequence():
            items = [
                _value(space.feature_space, v, (*path, i)) for i, v in enumerate(_of(list, value, "an array", path))
            ]
            return (
                gym.vector.utils.concatenate(  # type: ignore[no-any-return]
                    space.feature_space, items, gym.vector.utils.create_empty_array(space.feature_space, len(items))
                )
                if space.stack
                else tuple(items)
            )
        case spaces.Graph():
            return _graph(space, _of(dict, value, "an object", path), path)
        case spaces.OneOf():
            items = _of(list, value, "an array of a choice and its value", path)
            if len(items) != 2 or type(items[0]) is not int or not 0 <= items[0] < len(space.spaces):
                raise _unfit(path, f"a choice below {len(space.spaces)} and its value", value)
            return np.int64(items[0]), _value(space.spaces[items[0]], items[1], (*path, items[0]))
        case spaces.Discrete():
            return _numbers(value, np.dtype(space.dtype), (), path)[()]
        case _:
            return _numbers(value, np.dtype(space.dtype), tuple(space.shape or ()), path)


def _graph(space: spaces.Graph, given: dict[str, Any], path: Path) -> spaces.GraphInstance:
    nodes = _rows(space.node_space, given.get("nodes"), (*path, "nodes"))
    edges = links = None
    if space.edge_space is not None and given.get("edges") is not None:
        edges = _rows(space.edge_space, given["edges"], (*path, "edges"))
        links = _numbers(given.get("edge_links"), np.dtype(np.int32), (len(edges), 2), (*path, "edge_links"))
    return spaces.GraphInstance(nodes, edges, links)


def _rows(space: gym.Space[Any], value: Any, path: Path) -> np.ndarray:
    items = _of(list, value, "an array", path)
    shape = (len(items), *(space.shape or ()))
    return np.zeros(shape, space.dtype) if not items else _numbers(items, np.dtype(space.dtype), shape, path)


def _numbers(value: Any, dtype: np.dtype, shape: tuple[int, ...], path: Path) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        raise _unfit(path, f"{dtype}{list(shape)}", value) from None
    if 0 in shape and array.size == 0:
        array = np.zeros(shape, dtype)
    if array.dtype.kind not in "biuf" or array.shape != shape:
        raise _unfit(path, f"{dtype}{list(shape)}", value)
    if array.dtype == dtype:
        return array
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        whole = array.astype(dtype)
    if not (whole == array).all():
        raise _unfit(path, f"{dtype}{list(shape)}", value)
    return whole


def _of(kind: type, value: Any, expected: str, path: Path) -> Any:
    if type(value) is not kind:
        raise _unfit(path, expected, value)
    return value


def _unfit(path: Path, expected: str, found: Any) -> SchemaMismatch:
    text = repr(found)
    return SchemaMismatch(
        f"{show_path(path)}: expected {expected}, found {text if len(text) <= 60 else text[:57] + '…'}."
    )
