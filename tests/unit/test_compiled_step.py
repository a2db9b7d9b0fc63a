"""The compiled step of a loop: beside the pump, within itself, and with clocks and counters of somebody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gs

from rolltape.actors import compiled_rows
from rolltape.actors.compiled_rows import CompiledRows
from rolltape.actors.single_rows import SingleRows
from tests.fakes import Agreement, MemoryPage, Ticks, fragments, run_schema
from tests.held_rows import BOX, KEY, Five, compiled, usual

pytestmark = pytest.mark.skipif(CompiledRows is None, reason=compiled_rows.WHY_NOT)


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
