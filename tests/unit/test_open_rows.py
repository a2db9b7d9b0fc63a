"""When an owner of an open fragment says that it is full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.fakes import run_schema
from tests.recorders import Recorder, VectorRecorder


def one() -> Recorder:
    env = gym.make("CartPole-v1")
    return Recorder(env, run_schema(env.observation_space, env.action_space))


def four() -> VectorRecorder:
    env = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 4)
    schema = run_schema(env.single_observation_space, env.single_action_space)
    return VectorRecorder(env, schema, AutoresetMode.NEXT_STEP)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("make", [one, four])
def test_after_a_hold_fragments_are_as_large_as_before(make: Callable[[], Any]) -> None:
    """A live sample asked for afterwards must not bring the hold back."""
    recorder = make()
    recorder.reset(0)
    rows, actions = recorder.rows, recorder.env.action_space.sample
    rows.hasten()
    assert rows.full and not rows.prompted
    recorder.step(actions())
    assert rows.rows == 0, "it was closed at once"
    rows.relax()
    assert not rows.full and not rows.prompted
    recorder.step(actions())
    rows.prompt()
    assert rows.prompted and not rows.full
    rows.settle()
    before = rows.rows
    recorder.step(actions())
    assert rows.rows > before > 0 and not rows.full
