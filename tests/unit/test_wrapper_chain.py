"""The wrappers around an environment: kept with their arguments, made again, or named."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers as w
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import vector as wv

from rolltape.actors.described import described, inner_spec
from rolltape.actors.remaking import recipe_of
from rolltape.actors.wrapper_chain import again, lost, told_spec
from rolltape.schema.errors import EnvError, UnknownEnvironment


def half(reward: float) -> float:
    """Can be imported, so that it is kept by its name."""
    return reward / 2


class Plain(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps no arguments, and takes none."""


class Sized(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps no arguments, and takes one."""

    def __init__(self, env: Any, size: int) -> None:
        super().__init__(env)


def through_json(env: gym.Env[Any, Any]) -> tuple[str | None, list[dict[str, Any]]]:
    text, layers = told_spec(env.spec)
    return text, json.loads(json.dumps(layers))


def test_arguments_come_back_as_what_they_were() -> None:
    box = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    env = w.TransformReward(Plain(gym.make("CartPole-v1", max_episode_steps=77)), half)
    env = w.TransformObservation(w.NormalizeReward(env, gamma=0.5), np.negative, box)
    text, layers = through_json(env)
    assert not lost(layers) and text is not None
    assert [layer["name"] for layer in layers] == [
        "Plain",
        "TransformReward",
        "NormalizeReward",
        "TransformObservation",
    ]
    made = gym.make(EnvSpec.from_json(text))
    for wrap in again(layers):
        made = wrap(made)
    assert str(made) == str(env) and made.observation_space == box
    assert made.env.gamma == 0.5 and made.func is np.negative and made.env.env.func is half
    for one in (env, made):
        one.reset(seed=3)
    assert [v.tobytes() if isinstance(v, np.ndarray) else v for v in made.step(0)[:2]] == [
        v.tobytes() if isinstance(v, np.ndarray) else v for v in env.step(0)[:2]
    ]


def test_arrays_tuples_and_text() -> None:
    env = w.RescaleObservation(gym.make("MountainCar-v0"), np.float32(-1), np.array([1, 2], np.float32))
    _, (layer,) = through_json(env)
    (wrap,) = again([layer])
    again_made = wrap(gym.make("MountainCar-v0"))
    assert again_made.observation_space == env.observation_space


def test_what_cannot_be_made_again_is_named() -> None:
    class Local(gym.Wrapper[Any, Any, Any, Any]):
        pass

    env = w.TransformReward(Local(Sized(gym.make("CartPole-v1"), 3)), lambda reward: reward)
    text, layers = through_json(env)
    assert text is not None
    sized, local, transform = lost(layers)
    assert sized.startswith("Sized (it keeps no arguments")
    assert "cannot be imported" in local and "func = <function" in transform


def test_a_wrapper_that_is_gone_here() -> None:
    layer = {"name": "Gone", "entry_point": "nowhere:Gone", "kwargs": {}}
    with pytest.raises(EnvError, match=r"The wrapper Gone \(nowhere:Gone\) is not here"):
        again([layer])[0](gym.make("CartPole-v1"))
    layer = {"name": "TimeLimit", "entry_point": "gymnasium.wrappers:TimeLimit", "kwargs": {"max_episode_steps": "x"}}
    with pytest.raises(EnvError, match=r"cannot be made again with \{'max_episode_steps': 'x'\}"):
        again([layer])[0](gym.make("CartPole-v1"))


def test_wrappers_of_vector_environments() -> None:
    base = SyncVectorEnv([lambda: w.NormalizeReward(gym.make("CartPole-v1"), gamma=0.25)] * 2)
    env = wv.NormalizeObservation(base, epsilon=0.5)
    found = described(env)
    assert found["vector_wrappers"] == ["NormalizeObservation"]
    assert found["vector_wrapper_arguments"] == [{"epsilon": 0.5}]
    assert [layer["kwargs"]["gamma"] for layer in found["wrappers"]] == [0.25]
    assert inner_spec(env).id == "CartPole-v1"
    env.close()


def test_a_replay_names_the_wrappers_that_it_cannot_make() -> None:
    env = w.TransformReward(Sized(gym.make("CartPole-v1"), 3), lambda reward: reward)
    text, layers = through_json(env)
    info = {"env_id": "CartPole-v1", "env": {"source": None, "spec": text, "metadata": {"wrappers": layers}}}
    run: Any = SimpleNamespace(run_id="01X", info=info)
    with pytest.raises(UnknownEnvironment, match=r"cannot be made again: Sized \(.*; TransformReward \(.*--make"):
        recipe_of(run)
    assert recipe_of(run, make="a:b").wrappers == ()
