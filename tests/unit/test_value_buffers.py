"""Values in lists: copied, checked when they come, and a column of the same bits when a fragment closes."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.value_buffers import ArrayBuffer, IntegerBuffer, LeafBuffers, ObjectBuffer, value_buffer
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.space_codec import SpaceCodec
from tests import strategies
from tests.examples import examples
from tests.sameness import assert_same


@st.composite
def space_and_values(draw: st.DrawFn) -> tuple[gym.Space[Any], list[Any], list[int]]:
    space = draw(strategies.spaces())
    values = draw(st.lists(strategies.values(space), min_size=1, max_size=5))
    return space, values, sorted(draw(st.lists(st.integers(0, len(values)), max_size=2)))


@examples(30)
@given(space_and_values())
def test_columns_are_what_came_wherever_they_are_cut(example: tuple[gym.Space[Any], list[Any], list[int]]) -> None:
    space, values, cuts = example
    codec = SpaceCodec(space)
    columns, taken = [], 0
    for cut in [*cuts, len(values)]:
        buffer = value_buffer(codec, 5)
        for row, value in enumerate(values[taken:cut]):
            given = copy.deepcopy(value)
            buffer.put(row, given)
            spoil(given)
        columns.append(buffer.take(cut - taken))
        taken = cut
    assert_same([value for column in columns for value in codec.decode(column)], values)


def spoil(value: Any) -> None:
    """What an environment may do with what it returned."""
    if isinstance(value, dict):
        for item in value.values():
            spoil(item)
    elif isinstance(value, tuple):
        for item in value:
            spoil(item)
    elif isinstance(value, np.ndarray) and value.flags.writeable:
        value[...] = 1


@pytest.mark.parametrize(
    ("space", "kind", "good", "bad"),
    [
        (
            gs.Discrete(3),
            IntegerBuffer,
            [1, np.int64(2), np.array(0), np.array([1]), 2.0, True],
            [0.5, "x", None, 2**63],
        ),
        (gs.Discrete(3, dtype=np.uint8), IntegerBuffer, [1, np.uint8(2)], [256, -1, np.int64(300), np.array([1, 2])]),
        (gs.Box(-1, 1, (2,)), ArrayBuffer, [np.zeros(2, np.float32), [1, 2]], [np.zeros(3, np.float32), 1, [0.1, 0.1]]),
        (gs.Box(-1, 1, (2, 3)), ArrayBuffer, [np.zeros((2, 3), "f4")], [np.zeros((3, 2), "f4"), np.zeros(6, "f4")]),
        (gs.Dict(a=gs.Discrete(2)), LeafBuffers, [{"a": 1}], [{}, {"a": 1, "b": 2}, {"a": 0.5}]),
        (gs.Text(3), ObjectBuffer, ["ab"], [3, None]),
        (gs.Sequence(gs.Discrete(2)), ObjectBuffer, [(1, 0), ()], [("x",), 1]),
    ],
)
def test_what_does_not_fit_is_found_when_it_comes(space: Any, kind: type, good: list[Any], bad: list[Any]) -> None:
    codec = SpaceCodec(space)
    values = value_buffer(codec, len(good) + 1)
    assert type(values) is kind
    for row, value in enumerate(good):
        values.put(row, value)
    for value in bad:
        with pytest.raises(SchemaMismatch):
            values.put(len(good), value)
    column = values.take(len(good))
    column.validate(full=True)
    assert len(column) == len(good)


@pytest.mark.parametrize("space", [gs.Discrete(9), gs.Box(0, 9, (2,), np.int64), gs.Dict(a=gs.Discrete(9)), gs.Text(9)])
def test_values_can_be_kept_moved_and_replaced(space: Any) -> None:
    space.seed(0)
    codec = SpaceCodec(space)
    values, others = value_buffer(codec, 4), value_buffer(codec, 4)
    given = [space.sample() for _ in range(6)]
    for row, value in enumerate(given[:4]):
        values.put(row, value)
    items = [values.item(row) for row in (3, 0)]
    others.carry(values, 3)
    values.grow(6)
    values.put(2, given[4])
    values.put(3, given[5])
    assert_same(codec.decode(values.take(4)), [*given[:2], *given[4:]])
    assert_same(codec.decode(others.take(1)), given[3:4])
    assert_same(codec.decode(values.column(items)), [given[3], given[0]])
    assert len(values.column([])) == 0
    for buffer in (values, others):
        buffer.clear()
        assert buffer.nbytes == 0


def test_the_size_of_objects_is_known() -> None:
    values = value_buffer(SpaceCodec(gs.Text(100_000)), 1)
    values.put(0, "y")
    values.put(1, "x" * 50_000)
    assert 50_000 <= values.nbytes < 52_000
    values.clear(1)
    assert 0 < values.nbytes < 2_000
    values.put(0, "x" * 50_000)
    assert 50_000 <= values.nbytes < 51_000
