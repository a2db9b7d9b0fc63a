"""What those who watch are given of a running environment: never an error, never long, never large."""

import json
from typing import Any

import gymnasium as gym
import pytest

from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.adapters.live import FAILURES, MAX_BYTES, SHARE, LivePayload
from rolltape.schema.adapters.registry import adapter_of
from rolltape.schema.adapters.state_reader import StateReader
from rolltape.schema.errors import ConfigError
from rolltape.schema.render_payload import TextPayload, payload_from_json


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(EnvironmentAdapter):
    """Takes as long as it is told, raises when it is told."""

    name = "slow"
    takes_s = 0.0
    raises = False
    lines: tuple[str, ...] = ("here",)
    clock: Clock

    def render_payload(self, env: gym.Env[Any, Any]) -> TextPayload:
        self.clock.now += self.takes_s
        if self.raises:
            raise KeyError("grid")
        return TextPayload(lines=self.lines)


@pytest.fixture
def env() -> Any:
    return gym.make("FrozenLake-v1")


def slow(env: Any) -> tuple[Slow, LivePayload]:
    adapter = Slow(env)
    adapter.clock = Clock()
    return adapter, LivePayload(adapter, adapter.clock, adapter.clock)


def test_the_payload_of_a_running_environment(env: Any) -> None:
    live = LivePayload(adapter_of(env))
    assert live.take(env) is None  # before the first reset
    env.reset(seed=1)
    text = live.take(env)
    assert text is not None
    assert payload_from_json(json.loads(text)).kind == "grid"
    assert (live.taken, live.problem) == (1, "")


def test_what_takes_long_is_made_up_for(env: Any) -> None:
    adapter, live = slow(env)
    adapter.takes_s = 0.1
    assert live.take(env) is not None
    adapter.clock.now += 0.1 / SHARE - 0.01
    assert live.take(env) is None
    assert live.skipped == 1
    adapter.clock.now += 0.02
    assert live.take(env) is not None


def test_what_is_quick_is_given_each_time(env: Any) -> None:
    adapter, live = slow(env)
    adapter.takes_s = 0.0005
    assert [live.take(env) is None for _ in range(10)] == [False] * 10


def test_one_that_fails_is_not_asked_for_ever(env: Any) -> None:
    adapter, live = slow(env)
    adapter.raises = True
    assert [live.take(env) for _ in range(FAILURES)] == [None] * FAILURES
    assert live.problem == "KeyError: 'grid'"
    adapter.raises = False
    assert live.take(env) is None


def test_a_single_failure_is_forgotten(env: Any) -> None:
    adapter, live = slow(env)
    for _ in range(2 * FAILURES):
        adapter.raises = True
        assert live.take(env) is None
        adapter.raises = False
        assert live.take(env) is not None


def test_what_is_too_large_is_said_to_be(env: Any) -> None:
    adapter, live = slow(env)
    adapter.lines = ("x" * MAX_BYTES,)
    text = live.take(env)
    assert text is not None
    assert len(text) < 200
    assert "at most" in json.loads(text)["lines"][0]


def test_state_is_read_under_its_prefix_until_the_adapter_fails(env: Any) -> None:
    env.reset(seed=1)
    adapter = adapter_of(env)
    assert StateReader(adapter, ["row"]).read(env) == {"state.row": 0}
    reader = StateReader(adapter)
    assert reader.read(env)["state.map"] == "SFFF/FHFH/FFFH/HFFG"
    broken: Any = env.unwrapped
    broken.s = "nowhere"
    with pytest.warns(UserWarning, match=r"'frozen_lake' raised .*ValueError"):
        assert reader.read(env) == {}
    broken.s = 0
    assert reader.read(env) == {}
    assert reader.problem.startswith("ValueError")


def test_state_that_there_is_not(env: Any) -> None:
    with pytest.raises(ConfigError, match=r"adapter\.keys: 'frozen_lake' has no 'lives'; there are row, column, map"):
        StateReader(adapter_of(env), ["lives"])
    with pytest.raises(ConfigError, match=r"adapter\.state: the adapter 'generic' knows of none"):
        StateReader(adapter_of(env, "generic"))
