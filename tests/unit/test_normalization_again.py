"""Recorded statistics of normalizing wrappers are put back as the wrapper had them."""

from __future__ import annotations

import gc
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers as w

from rolltape.actors.normalization import find_statistics
from rolltape.actors.normalization_again import OLDER, RecordedStatistics

TENTH = float(np.float32(0.1))
OBSERVATION: dict[str, Any] = {
    "episode": 3, "place": 0, "wrapper": "NormalizeObservation", "target": "observation", "entry": None,
    "updating": True, "shape": [4], "mean": [TENTH] * 4, "var": [2.0] * 4, "count": 7.0001, "dtype": "float32",
    "discounted": None,
}  # fmt: skip
REWARD = OBSERVATION | {
    "wrapper": "NormalizeReward", "target": "reward", "shape": [], "mean": [0.5], "var": [4.0], "dtype": "float64",
    "discounted": [2.5],
}  # fmt: skip


class Recorded:
    """As much of a run as is asked for."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows = rows

    def parts(self, table: str) -> list[str]:
        return [table]

    def normalization(self, where: str) -> Recorded:
        return self

    def order(self, *by: str) -> Recorded:
        return self

    def to_dicts(self) -> list[dict[str, Any]]:
        return list(self._rows)


def put_back(env: Any, *rows: dict[str, Any]) -> tuple[str, Any]:
    """Why episode 3 cannot begin, or its first observation."""
    run: Any = Recorded(*rows)
    recorded = RecordedStatistics(run, [3], env)
    if reason := recorded.lacks(3):
        return reason, None
    with recorded.put_back(env, 3):
        return "", env.reset(seed=1)[0]


def normalized(**kwargs: Any) -> Any:
    return w.NormalizeObservation(gym.make("CartPole-v1", **kwargs))


@pytest.mark.parametrize("updating", [True, False])
def test_they_are_held_still_for_the_reset_and_then_go_on_as_they_did(updating: bool) -> None:
    env = normalized()
    reason, seen = put_back(env, OBSERVATION | {"updating": updating})
    plain, _ = env.unwrapped.reset(seed=1)
    assert not reason and seen.tobytes() == ((plain - np.float32(TENTH)) / np.sqrt(np.float32(2.0) + 1e-8)).tobytes()
    assert (env.obs_rms.mean.dtype, env.obs_rms.count, env.update_running_mean) == (np.float32, 7.0001, updating)
    env.step(0)
    assert env.obs_rms.count == (8.0001 if updating else 7.0001)


def test_a_reward_wrapper_carries_its_discounted_sum_on() -> None:
    env = w.NormalizeReward(normalized(), gamma=0.5)
    assert put_back(env, OBSERVATION, REWARD)[0] == ""
    assert env.discounted_reward.tolist() == [2.5] and (env.return_rms.mean, env.return_rms.var) == (0.5, 4.0)
    env.step(0)
    assert env.discounted_reward.tolist() == [2.25]


def test_the_outermost_of_a_kind_has_the_outermost_statistics() -> None:
    env = w.NormalizeObservation(normalized())
    assert put_back(env, OBSERVATION, OBSERVATION | {"place": 1, "count": 9.0})[0] == ""
    assert (env.obs_rms.count, env.env.obs_rms.count) == (7.0001, 9.0)


class Unheld(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps statistics that nobody can freeze."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.obs_rms = w.utils.RunningMeanStd(shape=(4,))


def test_what_is_not_there_is_said() -> None:
    assert "NormalizeReward (reward) at its beginning were not" in put_back(w.NormalizeReward(normalized()))[0]
    assert put_back(normalized(), OBSERVATION | {"dtype": None})[0] == OLDER
    assert put_back(w.NormalizeReward(normalized()), OBSERVATION, REWARD | {"discounted": None})[0] == OLDER
    assert "no update_running_mean or training" in put_back(
        Unheld(gym.make("CartPole-v1")), OBSERVATION | {"wrapper": "Unheld"}
    )[0]


class Slotted:
    __slots__ = ("obs_rms",)

    def __init__(self) -> None:
        self.obs_rms = None


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 gives no dict away")
def test_looking_for_statistics_leaves_attributes_where_they_are() -> None:
    env, other = gym.make("CartPole-v1"), gym.make("CartPole-v1")
    assert not find_statistics(env)
    assert gc.get_referents(env.unwrapped).count(env.unwrapped) == 0
    held = [type(found) for found in gc.get_referents(env.unwrapped)]
    plain = [type(found) for found in gc.get_referents(other.unwrapped)]
    assert sorted(map(str, held)) == sorted(map(str, plain)), "with a dict of its own, every step costs more"
    assert vars(other.unwrapped) is not None
    assert sorted(map(str, [type(found) for found in gc.get_referents(other.unwrapped)])) != sorted(map(str, held))


def test_what_has_no_attributes_of_its_own_has_no_statistics() -> None:
    slotted: Any = Slotted()
    assert find_statistics(slotted) == []
    assert [one.wrapper for one in find_statistics(normalized())] == ["NormalizeObservation"]
