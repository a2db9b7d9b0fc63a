"""The compiled path and memory: nothing leaks, and nothing is written where it must not be."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gs

from rolltape.actors import compiled_rows
from rolltape.actors.compiled_rows import CompiledRows
from rolltape.actors.page import STEPS
from rolltape.schema.errors import SchemaMismatch
from tests.held_rows import BOX, PICTURE, compiled, usual
from tests.leaks import assert_nothing_leaks

pytestmark = pytest.mark.skipif(CompiledRows is None, reason=compiled_rows.WHY_NOT)


@pytest.mark.parametrize(("space", "info"), [(BOX, {}), (PICTURE, {"a": 1 << 40, "b": 0.25})], ids=["plain", "picture"])
def test_nothing_leaks(space: Any, info: dict[str, Any]) -> None:
    held = compiled(space, gs.Discrete(1 << 40), own_clock=True, max_rows=1_000)
    held.rows.reset(np.zeros(space.shape, space.dtype), {})
    observation, action = np.ones(space.shape, space.dtype), np.int64(1 << 35)  # a small int Python keeps anyway
    result = observation, 1.0, False, False, info
    held.returns = result

    def run(steps: int) -> None:
        for _ in range(steps):
            held.step(action)

    held.tape.take = lambda rows: rows.seal().release()  # type: ignore[method-assign]
    run(5_000)
    watched = result, action, held.rows, *result, *info.values()
    assert_nothing_leaks(lambda: run(5_000), watched, least_grown_bytes=20_000)
    assert held.in_python < 100


def test_rows_and_steps_can_be_collected() -> None:
    import weakref

    held = compiled()
    gone = weakref.ref(held.rows)
    held.rows.me = held  # type: ignore[attr-defined]
    del held
    gc.collect()
    assert gone() is None


def test_arguments_that_would_write_elsewhere_are_refused() -> None:
    rows = compiled().rows
    row: Any = rows
    actions, observations = np.zeros(4, np.int64), np.zeros((5, 3), np.float32)
    rewards, times = np.zeros(4), np.zeros(4, np.int64)
    row.fill(actions, observations, rewards, times, 4)
    for place, short in enumerate((actions[:3], observations[:4], rewards[:3], times[:3])):
        columns: list[Any] = [actions, observations, rewards, times]
        columns[place] = short
        with pytest.raises(ValueError, match="bytes"):
            row.fill(*columns, 4)
    readonly = rewards.copy()
    readonly.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        row.fill(actions, observations, readonly, times, 4)
    with pytest.raises(TypeError, match="memoryview"):
        row.fill(actions.data, observations, rewards, times, 4)
    with pytest.raises(RuntimeError):
        row.expect(np.zeros(8, np.int64), STEPS, compiled_rows.NUMPY, None, *[(None, rewards.dtype, 0, 0, 8, ())] * 2)
    with pytest.raises(SchemaMismatch):
        row.reset(object(), {})


@pytest.mark.parametrize("capacity", [-1, 1 << 60, (1 << 61) + 1, sys.maxsize])
def test_a_capacity_beyond_memory_is_refused(capacity: int) -> None:
    """Rows times bytes wrapped around, and fitted."""
    row: Any = compiled().rows
    columns = np.zeros(4, np.int64), np.zeros((5, 3), np.float32), np.zeros(4), np.zeros(4, np.int64)
    with pytest.raises(ValueError, match=r"capacity|bytes"):
        row.fill(*columns, capacity)


def test_a_count_of_rows_below_zero_writes_nothing() -> None:
    held = compiled(own_clock=True)
    row: Any = held.rows
    row.reset(np.zeros(3, np.float32), {})
    held.take(0, *usual(0))
    memory = np.zeros(12, np.int64), np.zeros((12, 3), np.float32), np.zeros(12), np.zeros(12, np.int64)
    row.fill(*(column[6:] for column in memory), 4)
    row.rows = -3
    row.step_in_python = lambda *args: False
    row.step(1, *usual(1))
    assert not any(column.any() for column in memory)


ARRAY = (None, np.dtype(np.float32), 0, 0, 12, (3,))


@pytest.mark.parametrize(
    "wrong",
    [
        (None, np.dtype(np.float32), 0, 0, 24, (3,)),
        (None, np.dtype(np.float32), 0, 0, -12, (3,)),
        (None, np.dtype(np.float32), 0, 0, 4, (0,)),
        (None, np.dtype(np.float32), 0, 0, 4, (1 << 32, 1 << 32)),
        (None, np.dtype(np.float32), 0, 0, 12, (-1, -3)),
        (None, np.dtype(np.uint8), 0, 0, 1, (1,) * 65),
        (np.int64, np.dtype(np.int64), 0, 9, 4, ()),
        (np.int64, np.dtype(np.int64), 0, 9, 8, (1,)),
        (np.int64, np.dtype(np.int64), 0, 1 << 63, 8, ()),
        (None, None, 0, 0, 12, (3,)),
    ],
)
def test_what_was_not_understood_is_not_filled(wrong: Any) -> None:
    """A refused `expect` left half of it behind, and `fill` went on from there; once more would not do."""
    assert CompiledRows is not None
    for action, observation in ((wrong, ARRAY), (ARRAY, wrong)):
        row: Any = CompiledRows.__new__(CompiledRows)
        words = np.zeros(8, np.int64)
        with pytest.raises((ValueError, OverflowError, AttributeError)):
            row.expect(words, 0, compiled_rows.NUMPY, None, action, observation)
        columns = np.zeros((4, 3), np.float32), np.zeros((5, 3), np.float32), np.zeros(4), np.zeros(4, np.int64)
        with pytest.raises(RuntimeError, match="expect"):
            row.fill(*columns, 4)
        assert sys.getrefcount(words) == 2, "it is given back"
        row.expect(words, 0, compiled_rows.NUMPY, None, ARRAY, ARRAY)
        row.fill(*columns, 4)


@pytest.mark.parametrize("word", [-1, 8, 1 << 60, sys.maxsize])
def test_a_word_outside_the_page_is_refused(word: int) -> None:
    assert CompiledRows is not None
    row: Any = CompiledRows.__new__(CompiledRows)
    with pytest.raises(ValueError, match="no such word"):
        row.expect(np.zeros(8, np.int64), word, compiled_rows.NUMPY, None, ARRAY, ARRAY)
