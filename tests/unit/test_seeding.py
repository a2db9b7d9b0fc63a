"""Seeds of episodes: their values are part of what a recording means, so they stay."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.seeding import MODULUS, STRIDE, EpisodeSeeding, episode_seed
from rolltape.actors.stepping import EnvRecipe, make_sub_environments
from tests.odd_envs import Sampled

GOLDEN = {
    (0, 0, 0): 1542064330,
    (0, 0, 1): 1542064331,
    (0, 1, 0): 721798567,
    (7, 0, 0): 411092919,
    ((1 << 63) - 1, 1023, 999_999): 132842638,
}


def test_golden_values() -> None:
    assert {key: episode_seed(*key) for key in GOLDEN} == GOLDEN


@given(st.integers(0, (1 << 63) - 1), st.integers(0, 1 << 20), st.integers(0, 1 << 40))
def test_a_seed_fits_everybody(run_seed: int, sub_env: int, index: int) -> None:
    seed = episode_seed(run_seed, sub_env, index)
    assert 0 <= seed < MODULUS
    assert episode_seed(run_seed, sub_env, index + MODULUS) == seed


def test_no_seed_comes_twice_for_a_long_time() -> None:
    """1,024 sub-environments have 970,000 episodes each before one meets a seed of another; 64 have 17 million."""
    for sub_envs, episodes in ((64, 17_000_000), (1024, 970_000)):
        ways = np.arange(1, sub_envs, dtype=np.int64) * STRIDE % MODULUS
        assert np.minimum(ways, MODULUS - ways).min() >= episodes


def test_a_sub_environment_does_not_know_how_many_there_are() -> None:
    seeds = [[episode_seed(5, sub_env, k) for k in range(3)] for sub_env in range(8)]
    for workers in (1, 2, 4):
        found: list[list[int]] = []
        for worker in range(workers):
            share = 8 // workers
            made = make_sub_environments(
                EnvRecipe(Sampled),
                False,
                share,
                run_seed=5,
                sub_env_offset=worker * share,
                first_index=[0] * share,
            )
            resets: list[list[int]] = [[] for _ in range(share)]
            for _ in range(3):
                made.env.reset()
                assert made.inside is not None
                for place in range(share):
                    resets[place].append(made.inside.seed(place))  # type: ignore[arg-type]
            found += resets
        assert found == seeds


class Counting(gym.Env[Any, Any]):
    """Observes the seed of its reset; ends after two steps."""

    observation_space = gym.spaces.Discrete(MODULUS)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seed, self.t = seed, 0
        return seed, {"options": options}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self.seed, 0.0, self.t == 2, False, {}


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("first_index", [0, 1000])
def test_every_reset_is_seeded_whoever_asks(mode: AutoresetMode, first_index: int) -> None:
    env = SyncVectorEnv([lambda: EpisodeSeeding(Counting(), 3, 4, first_index)], autoreset_mode=mode)
    observation, _ = env.reset()
    seen = [int(observation[0])]
    for _ in range(12):
        observation, _, terminated, _, _ = env.step(np.zeros(1, int))
        if mode == AutoresetMode.DISABLED and terminated[0]:
            observation, _ = env.reset(options={"reset_mask": terminated})
        if observation[0] != seen[-1]:
            seen.append(int(observation[0]))
    assert seen == [episode_seed(3, 4, first_index + k) for k in range(len(seen))]
    assert len(seen) >= 4


def test_the_callers_seed_goes_first_and_its_options_through() -> None:
    env = EpisodeSeeding(Counting(), 3, 4)
    observation, info = env.reset(seed=99, options={"x": 1})
    assert (observation, env.last_seed, info, env.reset_info) == (99, 99, {}, {"options": {"x": 1}})
    assert env.reset()[0] == episode_seed(3, 4, 1)


def test_infos_stay_inside() -> None:
    """A vector environment makes arrays of infos, which not every info survives."""
    env = EpisodeSeeding(Sampled(infos=lambda random, t: {"t": t, "any": [t]}, end=0.0), 3, 4)
    assert env.reset()[1] == {}
    assert env.step(0)[4] == {}
    assert (env.reset_info, env.step_info) == ({"t": 0, "any": [0]}, {"t": 1, "any": [1]})
