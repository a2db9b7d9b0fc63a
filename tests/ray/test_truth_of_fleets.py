"""A fleet records exactly what plain environments give for the recorded seeds and actions."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rolltape.actors.fleet import Fleet

from .environments import Garden, LateInfo
from .readback import Found, read_back
from .rules import check_end, check_recording
from .truth import check_alone, check_batch, stories

pytestmark = pytest.mark.usefixtures("ray_session")

AUTORESET = ("next_step", "same_step", "disabled")


def recorded(env: Any, lake: Path, *, steps: int, num_envs: int = 4, policy: Any = "random", **kwargs: Any) -> Found:
    """Record, check what holds of every recording, and give back the rows."""
    with Fleet(env, num_envs, lake, **kwargs) as fleet:
        run = fleet.collect(steps=steps, policy=policy)
        assert run.run_id == fleet.run_id
    found = read_back(lake / "runs" / fleet.run_id)
    info = json.loads((found.run / "run.json").read_text())
    check_recording(found, num_envs=None if info["env"]["vectorization"] == "native" else num_envs)
    end = check_end(found, fleet.summary)
    assert end["status"] == "completed"
    assert end["lost_steps"] == end["restarts"] == end["resent"] == 0
    assert steps <= end["steps"] < steps + num_envs
    return found


@pytest.mark.parametrize(
    ("autoreset", "workers"),
    [(mode, 2) for mode in AUTORESET]
    + [("same_step", 1), *(pytest.param(mode, 1, marks=pytest.mark.long) for mode in ("next_step", "disabled"))],
)
def test_cartpole(lake: Path, autoreset: Any, workers: int) -> None:
    found = recorded(
        "CartPole-v1", lake, steps=900, num_workers=workers, vectorization="sync", autoreset=autoreset, seed=workers
    )
    told = stories(found)
    statuses = Counter(story.row["status"] for story in told.values())
    assert statuses["completed"] > 20
    assert statuses["aborted"] <= 4
    with gym.make("CartPole-v1") as env:
        for story in told.values():
            check_alone(story, env)


@pytest.mark.parametrize("workers", [1, 2])
def test_native_cartpole_is_its_batch(lake: Path, workers: int) -> None:
    found = recorded("CartPole-v1", lake, steps=1500, num_envs=6, num_workers=workers, vectorization="native", seed=5)
    told = stories(found)
    for worker in range(workers):
        places = sorted({s.row["sub_env"] for s in told.values() if s.row["worker"] == worker})
        assert len(places) == 6 // workers
        env = gym.make_vec("CartPole-v1", num_envs=len(places), vectorization_mode="vector_entry_point")
        check_batch(told, places, env)


def test_a_native_environment_is_chosen_where_it_is_equal(lake: Path) -> None:
    found = recorded("CartPole-v1", lake, steps=100, num_workers=1)
    assert json.loads((found.run / "run.json").read_text())["env"]["vectorization"] == "native"


@pytest.mark.parametrize("autoreset", AUTORESET)
def test_nested_spaces_odd_infos_and_renders(lake: Path, autoreset: Any) -> None:
    found = recorded(
        Garden, lake, steps=500, num_envs=3, num_workers=1, autoreset=autoreset, frames={"policy": "render", "every": 4}
    )
    told = stories(found)
    assert sum(story.row["status"] == "completed" for story in told.values()) > 10
    env = Garden(render_mode="rgb_array")
    for story in told.values():
        check_alone(story, env, render_every=4, numbers=True)


@pytest.mark.parametrize(("env_id", "kwargs"), [("FrozenLake-v1", {"is_slippery": True}), ("Taxi-v4", {})])
def test_discrete_observations(lake: Path, env_id: str, kwargs: dict[str, Any]) -> None:
    found = recorded(env_id, lake, steps=900, env_kwargs=kwargs, num_workers=1, autoreset="same_step")
    with gym.make(env_id, **kwargs) as env:
        for story in stories(found).values():
            check_alone(story, env, numbers=True)


@pytest.mark.parametrize("autoreset", AUTORESET)
def test_breakout_frames(lake: Path, autoreset: Any) -> None:
    if importlib.util.find_spec("ale_py") is None:
        pytest.skip("ale-py is not installed: pip install rolltape[atari]")
    kwargs = {"frameskip": 30, "repeat_action_probability": 0.25}  # short episodes, and chance that the seed decides
    found = recorded(
        "ALE/Breakout-v5", lake, steps=260, num_envs=2, num_workers=1, env_kwargs=kwargs, autoreset=autoreset
    )
    told = stories(found)
    assert sum(story.row["status"] == "completed" for story in told.values()) >= 2
    with gym.make("ALE/Breakout-v5", **kwargs) as env:
        for story in told.values():
            check_alone(story, env, numbers=True)


def test_an_entry_point(lake: Path) -> None:
    source = "tests.ray.environments:make_garden"
    found = recorded(source, lake, steps=120, num_envs=2, num_workers=1)
    for story in stories(found).values():
        check_alone(story, Garden(), numbers=True)
        assert story.row["env_id"] == source


def test_a_callable_of_the_script(lake: Path) -> None:
    floor = 0.25

    class Walk(gym.Env[Any, Any]):
        observation_space = gym.spaces.Box(-1e9, 1e9, (1,), np.float64)
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            self.at = floor + self.np_random.random(1)
            return self.at.copy(), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            self.at += (2 * int(action) - 1) * self.np_random.random()
            return self.at, float(self.at[0]), abs(self.at[0]) > 2, False, {}

    found = recorded(Walk, lake, steps=200, num_envs=2, num_workers=1)
    for story in stories(found).values():
        check_alone(story, Walk())


def test_infos_that_come_late(lake: Path) -> None:
    """The first fragments have no infos at all, because the first episodes last longer."""
    found = recorded(
        LateInfo, lake, steps=400, num_envs=2, num_workers=2, fragment={"max_rows": 5}, policy=np.zeros((1000, 1), int)
    )
    for story in stories(found).values():
        check_alone(story, LateInfo(), numbers=True)


def test_collect_goes_on_where_it_was(lake: Path) -> None:
    """Two calls record what one records: episodes stay open between them, and the policy goes on."""
    parts = []
    for sizes in ((300, 300), (600,)):
        with Fleet("CartPole-v1", 2, lake, num_workers=1, vectorization="sync", seed=3) as fleet:
            for steps in sizes:
                fleet.collect(steps=steps)
        found = read_back(lake / "runs" / fleet.run_id)
        check_recording(found, num_envs=2)
        parts.append(found)
    one, other = (stories(found) for found in parts)
    assert one.keys() == other.keys()
    for number, story in one.items():
        assert story.actions == other[number].actions
        assert story.rewards == other[number].rewards


def test_episodes_are_counted(lake: Path) -> None:
    with Fleet("CartPole-v1", 4, lake, num_workers=2, vectorization="sync") as fleet:
        fleet.collect(episodes=10)
        fleet.collect(steps=100_000, episodes=6)
    found = read_back(lake / "runs" / fleet.run_id)
    check_recording(found, num_envs=4)
    assert 16 <= Counter(found.column("episodes", "status"))["completed"] < 16 + 2 * 4
