"""What validation counts is in the recording: a recorder that warns, a recorder that refuses, a Fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rolltape as rt
from rolltape.schema.errors import RolltapeError, SchemaMismatch

pytestmark = pytest.mark.usefixtures("ray_session")
QUICK: dict[str, Any] = {"commit": {"durability": "process", "max_age_s": 0.1}, "fragment": {"max_age_s": 0.05}}


class Leaky(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole whose every third step has a NaN, and whose rewards are infinite now and then."""

    steps = 0

    def step(self, action: Any) -> Any:
        observation, reward, *rest = self.env.step(action)
        self.steps += 1
        if self.steps % 3 == 0:
            observation = np.where(np.arange(4) == 1, np.nan, observation).astype(np.float32)
        return observation, float("inf") if self.steps % 10 == 0 else reward, *rest


def leaky() -> gym.Env[Any, Any]:
    return Leaky(gym.make("CartPole-v1"))


def run(env: Any, steps: int) -> None:
    env.action_space.seed(1)
    env.reset(seed=1)
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()


def test_a_recorder_that_warns(lake: Path) -> None:
    env = rt.record(leaky(), lake, validation="warn", **QUICK)
    run(env, 60)
    env.close()
    assert env.summary is not None
    assert env.summary.mismatches == {"observation_nan": 20, "reward_infinite": 6}
    opened = rt.open(lake)
    assert opened.mismatches().select("code", "field", "count").fetchall() == [
        ("observation_nan", "observation[1]", 20),
        ("reward_infinite", "reward", 6),
    ]
    (row,) = opened.adoption().to_dicts()
    assert (row["payload_version"], row["steps"], row["mismatches"]) == (1, 60, 26)
    assert opened.run().info["config"]["validation"] == "warn"


def test_a_recorder_that_refuses_and_goes_on(lake: Path) -> None:
    env = rt.record(leaky(), lake, validation="enforce", **QUICK)
    env.reset(seed=1)
    for _ in range(2):
        env.step(0)
    with pytest.raises(SchemaMismatch, match=r"observation\[1\]: found nan, allowed is -inf to inf"):
        env.step(0)
    env.reset(seed=2)
    env.step(1)
    env.close()
    found = rt.open(lake).episodes().order("episode").to_dicts()
    assert [(row["status"], row["length"]) for row in found] == [("aborted", 2), ("aborted", 1)]
    assert rt.open(lake).mismatches().select("code", "count").fetchall() == [("observation_nan", 1)]


class LeakyFromTheStart(gym.ObservationWrapper[Any, Any, Any]):
    """Gives NaN at once."""

    def observation(self, observation: Any) -> Any:
        return np.full_like(observation, np.nan)


def test_what_is_refused_after_the_last_row_is_counted(lake: Path) -> None:
    env = rt.record(LeakyFromTheStart(gym.make("CartPole-v1")), lake, validation="enforce", **QUICK)
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match=r"observation\[0\]: found nan"):
            env.reset(seed=1)
    env.close()
    assert env.summary is not None and env.summary.mismatches == {"observation_nan": 2}
    assert rt.open(lake).mismatches().select("code", "count").fetchall() == [("observation_nan", 2)]


@pytest.mark.long
def test_a_fleet_warns_and_fails(lake: Path) -> None:
    make = "tests.ray.test_validation_recorded:leaky"
    with rt.Fleet(make, num_envs=2, num_workers=1, lake=lake, validation="warn", **QUICK) as fleet:
        fleet.collect(steps=40)
    assert fleet.summary is not None and set(fleet.summary.mismatches) == {"observation_nan", "reward_infinite"}
    said = rt.open(lake).run().logs("code in ('LOG7001', 'LOG7002')").to_dicts()
    assert {row["level"] for row in said} == {"warning"}
    assert {row["worker"] for row in said} == {0, None} and said[-1]["code"] == "LOG7002", "at its end once more"
    with rt.Fleet(make, num_envs=2, num_workers=1, lake=lake, validation="off", **QUICK) as fleet:
        fleet.collect(steps=40)
    assert fleet.summary is not None and set(fleet.summary.mismatches) == {"reward_infinite"}, "rewards are always loud"
    with pytest.raises(RolltapeError, match=r"observation\[1\] of sub-environment 0: found nan"):
        with rt.Fleet(make, num_envs=2, num_workers=1, lake=lake, validation="enforce", **QUICK) as fleet:
            fleet.collect(steps=40)
    assert rt.open(lake).run().status == "failed"
