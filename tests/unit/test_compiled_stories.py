"""The compiled path and Python give the same fragments, whatever actions and returned values come."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors import compiled_rows
from rolltape.actors.compiled_rows import CompiledRows
from rolltape.actors.page import STEPS
from rolltape.actors.single_rows import SingleRows
from tests.examples import examples
from tests.held_rows import BOX, SHAPES, Held, Sub, value_of

pytestmark = pytest.mark.skipif(CompiledRows is None, reason=compiled_rows.WHY_NOT)

ACTIONS = {"discrete": gs.Discrete(3), "small": gs.MultiDiscrete([3, 2]), "box": BOX, "bits": gs.MultiBinary(4)}


def odd_arrays(space: gym.Space[Any]) -> st.SearchStrategy[Any]:
    """Values of a space, some in other forms, some wrong."""
    shape, dtype = space.shape, space.dtype
    assert shape is not None and dtype is not None
    array = st.integers(0, 2).map(lambda n: (np.arange(math.prod(shape)) + n).reshape(shape).astype(dtype))
    whole = st.integers(0, 2)
    forms: list[Any] = [
        array,
        array.map(lambda a: np.stack([a, a + 1], -1)[..., 0]),
        array.map(lambda a: a.astype(dtype.newbyteorder())),
        array.map(lambda a: a.astype(np.float64)),
        array.map(lambda a: a.tolist()),
        array.map(lambda a: a[None]),
        array.map(lambda a: a.view(Sub)),
        array.map(lambda a: np.asfortranarray(a)),
        whole,
        whole.map(np.int32),
        whole.map(np.int64),
        st.sampled_from([None, "x", True, 1.5, 1 << 63, -(1 << 70), np.zeros(7), np.array(1), np.float32(1)]),
    ]
    return st.one_of(*forms)


def right(space: gym.Space[Any]) -> st.SearchStrategy[Any]:
    """Values of a space as they should be."""
    shape, dtype = space.shape, space.dtype
    assert shape is not None and dtype is not None
    if shape == () and dtype.kind == "i":
        return st.integers(0, 2).map(np.int64)
    return st.integers(0, 2 if len(shape) < 3 else 40).map(lambda n: value_of(n, shape, dtype))


REWARDS = st.one_of(
    st.floats(),
    st.floats(width=32).map(np.float32),
    st.floats().map(np.float64),
    st.integers(-(1 << 60), 1 << 60),
    st.sampled_from([True, None, "1.5", 1 << 2000, np.array(1.5), np.array([2.5]), np.int64(3), np.float16(1.5)]),
)
FLAGS = st.sampled_from([False] * 12 + [np.False_, np.False_, True, np.True_, 0, 1, np.array(False), None])
NOTED: list[Any] = [{"a": 1}, {"a": 2}, {"b": 0.5, "a": -1}, {"c": True, "b": -0.0, "a": 1 << 40}]
INFOS = st.sampled_from(
    [{}] * 9
    + NOTED * 2
    + [{"a": 2, "b": [1]}, {"a": 1.5}, {"a": 1 << 63}, {"b": np.float64(2)}, {7: 1}, {"d": 3}, {"": 1}, {"a": "x"}]
    + [{str(i): i for i in range(20)}, None, "none"]
)


@st.composite
def stories(draw: st.DrawFn) -> tuple[str, str, int, int, list[Any]]:
    observation, action = draw(st.sampled_from(sorted(SHAPES))), draw(st.sampled_from(sorted(ACTIONS)))
    odd = [odd_arrays(ACTIONS[action]), odd_arrays(SHAPES[observation]), REWARDS, FLAGS, FLAGS, INFOS]
    usual = [
        right(ACTIONS[action]),
        right(SHAPES[observation]),
        st.floats(),
        st.just(False),
        st.just(False),
        st.just({}),
    ]
    usual[-1] = st.sampled_from(draw(st.sampled_from([[{}], [{}, *NOTED[:3]], NOTED[3:]])))
    steps = [st.tuples(*usual), *(st.tuples(*usual[:i], odd[i], *usual[i + 1 :]) for i in range(6))]  # one of them odd
    move = st.one_of(
        *steps, st.tuples(*odd), st.sampled_from(["reset", "cut", "raise", "prompt", "hasten", "relax", "four"])
    )
    return (
        observation,
        action,
        draw(st.sampled_from([1, 2, 4, 9, 1000])),
        draw(st.sampled_from([64 << 10, 256 << 10, 8 << 20])),
        draw(st.lists(move, min_size=10, max_size=40)),
    )


@examples(60)
@given(stories())
def test_both_ways_give_the_same_fragments(story: tuple[str, str, int, int, list[Any]]) -> None:
    observation, action, max_rows, max_bytes, moves = story
    bounds = {"max_rows": max_rows, "max_bytes": max_bytes}
    both = [Held(kind, SHAPES[observation], ACTIONS[action], **bounds) for kind in (CompiledRows, SingleRows)]  # type: ignore[arg-type]
    seen: list[list[Any]] = [[], []]
    for held, said in zip(both, seen, strict=True):
        rows = held.rows
        first = np.zeros(rows._schema.observation.leaves[0].shape, rows._schema.observation.leaves[0].dtype)
        for move in ["reset", *moves]:
            if move == "reset" or (not rows._open and not isinstance(move, str)):
                rows.reset(first, {})
            if move == "reset":
                pass
            elif move == "cut":
                held.tape.take(rows)
            elif move == "raise":
                held.returns = lambda: 1 // 0
                with pytest.raises(ZeroDivisionError):
                    held.step(0)
            elif move == "four":
                said.append(held.take(0, first, 0.0, False, False))
            elif isinstance(move, str):
                getattr(rows, move)()
            else:
                result = held.take(*move)
                said.append(result if result and isinstance(result[0], type) else "as it was")
            said.append((rows.rows, rows.steps, rows.episodes, rows.oldest_ns, rows._open, held.page.words[STEPS]))
            said.append((rows.full, rows.prompted, rows.nbytes, rows.ignored_steps, repr(rows.place(0))))
        held.end()
    assert seen[0] == seen[1]
    assert both[0].env_steps == both[1].env_steps
    assert len(both[0].tape.fragments) == len(both[1].tape.fragments)
    for one, other in zip(both[0].tape.fragments, both[1].tape.fragments, strict=True):
        assert one.keys() == other.keys()
        assert [batch.schema for batch in one.values()] == [other[name].schema for name in one]
        for name, batch in one.items():
            columns = [c for c in batch.schema.names if not c.endswith("time") or c == "time"]
            for column in columns:
                a, b = batch.column(column), other[name].column(column)
                assert repr(a.to_pylist()) == repr(b.to_pylist()), (name, column)
