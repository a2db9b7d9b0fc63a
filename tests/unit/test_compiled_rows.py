"""The compiled path of single environments: the same rows as Python's, whatever comes, and nothing of it leaks."""

from __future__ import annotations

import gc
import math
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors import compiled_rows
from rolltape.actors.compiled_rows import CompiledRows, compiled_step, rows_class
from rolltape.actors.page import STEPS
from rolltape.actors.single_rows import SingleRows
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.messages import ProducerKey
from tests.examples import examples
from tests.fakes import Agreement, MemoryPage, Ticks, fragments, run_schema
from tests.leaks import assert_nothing_leaks
from tests.recorded import Tape

pytestmark = pytest.mark.skipif(CompiledRows is None, reason=compiled_rows.WHY_NOT)

BOX = gs.Box(-1.0, 1.0, (3,), np.float32)
GRID = gs.Box(0, 9, (2, 2), np.int16)
THREE = gs.Discrete(3)
KEY = ProducerKey(0, 0)


class Held:
    """Rows, and a step as `RecordedEnv` makes it, of an environment that returns what it is told to."""

    def __init__(
        self,
        kind: type[SingleRows],
        observation: Any = BOX,
        action: Any = THREE,
        own_clock: bool = False,
        **config: int,
    ) -> None:
        self.schema = run_schema(observation, action)
        self.page, self.mutex, ticks = MemoryPage(), threading.Lock(), Ticks()
        self.rows = kind(
            self.schema,
            KEY,
            self.page,  # type: ignore[arg-type]
            fragments(**{"max_rows": 1000, **config}),
            sub_env=0,
            stride=1,
            agree=Agreement(),
            clock=ticks,  # type: ignore[arg-type]
            counter_ns=time.perf_counter_ns if own_clock else ticks.counter_ns,
        )
        self.tape = Tape(self.schema)
        self.returns: Any = None
        self.in_python = self.env_steps = 0
        self.step: Callable[[Any], Any] = (
            compiled_step(self.rows, self.env_step, self.mutex, self.record) or self.step_in_python
        )

    def env_step(self, action: Any) -> Any:
        self.env_steps += 1
        return self.returns() if callable(self.returns) else self.returns

    def step_in_python(self, action: Any) -> Any:
        result = self.env_step(action)
        self.record(action, result)
        return result

    def record(self, action: Any, result: Any) -> None:
        self.in_python += 1
        observation, reward, terminated, truncated, info = result
        with self.mutex:
            if self.rows.step(action, observation, reward, terminated, truncated, info):
                self.tape.take(self.rows)

    def take(self, action: Any, *result: Any) -> Any:
        """What the step returns, or the error that it raises."""
        self.returns = result
        try:
            return self.step(action)
        except Exception as error:
            return type(error), str(error)

    def end(self) -> None:
        self.rows.abort()
        self.tape.take(self.rows)


def compiled(*args: Any, **named: Any) -> Held:
    assert CompiledRows is not None
    return Held(CompiledRows, *args, **named)


def usual(i: int) -> tuple[Any, ...]:
    return np.full(3, i / 10, np.float32), float(i), False, False, {}


# ---- the same as Python ----

SMALL_PICTURE, PICTURE = (gs.Box(0, 255, (side, side, 3), np.uint8) for side in (16, 75))
"""Of the larger one only changes are written."""
SHAPES = {
    "box": BOX,
    "grid": GRID,
    "number": gs.Discrete(5),
    "point": gs.Box(-1.0, 1.0, (), np.float64),
    "small picture": SMALL_PICTURE,
    "picture": PICTURE,
}
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


