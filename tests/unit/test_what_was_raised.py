"""What a user is told of an error in somebody else's code."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector.utils import batch_space

from rolltape.actors.blame import said
from rolltape.actors.policies import find_callable, load_policy
from rolltape.actors.raised import check_actions, policy_raised, reset_raised, step_raised
from rolltape.schema.errors import BadPolicy, RunFailed

TWO = batch_space(gym.spaces.Discrete(2), 2)


def broken(observations: object) -> None:
    raise ValueError("two\nlines")


def caught(function, *arguments) -> Exception:
    with pytest.raises(Exception) as raised:
        function(*arguments)
    return raised.value


class Stateful:
    def __init__(self, num_envs: int, seed: int) -> None:
        if seed < 0:
            raise KeyError("no such seed")
        self.n = num_envs

    def __call__(self, observations: object) -> np.ndarray:
        return np.zeros(self.n)


def test_the_place_is_in_the_users_code() -> None:
    line = broken.__code__.co_firstlineno + 1
    assert said(caught(broken, None)).startswith("ValueError: two lines (tests/unit/test_what_was_raised.py:")
    assert said(caught(broken, None)).endswith(f":{line}, in broken)")
    in_numpy = said(caught(lambda: np.stack([np.zeros(2), np.zeros(3)])))
    assert "test_what_was_raised.py" in in_numpy and "shape_base" not in in_numpy
    assert said(KeyError()) == "KeyError"


def test_a_policy_raised() -> None:
    error = policy_raised(broken, caught(broken, None))
    assert isinstance(error, BadPolicy)
    assert str(error).startswith("policy broken raised ValueError: two lines (")
    assert "raise ValueError" in error.__notes__[0]
    enough = BadPolicy("the sequence is over")
    assert policy_raised(broken, enough) is enough


def test_an_environment_raised() -> None:
    error = step_raised("Robot-v0", "random", caught(broken, None), np.array([0, 1]), TWO)
    assert isinstance(error, RunFailed) and str(error).endswith("in broken) in step().")
    assert str(reset_raised("Robot-v0", caught(broken, None))).startswith("Robot-v0 raised ValueError")
    concatenated = caught(gym.vector.utils.concatenate, gym.spaces.Box(0, 1, (3,)), [np.zeros(4)], np.zeros((1, 3)))
    told = str(step_raised("Robot-v0", "random", concatenated, [0, 1], TWO))
    assert told.endswith("An observation does not have the shape of the observation space.")


def test_the_policy_is_blamed_for_what_are_no_actions() -> None:
    error = step_raised("Robot-v0", "my.agents:act", caught(broken, None), np.array([0, 7]), TWO)
    assert isinstance(error, BadPolicy)
    told = "policy 'my.agents:act' returned array([0, 7]), which is not in the batched action space "
    assert str(error).startswith(f"{told}MultiDiscrete([2 2]). Robot-v0 raised ValueError")
    other_dtype = np.array([0.0, 1.0])
    assert isinstance(step_raised("Robot-v0", "random", caught(broken, None), other_dtype, TWO), RunFailed)


def test_actions_have_the_shape_of_the_batch() -> None:
    check_actions("random", [0, 1], TWO)
    check_actions("random", np.zeros((2, 3), np.float64), batch_space(gym.spaces.Box(-1, 1, (3,)), 2))
    check_actions("random", ({}, {}), batch_space(gym.spaces.Graph(gym.spaces.Box(-1, 1, (3,)), None), 2))
    check_actions("random", {"a": 1}, batch_space(gym.spaces.Dict({"a": gym.spaces.Discrete(2)}), 2))
    with pytest.raises(BadPolicy, match=r"actions of shape \(3,\), expected \(2,\): one action for each of 2"):
        check_actions("my.agents:act", [0, 1, 1], TWO)
    with pytest.raises(BadPolicy, match=r"of shape \(\)"):
        check_actions("my.agents:act", None, TWO)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("act", r"expected 'random' or 'module:callable'"),
        (":act", r"expected 'random' or 'module:callable'"),
        ("agents:", r"expected 'random' or 'module:callable'"),
        ("no_such_module_x:act", r"there is no module 'no_such_module_x'"),
        ("tests.unit.no_such_x:act", r"there is no module 'tests\.unit\.no_such_x'"),
        ("tests.unit.test_what_was_raised:brocken", r"has no 'brocken'\. Its callables: .*broken"),
        ("tests.unit.test_what_was_raised:TWO", r"is MultiDiscrete\(\[2 2\]\); expected a function"),
    ],
)
def test_a_policy_that_cannot_be_found(path: str, told: str) -> None:
    with pytest.raises(BadPolicy, match=told):
        find_callable(path)


def test_a_policy_that_is_a_class() -> None:
    space = gym.spaces.Discrete(2)
    assert load_policy(Stateful, space, space, num_envs=3, seed=1)(None).shape == (3,)
    with pytest.raises(BadPolicy, match=r"policy Stateful\(num_envs, seed\) raised KeyError: 'no such seed'"):
        load_policy(Stateful, space, space, num_envs=3, seed=-1)
    with pytest.raises(BadPolicy, match=r"cannot be called"):
        load_policy(dict, space, space, num_envs=3, seed=1)
