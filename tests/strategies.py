"""Hypothesis strategies for Gymnasium spaces, nested at will, and for values and batches of them.

`spaces()` and `fixed_spaces()` draw a space; `values(space)` a value as an environment may return it: any
bits that the dtype can hold, not only those inside the bounds, because environments leave them; so NaN with
payloads, infinities, -0.0, empty sequences, graphs without edges, texts of all lengths.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces as gs
from hypothesis import strategies as st

INTEGERS = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = [np.dtype(f"float{bits}") for bits in (16, 32, 64)]
DTYPES = [*INTEGERS, *FLOATS, np.dtype(bool), np.dtype(np.longdouble), np.dtype(">f4"), np.dtype(">i2")]

SHAPES = st.one_of(
    st.just(()),
    st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple),
    st.sampled_from([(70,), (4099,)]),
)
KEYS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["a", "A", "a.b", "", "_empty", "naïve", "1", "tag"]),
    st.integers(),
    st.booleans(),
    st.none(),
    st.binary(max_size=3),
    st.floats(allow_nan=False),
    st.tuples(st.text(max_size=2), st.integers(0, 9)),
)


@cache
def bits(dtype: np.dtype, shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Arrays with any bits that the dtype can hold."""
    size = math.prod(shape)
    if dtype.kind == "b":
        few = st.lists(st.booleans(), min_size=min(size, 8), max_size=min(size, 8))
    elif dtype == np.longdouble:
        few = st.lists(st.floats(), min_size=min(size, 8), max_size=min(size, 8))
    else:
        nbytes = min(size, 8) * dtype.itemsize
        few = st.binary(min_size=nbytes, max_size=nbytes).map(lambda raw: np.frombuffer(raw, dtype))
    # Large arrays repeat a few numbers: Hypothesis need not invent thousands.
    return few.map(lambda numbers: np.resize(np.array(numbers, dtype), shape).astype(dtype))


