"""Which vector environment a worker steps, and with which seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rolltape.actors.seeding import episode_seed
from rolltape.actors.stepping import EnvRecipe, make_env, make_sub_environments, uses_native
from tests.odd_envs import Sampled, Scripted


def native(num_envs: int, size: int = 2, **_: Any) -> Scripted:
    space = gs.Box(-np.inf, np.inf, (size,), np.float64)
    env = Scripted(np.zeros((1, num_envs), bool), AutoresetMode.SAME_STEP, space=space)
    env.single_action_space = gs.Discrete(3)
    return env


def plain(size: int = 2) -> gym.Env[Any, Any]:
    return Sampled(gs.Box(-np.inf, np.inf, (size,), np.float64), gs.Discrete(3))


@pytest.fixture
def registered() -> Iterator[str]:
    name = "RolltapeTest-v0"
    gym.register(name, entry_point=plain, vector_entry_point=native, disable_env_checker=True, order_enforce=False)
    yield name
    del gym.registry[name]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"autoreset": "same_step"}, True),
        ({"autoreset": "next_step"}, False),
        ({"autoreset": "disabled"}, False),
        ({"autoreset": "same_step", "vectorization": "sync"}, False),
        ({"autoreset": "same_step", "vectorization": "native"}, True),
    ],
)
def test_a_native_one_is_used_where_it_resets_as_asked(registered: str, recipe: Any, expected: bool) -> None:
    made = EnvRecipe(registered, **recipe)
    assert uses_native(made, make_env(made)) == expected


def test_a_native_one_of_other_spaces_is_another_environment(registered: str) -> None:
    recipe = EnvRecipe(registered, autoreset="same_step")
    other = plain(size=3)
    assert not uses_native(recipe, other)
    assert uses_native(EnvRecipe(registered, autoreset="same_step", vectorization="native"), other), "one may insist"


def test_a_native_one_that_does_not_take_the_arguments_is_not_used() -> None:
    name = "RolltapeOther-v0"
    gym.register(name, entry_point=plain, vector_entry_point=lambda num_envs: native(num_envs))
    try:
        recipe = EnvRecipe(name, {"size": 3}, autoreset="same_step")
        assert not uses_native(recipe, make_env(recipe))
    finally:
        del gym.registry[name]


def test_real_ones() -> None:
    for env_id, expected in (("CartPole-v1", True), ("FrozenLake-v1", False)):
        recipe = EnvRecipe(env_id)
        env = make_env(recipe)
        assert uses_native(recipe, env) == expected
        env.close()


@pytest.mark.parametrize("autoreset", ["next_step", "same_step", "disabled"])
def test_plain_ones_are_stepped_together(autoreset: Any) -> None:
    recipe = EnvRecipe(plain, {"size": 4}, autoreset=autoreset)
    sub = make_sub_environments(recipe, False, 3, run_seed=9, sub_env_offset=5, first_index=[0, 7, 0])
    assert isinstance(sub.env, SyncVectorEnv) and not sub.native
    assert sub.env.metadata["autoreset_mode"] == AutoresetMode(sub.env.metadata["autoreset_mode"])
    assert sub.env.single_observation_space.shape == (4,)
    observations, infos = sub.env.reset()
    assert infos == {}
    assert sub.inside is not None
    seeds = [episode_seed(9, 5, 0), episode_seed(9, 6, 7), episode_seed(9, 7, 0)]
    assert [sub.inside.seed(place) for place in range(3)] == seeds
    for place, seed in enumerate(seeds):
        assert (plain(4).reset(seed=seed)[0] == observations[place]).all()


def test_a_native_batch_has_one_seed_and_no_inside(registered: str) -> None:
    recipe = EnvRecipe(registered, autoreset="same_step")
    sub = make_sub_environments(recipe, True, 4, run_seed=9, sub_env_offset=5, first_index=[3, 1, 2, 0])
    assert sub.native and sub.inside is None and sub.env.num_envs == 4
    assert sub.batch_seed == episode_seed(9, 5, 3), "not one that its first life had"


def test_what_another_process_makes_it_from() -> None:
    assert EnvRecipe("CartPole-v1").importable == "CartPole-v1"
    assert EnvRecipe(plain).importable == f"{plain.__module__}:plain"
    assert EnvRecipe(lambda: plain()).importable is None
    assert EnvRecipe(plain).env_id == "plain"