def value_of(n: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The n-th value; pictures mostly differ from each other in one place, those from 35 on everywhere."""
    values = np.arange(math.prod(shape))
    if len(shape) < 3 or n >= 35:
        return (values + n).reshape(shape).astype(dtype)
    values[100 * n % len(values)] += n
    return values.reshape(shape).astype(dtype)


class Sub(np.ndarray):
    pass


class Five(tuple):
    pass


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


def untouched(observation: Any = BOX, action: Any = THREE, **config: int) -> tuple[Any, list[Any]]:
    """Rows after their first one, and what they leave to Python from then on, which is only noted."""
    assert CompiledRows is not None
    schema, left = run_schema(observation, action), []
    row: Any = CompiledRows(
        schema,
        KEY,
        MemoryPage(),  # type: ignore[arg-type]
        fragments(**{"max_rows": 100, **config}),
        sub_env=0,
        stride=1,
        agree=Agreement(),  # type: ignore[arg-type]
    )
    first = np.zeros(schema.observation.leaves[0].shape, schema.observation.leaves[0].dtype)
    row.reset(first, {})
    row.step(0, first, 0.0, False, False, {})
    row.step_in_python = lambda *args: left.append(args)
    return row, left


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


# ---- the step of a loop ----


def test_what_the_environment_returns_is_what_the_loop_gets() -> None:
    held = compiled()
    held.rows.reset(np.zeros(3, np.float32), {})
    for i in range(5):
        held.returns = usual(i)
        assert held.step(i % 3) is held.returns
        assert held.step(action=0) is held.returns
    assert held.in_python == 1, "the first"
    held.returns = Five(usual(1))
    assert held.step(0) is held.returns
    assert (held.rows.rows, held.in_python) == (11, 2)


@pytest.mark.parametrize(("args", "named"), [((), {}), ((0, 1), {}), ((), {"act": 0}), ((0,), {"action": 0})])
def test_a_step_takes_one_action(args: Any, named: Any) -> None:
    held = compiled()
    with pytest.raises(TypeError, match="one argument: action"):
        held.step(*args, **named)
    assert held.env_steps == 0


def test_nothing_is_written_while_the_pump_holds_the_rows() -> None:
    """Another thread holds the mutex: the row waits for it, in Python, and is recorded afterwards."""
    held = compiled(own_clock=True)
    held.rows.reset(np.zeros(3, np.float32), {})
    for i in range(3):
        held.take(0, *usual(i))
    held.mutex.acquire()
    stepping = threading.Thread(target=held.take, args=(1, *usual(7)))
    stepping.start()
    stepping.join(0.05)
    assert (held.rows.rows, held.env_steps) == (3, 4)
    held.mutex.release()
    stepping.join(120)
    assert (held.rows.rows, held.env_steps, held.in_python) == (4, 4, 2)


def test_the_end_of_an_episode_is_python_under_the_mutex(monkeypatch: pytest.MonkeyPatch) -> None:
    held = compiled()
    ended: list[Any] = []
    end = SingleRows._end

    def watched(rows: SingleRows, *how: Any) -> None:
        ended.append((how, rows.rows, held.mutex.locked()))
        if len(ended) == 2:
            raise KeyboardInterrupt
        end(rows, *how)

    monkeypatch.setattr(SingleRows, "_end", watched)
    for number, flags in enumerate([(True, False), (np.False_, np.True_)]):
        held.rows.reset(np.zeros(3, np.float32), {})
        held.take(0, *usual(0))
        held.returns = (np.zeros(3, np.float32), 1.0, *flags, {})
        if number:
            with pytest.raises(KeyboardInterrupt):
                held.step(1)
        else:
            assert held.step(1) is held.returns
        assert not held.mutex.locked()
    assert ended == [(("completed", True, False), 2, True), (("completed", False, True), 4, True)]
    assert held.in_python == 1, "the first row of the fragment"
    monkeypatch.undo()
    held.rows.reset(np.zeros(3, np.float32), {})
    held.end()
    assert [(e.status, e.length) for e in held.tape.episodes()] == [("completed", 2), ("aborted", 2), ("aborted", 0)]
    assert [(s.terminated, s.truncated) for s in held.tape.steps()][1::2] == [(True, False), (False, True)]


def test_an_end_waits_for_the_pump_too() -> None:
    held = compiled(own_clock=True)
    held.rows.reset(np.zeros(3, np.float32), {})
    held.take(0, *usual(0))
    held.mutex.acquire()
    stepping = threading.Thread(target=held.take, args=(1, np.zeros(3, np.float32), 1.0, True, False, {}))
    stepping.start()
    stepping.join(0.05)
    assert (held.rows.rows, held.env_steps, held.rows._open) == (1, 2, True)
    held.mutex.release()
    stepping.join(120)
    assert (held.rows.rows, held.env_steps, held.in_python, held.rows._open) == (2, 2, 2, False)


def test_the_pump_seals_while_the_environment_steps() -> None:
    """Columns are looked up after the step: those of before are on their way by then."""
    held = compiled(own_clock=True)
    held.rows.reset(np.zeros(3, np.float32), {})

    def sealed() -> Any:
        def seal() -> None:
            with held.mutex:
                held.tape.take(held.rows)

        pump = threading.Thread(target=seal)
        pump.start()
        pump.join(120)
        return usual(5)

    for i in range(4):
        held.take(0, *usual(i))
    held.returns = sealed
    held.step(1)
    held.step(2)
    held.end()
    assert [(step.t, step.action) for step in held.tape.steps()] == [*[(i, 0) for i in range(4)], (4, 1), (5, 2)]
    assert [len(fragment["steps"]) for fragment in held.tape.fragments] == [4, 1, 1]


def test_a_step_within_a_step() -> None:
    held = compiled(own_clock=True)
    held.rows.reset(np.zeros(3, np.float32), {})
    held.take(0, *usual(0))

    def again() -> Any:
        held.returns = usual(1)
        held.step(1)
        return usual(2)

    held.returns = again
    held.step(2)
    held.end()
    assert [(step.t, step.action, step.reward) for step in held.tape.steps()] == [(0, 0, 0.0), (1, 1, 1.0), (2, 2, 2.0)]


def test_a_counter_of_somebody_else_may_do_anything() -> None:
    """It raises, or ends the episode: no row is half written."""
    held = compiled()
    held.rows.reset(np.zeros(3, np.float32), {})
    counter = Ticks()
    acts: list[Callable[[], Any]] = []

    def count() -> int:
        if acts:
            acts.pop()()
        return counter.counter_ns()

    own = CompiledRows(  # type: ignore[misc]
        held.schema,
        KEY,
        MemoryPage(),
        fragments(),
        sub_env=0,
        stride=1,
        agree=Agreement(),
        clock=counter,
        counter_ns=count,
    )
    own.reset(np.zeros(3, np.float32), {})
    own.step(0, *usual(0))
    own.step(0, *usual(1))
    acts.append(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        own.step(0, *usual(2))
    assert own.rows == 2
    acts.append(own.abort)
    own.step(0, *usual(2))
    assert (own.rows, own.ignored_steps) == (2, 1)


def test_the_clock_is_that_of_python() -> None:
    assert CompiledRows is not None
    rows = CompiledRows(
        run_schema(BOX, gs.Discrete(3)),
        KEY,
        MemoryPage(),
        fragments(),
        sub_env=0,
        stride=1,
        agree=Agreement(),  # type: ignore[arg-type]
    )
    rows.reset(np.zeros(3, np.float32), {})
    told = []
    for i in range(50):
        before = time.perf_counter_ns()
        rows.step(0, *usual(i))
        told.append((before, int(rows._times[i]), time.perf_counter_ns()))
    assert all(before <= at <= after for before, at, after in told)


# ---- memory ----


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