@st.composite
def boxes(draw: st.DrawFn) -> gs.Box:
    """Boxes of every dtype and shape, uniform bounds or not, finite or not."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(SHAPES)
    if draw(st.booleans()):
        ends = draw(bits(dtype, (2,)))
        low, high = np.full(shape, ends.min(), dtype), np.full(shape, ends.max(), dtype)
    else:
        ends = draw(bits(dtype, (2, *shape)))
        low, high = (np.asarray(end(*ends), dtype) for end in (np.minimum, np.maximum))
    if dtype.kind == "f":
        nan = np.isnan(low) | np.isnan(high)
        low[nan], high[nan] = -np.inf, np.inf
    box = gs.Box(low, high, shape, dtype)
    if dtype.kind == "i" and draw(st.booleans()):
        box = gs.Box(-np.inf, np.inf, shape, dtype)
    return box


@st.composite
def discretes(draw: st.DrawFn) -> gs.Discrete:
    """Discrete of every integer dtype, with every start."""
    dtype = draw(st.sampled_from(INTEGERS))
    limits = np.iinfo(dtype)
    start = draw(st.integers(int(limits.min), int(limits.max)))
    return gs.Discrete(draw(st.integers(1, int(limits.max))), start=start, dtype=dtype.type)


@st.composite
def multi_discretes(draw: st.DrawFn) -> gs.MultiDiscrete:
    """MultiDiscrete of every integer dtype, with any number of axes."""
    dtype, shape = draw(st.sampled_from(INTEGERS)), draw(SHAPES)
    limit = int(np.iinfo(dtype).max) // 2
    nvec = np.full(shape, draw(st.integers(1, limit)), dtype)
    if nvec.size:
        nvec.reshape(-1)[0] = draw(st.integers(1, limit))
    # The largest element has to fit as well: Gymnasium computes it when it makes batches.
    start = np.minimum(draw(bits(dtype, shape)), dtype.type(limit))
    return gs.MultiDiscrete(nvec, dtype=dtype.type, start=start)


MULTI_BINARIES = st.one_of(
    st.integers(1, 9).map(gs.MultiBinary),
    st.lists(st.integers(1, 3), min_size=1, max_size=3).map(gs.MultiBinary),
)
CHARSETS = st.one_of(
    st.just("abc"),
    st.frozensets(st.characters(), min_size=1, max_size=9),
    st.text(st.characters(), min_size=1),
)


@st.composite
def texts(draw: st.DrawFn) -> gs.Text:
    """Text of every character set (surrogates too) and length."""
    shortest = draw(st.integers(0, 5))
    longest = shortest + draw(st.integers(0, 20))
    return gs.Text(longest, min_length=shortest, charset=draw(CHARSETS))


@cache
def arrays() -> st.SearchStrategy[gym.Space[Any]]:
    """Spaces of one array."""
    return st.one_of(boxes(), discretes(), multi_discretes(), MULTI_BINARIES)


def _dicts(inner: st.SearchStrategy[gym.Space[Any]]) -> st.SearchStrategy[gym.Space[Any]]:
    pairs = st.lists(st.tuples(KEYS, inner), max_size=4, unique_by=lambda pair: pair[0])
    plain = st.dictionaries(st.text(max_size=3), inner, max_size=3)
    return st.one_of(
        pairs.map(lambda items: gs.Dict(OrderedDict(items))),
        plain.map(gs.Dict),
        plain.map(lambda items: gs.Dict(items, sort_keys=False)),
    )


def _tuples(inner: st.SearchStrategy[gym.Space[Any]]) -> st.SearchStrategy[gym.Space[Any]]:
    return st.lists(inner, max_size=4).map(gs.Tuple)


@cache
def fixed_spaces(max_leaves: int = 6) -> st.SearchStrategy[gym.Space[Any]]:
    """Spaces whose every value is the same set of arrays, and empty ones."""
    return st.recursive(arrays(), lambda inner: st.one_of(_dicts(inner), _tuples(inner)), max_leaves=max_leaves)


@cache
def spaces(max_leaves: int = 6) -> st.SearchStrategy[gym.Space[Any]]:
    """Every space of Gymnasium, nested at will."""

    def grow(inner: st.SearchStrategy[gym.Space[Any]]) -> st.SearchStrategy[gym.Space[Any]]:
        return st.one_of(
            _dicts(inner),
            _tuples(inner),
            st.tuples(inner, st.booleans()).map(lambda made: gs.Sequence(made[0], stack=made[1])),
            st.tuples(inner, st.none() | inner).map(lambda made: gs.Graph(*made)),
            st.lists(inner, min_size=1, max_size=4).map(gs.OneOf),
        )

    return st.recursive(arrays() | texts(), grow, max_leaves=max_leaves)


def values(space: gym.Space[Any]) -> st.SearchStrategy[Any]:
    """Values of a space, of the types that it samples; not kept inside the bounds."""
    match space:
        case gs.Discrete():
            return bits(space.dtype, ()).map(lambda array: array[()])
        case gs.MultiDiscrete() if space.shape == ():
            return bits(space.dtype, ()).map(lambda array: array[()])
        case gs.Box() | gs.MultiBinary() | gs.MultiDiscrete():
            return bits(space.dtype, space.shape)
        case gs.Text():
            return st.text(st.sampled_from(space.character_list), min_size=space.min_length, max_size=space.max_length)
        case gs.Dict():
            return st.tuples(*map(values, space.spaces.values())).map(
                lambda made: dict(zip(space.spaces, made, strict=True))
            )
        case gs.Tuple():
            return st.tuples(*map(values, space.spaces))
        case gs.Sequence() if space.stack:
            return st.integers(0, 3).flatmap(lambda n: batches(space.feature_space, n))
        case gs.Sequence():
            return st.lists(values(space.feature_space), max_size=3).map(tuple)
        case gs.Graph():
            return _graphs(space)
        case gs.OneOf():
            numbered = [st.tuples(st.just(np.int64(i)), values(part)) for i, part in enumerate(space.spaces)]
            return st.one_of(numbered)
    raise TypeError(f"no strategy for {space!r}")


def batches(space: Any, n: int) -> st.SearchStrategy[Any]:
    """n values in the form that Gymnasium's vector environments give them."""
    match space:
        case gs.Discrete():
            return bits(space.dtype, (n,))
        case gs.Box() | gs.MultiBinary() | gs.MultiDiscrete():
            return bits(space.dtype, (n, *space.shape))
        case gs.Dict():
            parts = [batches(part, n) for part in space.spaces.values()]
            return st.tuples(*parts).map(lambda made: dict(zip(space.spaces, made, strict=True)))
        case gs.Tuple():
            return st.tuples(*(batches(part, n) for part in space.spaces))
    return st.tuples(*(values(space) for _ in range(n)))


@st.composite
def _graphs(draw: st.DrawFn, space: gs.Graph) -> gs.GraphInstance:
    nodes = draw(batches(space.node_space, draw(st.integers(0, 3))))
    if draw(st.booleans()):
        return gs.GraphInstance(nodes, None, None)
    n = draw(st.integers(0, 3))
    edges = None if space.edge_space is None else draw(batches(space.edge_space, n))
    links = draw(bits(draw(st.sampled_from([np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.uint8)])), (n, 2)))
    return gs.GraphInstance(nodes, edges, links)


INFO_KEYS = st.one_of(st.text(), st.sampled_from(["$float", "$array", "$bytes", "$tuple", "$dict", "$repr", "$", ""]))
INFO_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(exclude_categories=())),
        st.binary(max_size=4),
        st.builds(np.float32, st.floats(width=32, allow_nan=False)),
        st.builds(lambda n, shape: np.full(shape, n, ">i2"), st.integers(0, 9), st.sampled_from([(), (0, 2), (2, 1)])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(INFO_KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)
"""What may lie in an info: everything that its JSON has a form for."""
