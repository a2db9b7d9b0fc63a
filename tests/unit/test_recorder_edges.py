"""What the recorder decides about an environment before it records it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rolltape.actors.recorded_env import RecordedVectorEnv, _renderer, record
from rolltape.actors.stepping import autoreset_of
from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import ConfigError
from tests.odd_envs import Sampled, Scripted

RENDER = RecordConfig.of(frames="render")


def test_renders_need_an_environment_that_draws_arrays() -> None:
    assert _renderer(Sampled(), RecordConfig()) is None
    env = Sampled(render_mode="rgb_array")
    renderer = _renderer(env, RENDER)
    assert renderer is not None and np.array_equal(renderer(), env.render())
    with pytest.raises(ConfigError, match=r"needs an environment made with render_mode='rgb_array' \(got None\)"):
        _renderer(Sampled(), RENDER)


def test_pictures_that_the_user_collects_are_not_taken_away() -> None:
    """`render()` of such an environment empties its list: the user's loop would find none."""
    env = gym.make("FrozenLake-v1", render_mode="rgb_array_list")
    with pytest.raises(ConfigError, match=r"got 'rgb_array_list'"):
        _renderer(env, RENDER)
    env.close()


def test_what_is_no_environment() -> None:
    with pytest.raises(ConfigError, match=r"not builtins\.str.*make_vec_env"):
        record("CartPole-v1")  # type: ignore[call-overload]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_autoreset_mode_is_what_the_environment_says(mode: AutoresetMode) -> None:
    assert autoreset_of(SyncVectorEnv([Sampled], autoreset_mode=mode)) == mode
    assert autoreset_of(Scripted(np.zeros((1, 1), bool), mode)) == mode


def test_an_environment_that_does_not_say_is_taken_for_next_step() -> None:
    env = Scripted(np.zeros((1, 1), bool), AutoresetMode.SAME_STEP)
    env.metadata = {}
    with pytest.warns(UserWarning, match="declares no autoreset mode"):
        assert autoreset_of(env) == AutoresetMode.NEXT_STEP


@pytest.mark.parametrize(
    ("per_env", "seed", "seeds"),
    [
        (True, 7, [7, 8, 9]),
        (False, 7, [7, 7, 7]),
        (True, np.int64(7), [7, 8, 9]),
        (True, [1, None, 3], [1, None, 3]),
        (True, None, None),
    ],
)
def test_seeds_of_a_reset(per_env: bool, seed: Any, seeds: Any) -> None:
    """A batch with one random state has the one seed; Gymnasium counts up for sub-environments of their own."""
    recorded = object.__new__(RecordedVectorEnv)
    recorded.env = SyncVectorEnv([lambda: Sampled(gs.Discrete(2))] * 3)
    recorded._per_env = per_env
    assert recorded._seeds(seed) == seeds
