"""`rolltape.record` changes nothing in the user's loop and records exactly what the loop saw."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rolltape.actors.recorded_env import record

from .environments import Garden
from .loops import Seen, assert_same_loops, async_vector, check_seen, single_loop, vector_loop
from .readback import Found, read_back
from .rules import check_end, check_recording
from .truth import check_alone, check_batch, compare

pytestmark = pytest.mark.usefixtures("ray_session")

MODES = list(AutoresetMode)


def finished(env: Any, lake: Path, *, num_envs: int | None) -> Found:
    env.close()
    found = read_back(lake / "runs" / env.run_id)
    check_recording(found, num_envs=num_envs)
    end = check_end(found, env.summary)
    assert (end["status"], end["resent"], end["lost_steps"]) == ("completed", 0, 0)
    return found


def single(make: Callable[[], gym.Env[Any, Any]], lake: Path, steps: int, **kwargs: Any) -> tuple[Found, list[Seen]]:
    """Record a single environment, after the same loop without a recorder."""
    seed = kwargs.pop("seed", 3)
    options = kwargs.pop("options", None)
    with make() as plain:
        expected = single_loop(plain, steps, seed=seed, options=options)
    env = record(make(), lake, **kwargs)
    seen = single_loop(env, steps, seed=seed, options=options)
    assert_same_loops(seen, expected)
    found = finished(env, lake, num_envs=1)
    check_seen(found, [seen])
    return found, seen


def test_cartpole(lake: Path) -> None:
    found, seen = single(lambda: gym.make("CartPole-v1"), lake, 600)
    rows = sorted(found.rows("episodes"), key=lambda row: row["episode"])
    assert [row["replay"] for row in rows] == ["alone"] + ["forward"] * (len(seen) - 1)
    assert {(row["seed"], row["seed_episode"]) for row in rows} == {(3, 0)}


def test_every_episode_replays_forward_from_its_seed(lake: Path) -> None:
    """One environment, reset with the recorded seed and then stepped through every recorded action, gives it all."""
    found, _ = single(Garden, lake, 300, options={"level": 3})
    told = sorted(_told(found).items())
    env = Garden()
    for number, story in told:
        observation, _ = env.reset(seed=story.row["seed"] if number == 0 else None)
        compare(story, env, observation)


def _told(found: Found) -> Any:
    from .truth import stories

    return stories(found)


def test_never_seeded(lake: Path) -> None:
    env = record(gym.make("CartPole-v1"), lake)
    seen = single_loop(env, 100, seed=None)
    found = finished(env, lake, num_envs=1)
    check_seen(found, [seen])
    assert {(row["replay"], row["seed"], row["seed_episode"]) for row in found.rows("episodes")} == {
        ("none", None, None)
    }


def test_every_reset_seeded_and_renders(lake: Path) -> None:
    env = record(Garden(render_mode="rgb_array"), lake, frames={"policy": "render", "every": 2})
    for seed in (5, 6, 7):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        while True:
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                break
    found = finished(env, lake, num_envs=1)
    told = _told(found)
    assert [story.row["seed"] for _, story in sorted(told.items())] == [5, 6, 7]
    for story in told.values():
        check_alone(story, Garden(render_mode="rgb_array"), render_every=2)


def test_breakout(lake: Path) -> None:
    if importlib.util.find_spec("ale_py") is None:
        pytest.skip("ale-py is not installed: pip install rolltape[atari]")
    import ale_py

    gym.register_envs(ale_py)
    single(lambda: gym.make("ALE/Breakout-v5", frameskip=30), lake, 150)


@pytest.mark.parametrize("mode", MODES)
def test_sync_vectors(lake: Path, mode: AutoresetMode) -> None:
    def make() -> SyncVectorEnv:
        return SyncVectorEnv([lambda: gym.make("Taxi-v4", max_episode_steps=40)] * 3, autoreset_mode=mode)

    vectors(make, lake, 150)


@pytest.mark.parametrize("mode", MODES)
def test_async_vectors(lake: Path, mode: AutoresetMode) -> None:
    vectors(lambda: async_vector([lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=mode), lake, 200)


def test_vectors_of_nested_spaces(lake: Path) -> None:
    """The environment reuses its arrays: a recorder copies."""
    vectors(lambda: SyncVectorEnv([_plain_garden] * 3, copy=False), lake, 150)


def test_a_vector_of_one(lake: Path) -> None:
    """Its rows lie contiguously, so that a view would be overwritten by the next fragment."""
    vectors(lambda: SyncVectorEnv([lambda: gym.make("CartPole-v1")]), lake, 300, fragment={"max_rows": 7})


def vectors(make: Callable[[], Any], lake: Path, steps: int, **config: Any) -> None:
    """Record a vector environment whose sub-environments have random states of their own."""
    plain = make()
    expected = vector_loop(plain, steps, seed=21)
    plain.close()
    envs = record(make(), lake, **config)
    told = vector_loop(envs, steps, seed=21)
    assert_same_loops(told, expected)
    found = finished(envs, lake, num_envs=None)
    recorded = check_seen(found, told)
    for place, line in enumerate(told):
        rows = [recorded[place + envs.num_envs * k].row for k in range(len(line))]
        assert [row["replay"] for row in rows] == ["alone"] + ["forward"] * (len(line) - 1)
        assert {(row["seed"], row["seed_episode"]) for row in rows} == {(21 + place, place)}


def test_native_vectors(lake: Path) -> None:
    def make() -> Any:
        return gym.make_vec("CartPole-v1", num_envs=5, vectorization_mode="vector_entry_point")

    expected = vector_loop(make(), 150, seed=2)
    envs = record(make(), lake)
    told = vector_loop(envs, 150, seed=2)
    assert_same_loops(told, expected)
    found = finished(envs, lake, num_envs=None)
    recorded = check_seen(found, told)
    assert {story.row["seed"] for story in recorded.values()} == {2}
    check_batch(recorded, range(5), make())


def test_wrappers_and_the_outermost_values(lake: Path) -> None:
    """What the outermost wrapper gives is recorded; infos of RecordEpisodeStatistics come with the last step."""

    def make() -> gym.Env[Any, Any]:
        env = gym.wrappers.RecordEpisodeStatistics(gym.make("Pendulum-v1", max_episode_steps=25))
        return gym.wrappers.TransformReward(gym.wrappers.RescaleAction(env, -1, 1), lambda r: r / 3)

    def without_time(seen: list[Seen]) -> list[Seen]:
        for episode in seen:
            for info in episode.infos:
                info.get("episode", {}).pop("t", None)
        return seen

    expected = without_time(single_loop(make(), 120, seed=1))
    env = record(make(), lake, fragment={"max_rows": 10})
    seen = single_loop(env, 120, seed=1)
    found = finished(env, lake, num_envs=1)
    check_seen(found, [seen])
    assert_same_loops(without_time(seen), expected)
    assert sum("episode" in info for story in _told(found).values() for info in story.infos) == 4


def _plain_garden() -> Garden:
    class Plain(Garden):  # infos whose types a vector environment keeps
        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated, truncated, {"memory": info["memory"], "vector": np.arange(3) * 0.5}

        def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
            return super().reset(**kwargs)[0], {}

    return Plain()
