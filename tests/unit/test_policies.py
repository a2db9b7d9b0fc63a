"""Policies of a fleet: random ones that can be repeated, and recorded actions."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from gymnasium.vector.utils import batch_space

from rolltape.actors.env_worker import policy_seed
from rolltape.actors.policies import load_policy
from rolltape.schema.errors import BadPolicy
from rolltape.schema.messages import ProducerKey
from tests.odd_envs import DICT, OBJECTS
from tests.sameness import assert_same

SPACES = {
    "discrete": gs.Discrete(7, start=-3),
    "box": gs.Box(-1.0, 1.0, (3,), np.float16),
    "dict": DICT,
    "objects": OBJECTS,
    "one of": gs.OneOf([gs.Discrete(2), gs.Text(3)]),
}


@pytest.mark.parametrize("name", SPACES)
def test_random_actions_are_in_the_space_and_can_be_repeated(name: str) -> None:
    space = SPACES[name]
    one, two, other = (load_policy("random", space, space, 3, seed) for seed in (5, 5, 6))
    batched = batch_space(space, 3)
    found, differ = [], False
    for _ in range(5):
        actions = one(None)
        assert actions in batched
        assert_same(two(None), actions)
        found.append(repr(actions))
        differ |= repr(other(None)) != repr(actions)
    assert differ and len(set(found)) > 1


def test_every_worker_and_every_life_has_actions_of_its_own() -> None:
    seeds = {policy_seed(7, ProducerKey(p, i)) for p in range(50) for i in range(20)}
    assert len(seeds) == 1000
    assert policy_seed(7, ProducerKey(0, 0)) != policy_seed(8, ProducerKey(0, 0))
    assert all(0 <= policy_seed((1 << 63) - 1, ProducerKey(p, 0)) < 1 << 31 for p in range(9))


@pytest.mark.parametrize(
    "actions", [[np.array([0, 1]), np.array([1, 1])], np.array([[0, 1], [1, 1]]), ([0, 1], [1, 1])]
)
def test_recorded_actions_are_given_once_each(actions: Any) -> None:
    space = gs.Discrete(2)
    act = load_policy(actions, space, space, 2, 0)
    assert [np.asarray(act(None)).tolist() for _ in range(2)] == [[0, 1], [1, 1]]
    with pytest.raises(BadPolicy, match="has 2 steps and the run wants more"):
        act(None)


@pytest.mark.parametrize("actions", [[], np.zeros((0, 2))])
def test_no_actions_are_no_policy(actions: Any) -> None:
    with pytest.raises(BadPolicy, match="is empty"):
        load_policy(actions, gs.Discrete(2), gs.Discrete(2), 2, 0)


def test_a_callable_is_itself() -> None:
    def act(observations: Any) -> Any:
        return observations

    assert load_policy(act, gs.Discrete(2), gs.Discrete(2), 2, 0) is act
    made = load_policy("gymnasium.vector.utils:batch_space", gs.Discrete(2), gs.Discrete(2), 2, 0)
    assert isinstance(made(gym.spaces.Discrete(2)), gym.Space)
