"""Equality as a recording needs it: the same types, dtypes, shapes and bits, also of NaN, -0.0 and key
order."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces


def assert_same(found: Any, expected: Any, at: str = "value") -> None:
    """Two values of a space are the same in everything that a user can see."""
    assert type(found) is type(expected), f"{at}: {type(found)} is not {type(expected)}"
    if isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype, f"{at}: {found.dtype} is not {expected.dtype}"
        assert found.shape == expected.shape, f"{at}: shape {found.shape} is not {expected.shape}"
        assert _bits(found) == _bits(expected), f"{at}: {found!r} is not {expected!r}"
    elif isinstance(expected, dict):
        assert list(found) == list(expected), f"{at}: keys {list(found)} are not {list(expected)}"
        for key in expected:
            assert_same(found[key], expected[key], f"{at}[{key!r}]")
    elif isinstance(expected, (tuple, list)):
        assert len(found) == len(expected), f"{at}: {len(found)} items are not {len(expected)}"
        for i, (left, right) in enumerate(zip(found, expected, strict=True)):
            assert_same(left, right, f"{at}[{i}]")
    else:
        assert found == expected, f"{at}: {found!r} is not {expected!r}"


def assert_same_space(found: Any, expected: Any, at: str = "space") -> None:
    """Two spaces are the same also where `==` does not look: bits of bounds, boundedness, order of keys."""
    assert type(found) is type(expected), f"{at}: {type(found)} is not {type(expected)}"
    assert found.shape == expected.shape and found.dtype == expected.dtype, at
    match expected:
        case spaces.Box():
            for name in ("low", "high", "bounded_below", "bounded_above"):
                left, right = (np.asarray(getattr(space, name)) for space in (found, expected))
                assert_same(left, right, f"{at}.{name}")
        case spaces.MultiDiscrete():
            assert_same(found.nvec, expected.nvec, f"{at}.nvec")
            assert_same(found.start, expected.start, f"{at}.start")
        case spaces.Text():
            assert found == expected, at
            assert found.character_list == expected.character_list, f"{at}: order of characters"
        case spaces.Dict():
            assert list(found.spaces) == list(expected.spaces), f"{at}: keys"
            assert found.sort_keys == expected.sort_keys, f"{at}.sort_keys"
            for key in expected.spaces:
                assert_same_space(found.spaces[key], expected.spaces[key], f"{at}[{key!r}]")
        case spaces.Tuple() | spaces.OneOf():
            assert len(found.spaces) == len(expected.spaces), at
            for i, (left, right) in enumerate(zip(found.spaces, expected.spaces, strict=True)):
                assert_same_space(left, right, f"{at}[{i}]")
        case spaces.Sequence():
            assert found.stack == expected.stack, f"{at}.stack"
            assert_same_space(found.feature_space, expected.feature_space, f"{at}[…]")
        case spaces.Graph():
            assert_same_space(found.node_space, expected.node_space, f"{at}.nodes")
            assert (found.edge_space is None) == (expected.edge_space is None), f"{at}.edges"
            if expected.edge_space is not None:
                assert_same_space(found.edge_space, expected.edge_space, f"{at}.edges")
        case _:
            assert found == expected, at


def _bits(value: np.ndarray | np.generic) -> bytes:
    if value.dtype == np.longdouble:
        # Six of its sixteen bytes are padding: compare the numbers and their signs.
        return repr((value.tolist(), np.signbit(value).tolist())).encode() if value.size else b""
    return np.ascontiguousarray(value).tobytes()
