"""The compiled path of single environments: what it takes, and what it leaves to Python."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gs

from rolltape.actors import compiled_rows
from rolltape.actors.compiled_rows import CompiledRows, rows_class
from rolltape.actors.single_rows import SingleRows
from tests.fakes import run_schema
from tests.held_rows import BOX, PICTURE, SHAPES, SMALL_PICTURE, Sub, compiled, untouched, usual, value_of

pytestmark = pytest.mark.skipif(CompiledRows is None, reason=compiled_rows.WHY_NOT)


class Infos(dict[str, Any]):
    pass


SEEN = np.zeros(3, np.float32)
ODD_ROWS: dict[str, tuple[Any, ...]] = {
    "not contiguous": (0, np.zeros((3, 2), np.float32)[:, 0], 0.0, False, False, {}),
    "longer": (0, np.zeros(4, np.float32), 0.0, False, False, {}),
    "shorter": (0, np.zeros(2, np.float32), 0.0, False, False, {}),
    "another axis": (0, np.zeros((3, 1), np.float32), 0.0, False, False, {}),
    "no axis": (0, np.zeros((), np.float32), 0.0, False, False, {}),
    "another dtype": (0, np.zeros(3, np.int32), 0.0, False, False, {}),
    "another byte order": (0, np.zeros(3, ">f4"), 0.0, False, False, {}),
    "a subclass": (0, SEEN.view(Sub), 0.0, False, False, {}),
    "a list": (0, [0.0, 0.0, 0.0], 0.0, False, False, {}),
    "an action beyond its dtype": (1 << 63, SEEN, 0.0, False, False, {}),
    "an action of another dtype": (np.int32(1), SEEN, 0.0, False, False, {}),
    "an action that is a bool": (True, SEEN, 0.0, False, False, {}),
    "an action that is an array": (np.array(1), SEEN, 0.0, False, False, {}),
    "a reward that is a bool": (0, SEEN, True, False, False, {}),
    "a reward that is text": (0, SEEN, "1", False, False, {}),
    "a reward beyond floats": (0, SEEN, 1 << 2000, False, False, {}),
    "a reward of two bytes": (0, SEEN, np.float16(1), False, False, {}),
    "terminated is 0": (0, SEEN, 0.0, 0, False, {}),
    "truncated is None": (0, SEEN, 0.0, False, None, {}),
    "an info": (0, SEEN, 0.0, False, False, {"a": 1}),
    "an info of another class": (0, SEEN, 0.0, False, False, Infos()),
    "no info": (0, SEEN, 0.0, False, False, None),
    "a render": (0, SEEN, 0.0, False, False, {}, lambda: None),
}


@pytest.mark.parametrize("name", ODD_ROWS)
def test_what_is_not_as_expected_is_left_to_python(name: str) -> None:
    """One odd thing each: `stories` finds such by chance."""
    row, left = untouched()
    row.step(0, SEEN, 0.0, False, False, {})
    assert (row.rows, left) == (2, [])
    row.step(*ODD_ROWS[name])
    assert (row.rows, len(left)) == (2, 1)


@pytest.mark.parametrize(
    ("dtype", "takes", "leaves"),
    [
        ("i1", [-128, 127], [-129, 128]),
        ("i2", [-(1 << 15)], [1 << 15]),
        ("u1", [255], [-1, 256]),
        ("u4", [(1 << 32) - 1], [-1, 1 << 32]),
        ("u8", [(1 << 63) - 1, np.uint64(5)], [-1, 1 << 63, np.uint64(1 << 63)]),
    ],
)
def test_integers_are_written_within_their_dtype(dtype: str, takes: list[Any], leaves: list[Any]) -> None:
    row, left = untouched(action=gs.Discrete(3, dtype=np.dtype(dtype).type))
    for action in takes:
        row.step(action, SEEN, 0.0, False, False, {})
    assert (row.rows, left) == (1 + len(takes), [])
    assert row._columns.actions.array[1 : row.rows].tolist() == [int(action) for action in takes]
    for action in leaves:
        row.step(action, SEEN, 0.0, False, False, {})
    assert (row.rows, len(left)) == (1 + len(takes), len(leaves))


def test_a_full_fragment_and_what_may_make_one_full_is_left_to_python() -> None:
    usual_row, end = (0, SEEN, 0.0, False, False, {}), (0, SEEN, 0.0, False, True, {})
    states: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
        ({"_bulky": True}, end),
        ({"_ends": None}, end),
        ({"_crowded": True}, usual_row),
        ({"_open": False}, usual_row),
        ({"oldest_ns": None}, usual_row),
        ({"_limit": 0}, usual_row),
        ({"_limit": 2}, usual_row),
        ({"_limit": 1 << 40, "rows": 100}, usual_row),
    ]
    for state, moved in states:
        row, left = untouched()
        for name, value in state.items():
            setattr(row, name, value)
        rows = row.rows
        row.step(*moved)
        assert (row.rows, len(left)) == (rows, 1), state


def test_usual_rows_never_come_to_python() -> None:
    held = compiled(own_clock=True)
    held.rows.reset(np.zeros(3, np.float32), {})
    for i in range(100):
        held.take(np.int64(i % 3) if i % 2 else i % 3, *usual(i))
    assert held.in_python == 1, "the first of a fragment, which says when it began"
    held.end()
    assert [step.reward for step in held.tape.steps()] == list(range(100))
    assert [step.action for step in held.tape.steps()] == [i % 3 for i in range(100)]


@pytest.mark.parametrize("shape", ["box", "picture", "small picture"])
def test_pictures_and_infos_of_numbers_come_to_python_once_a_fragment(shape: str) -> None:
    space = SHAPES[shape]
    held, first = compiled(space, own_clock=True), value_of(0, space.shape, space.dtype)
    held.rows.reset(first, {})
    fragments_taken = 3
    for _ in range(fragments_taken):
        for i in range(20):
            held.take(0, value_of(i, space.shape, space.dtype), 0.0, False, False, {"lives": i, "odds": 0.5, "up": True})
        assert held.rows._noted == 19 * 3  # type: ignore[attr-defined]
        held.tape.take(held.rows)
    assert held.in_python == fragments_taken
    infos = [row for batch in held.tape.fragments for row in batch["steps"].column("info").to_pylist()]
    assert infos == [{"lives": i, "odds": 0.5, "up": True} for i in range(20)] * fragments_taken


def test_infos_are_bounded_by_the_fragment() -> None:
    held = compiled(own_clock=True, max_bytes=64 << 10)
    held.rows.reset(np.zeros(3, np.float32), {})
    for i in range(3000):
        held.take(0, SEEN, 0.0, False, False, {"a": i, "b": i})
    held.end()
    most = [batch["steps"].num_rows for batch in held.tape.fragments]
    assert len(most) > 1 and max(most) * 2 * 16 <= 64 << 10


@pytest.mark.parametrize(
    "info",
    [
        {"a": 1 << 63},
        {"a": np.int64(1)},
        {"a": 1, "new": 1},
        {1: 1},
        {"a": "text"},
        {"a": None},
        {"a": np.ones(2)},
        Infos(a=1),
        {str(i): i for i in range(17)},
    ],
    ids=str,
)
def test_infos_that_are_not_as_before_are_left_to_python(info: Any) -> None:
    row, left = untouched()
    row.step_in_python = SingleRows.step.__get__(row)
    row.step(0, SEEN, 0.0, False, False, {"a": 1})
    row.step_in_python = lambda *args: left.append(args)
    row.step(0, SEEN, 0.0, False, False, {"a": 2})
    assert (row.rows, left) == (3, [])
    row.step(0, SEEN, 0.0, False, False, {"a": 3.0})
    assert (row.rows, left) == (4, []), "what is of another type is noted with its own"
    row.step(0, SEEN, 0.0, False, False, info)
    assert (row.rows, len(left)) == (4, 1)


def test_film_memory_that_would_not_do_is_refused() -> None:
    row: Any = compiled(PICTURE).rows
    block, noted, filled = np.zeros(1 << 20, np.uint8), np.zeros((1, 4, 3), np.int64), np.zeros((2, 1), np.int64)
    known, last = np.zeros((2, 1), np.int64), np.zeros(PICTURE.shape, np.uint8)
    row.film(block, noted, filled, known, last, 4)
    for wrong in (
        (block, noted, filled, known, last, 5),
        (block, noted, filled[:1], known, last, 4),
        (block, noted, filled, known[:1], last, 4),
        (block, noted, filled, known, last, -1),
        (block, noted, filled, known, last, sys.maxsize),
        (block, np.zeros(12 * 8 + 1, np.uint8)[1:], filled, known, last, 4),
    ):
        with pytest.raises(ValueError, match=r"bytes|pictures|aligned"):
            row.film(*wrong)
    with pytest.raises(ValueError, match="no pictures"):
        compiled().rows.film(block, noted, filled, known, last, 4)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("observation", "action", "compiles"),
    [
        (BOX, gs.Discrete(2), True),
        (gs.Discrete(5), BOX, True),
        (gs.Text(3), gs.Discrete(2), False),
        (gs.Dict(a=BOX), gs.Discrete(2), False),
        (BOX, gs.Tuple([BOX]), False),
        (SMALL_PICTURE, gs.Discrete(2), True),
        (gs.Box(0, 255, (16, 16, 4), np.uint8), gs.Discrete(2), False),
    ],
)
def test_which_spaces_it_takes(observation: Any, action: Any, compiles: bool) -> None:
    schema = run_schema(observation, action)
    assert rows_class(schema) is (CompiledRows if compiles else SingleRows)
    assert rows_class(run_schema(observation, action, "render")) is SingleRows
