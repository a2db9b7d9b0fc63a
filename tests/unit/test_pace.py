"""A pace holds steps back and makes up for little of what came late."""

from __future__ import annotations

from typing import Any

import pytest

from rolltape.actors.pace import Pace
from rolltape.actors.recorded_env import _held_back
from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import ConfigError


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def pace(rate: float, time: Time) -> Pace:
    return Pace(rate, lambda: time.now, time.sleep)


@pytest.mark.parametrize("steps", [1, 8])
def test_it_holds_the_rate(steps: int) -> None:
    time = Time()
    held = pace(40, time)
    done: list[Any] = []
    step = held.around(done.append, steps)
    for action in range(50):
        time.now += 0.01 * (action % 2)  # the environment takes some of the time itself
        step(action)
    assert done == list(range(50))
    assert time.now - 100 == pytest.approx(50 * steps / 40)
    assert held.waited_s == pytest.approx(sum(time.slept)) and held.waited_s < 50 * steps / 40


def test_nobody_waits_who_is_slower_and_a_pause_is_not_made_up_for() -> None:
    time = Time()
    held = pace(10, time)
    for _ in range(5):
        time.now += 0.2
        held.wait()
    assert time.slept == []
    time.now += 60
    began = time.now
    for _ in range(11):
        held.wait()
    assert time.now - began == pytest.approx(0.9)


def test_without_a_throttle_a_step_is_itself() -> None:
    def step(action: Any) -> Any:
        return action

    assert _held_back(step, 3, RecordConfig()) is step
    limited = _held_back(step, 3, RecordConfig.of(throttle={"steps_per_s": 1e9}))
    assert limited is not step and limited(5) == 5


def test_a_rate_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"throttle\.steps_per_s"):
        RecordConfig.of(throttle={"steps_per_s": -1})
