"""Users' loops, and what they see; the same loop runs with and without a recorder.

What was seen is put in order here, by Gymnasium's documentation of the autoreset modes, without Rolltape.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from tests.sameness import assert_same

from .readback import Found
from .truth import Story, assert_infos, stories


@dataclass
class Seen:
    """One episode as a loop saw it: one more observation than actions, where it has come to its end."""

    seed: int | None
    reset_info: dict[str, Any]
    observations: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    ends: list[tuple[bool, bool]] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)

    def add(self, action: Any, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> None:
        self.actions.append(copy.deepcopy(action))
        self.observations.append(copy.deepcopy(observation))
        self.rewards.append(float(reward))
        self.ends.append((bool(terminated), bool(truncated)))
        self.infos.append(copy.deepcopy(info))


def async_vector(makes: Sequence[Callable[[], gym.Env[Any, Any]]], **kwargs: Any) -> VectorEnv[Any, Any, Any]:
    """Sub-environments in fresh processes: one that is forked while Ray's threads run may crash at once."""
    return AsyncVectorEnv(makes, context="forkserver", **kwargs)


def single_loop(env: gym.Env[Any, Any], steps: int, *, seed: int | None, options: Any = None) -> list[Seen]:
    """The loop of every tutorial: the first reset is seeded, later ones are not; the last episode stays open."""
    env.action_space.seed(11)
    observation, info = env.reset(seed=seed, options=options)
    episodes = [Seen(seed, copy.deepcopy(info), [copy.deepcopy(observation)])]
    for _ in range(steps):
        action = env.action_space.sample()
        result = env.step(action)
        episodes[-1].add(action, *result)
        if result[2] or result[3]:
            observation, info = env.reset()
            episodes.append(Seen(None, copy.deepcopy(info), [copy.deepcopy(observation)]))
    return episodes


def vector_loop(envs: VectorEnv[Any, Any, Any], steps: int, *, seed: int) -> list[list[Seen]]:
    """A loop over a vector environment; the episodes of each sub-environment in order."""
    mode, n = envs.metadata["autoreset_mode"], envs.num_envs
    envs.action_space.seed(13)
    observations, infos = envs.reset(seed=seed)
    told = [[Seen(seed + i, _info(infos, i), [value])] for i, value in enumerate(_values(envs, observations))]
    ended = np.zeros(n, bool)
    for _ in range(steps):
        actions = envs.action_space.sample()
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        each = list(zip(_each(envs.action_space, actions), _values(envs, observations), strict=True))
        before, ended = ended, terminated | truncated
        for i, (action, value) in enumerate(each):
            if mode is AutoresetMode.NEXT_STEP and before[i]:
                told[i].append(Seen(None, _info(infos, i), [value]))
                continue
            last, info = value, _info(infos, i)
            if mode is AutoresetMode.SAME_STEP and ended[i]:
                last, info = infos["final_obs"][i], _info(infos["final_info"], i)
            told[i][-1].add(action, last, rewards[i], terminated[i], truncated[i], info)
            if mode is AutoresetMode.SAME_STEP and ended[i]:
                told[i].append(Seen(None, _info(infos, i), [value]))
        if mode is AutoresetMode.NEXT_STEP:
            ended &= ~before
        if mode is AutoresetMode.DISABLED and ended.any():
            observations, infos = envs.reset(options={"reset_mask": ended.copy()})
            for i, value in enumerate(_values(envs, observations)):
                if ended[i]:
                    told[i].append(Seen(None, _info(infos, i), [value]))
    return told


def _values(envs: VectorEnv[Any, Any, Any], batch: Any) -> list[Any]:
    return [copy.deepcopy(value) for value in _each(envs.observation_space, batch)]


def _each(space: Any, batch: Any) -> Iterable[Any]:
    return iterate(space, batch)


def _info(infos: dict[str, Any], place: int) -> dict[str, Any]:
    return {
        key: copy.deepcopy(value[place])
        for key, value in infos.items()
        if not key.startswith("_") and key not in ("final_obs", "final_info") and infos[f"_{key}"][place]
    }


def assert_same_loops(found: Any, expected: Any) -> None:
    """Two loops saw the same bits."""
    if isinstance(expected, list) and expected and isinstance(expected[0], Seen | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same_loops(one, other)
        return
    for name in ("observations", "actions", "rewards", "ends"):
        assert_same(getattr(found, name), getattr(expected, name), name)
    assert repr(found.infos) == repr(expected.infos)
    assert repr(found.reset_info) == repr(expected.reset_info)


def check_seen(found: Found, told: list[list[Seen]], *, stride: int | None = None) -> dict[int, Story]:
    """The recording holds exactly what the loop saw: every episode of every sub-environment, nothing else."""
    recorded = stories(found)
    stride = stride or len(told)
    numbers = {place + stride * k: seen for place, line in enumerate(told) for k, seen in enumerate(line)}
    assert recorded.keys() == numbers.keys()
    for number, seen in numbers.items():
        story = recorded[number]
        row = story.row
        at = f"episode {number}"
        assert row["length"] == len(seen.actions), at
        assert row["status"] == ("completed" if seen.ends and any(seen.ends[-1]) else "aborted"), at
        assert story.rewards == seen.rewards, at
        assert story.ends == seen.ends, at
        assert_same([np.asarray(a) for a in _flat(story.actions)], [np.asarray(a) for a in _flat(seen.actions)], at)
        pictures = story.pictures.get("observation")
        values = [pictures[t] for t in sorted(pictures)] if pictures else story.observations
        assert len(values) == len(seen.observations) == len(seen.actions) + 1, at
        for t, (one, other) in enumerate(zip(values, seen.observations, strict=True)):
            if isinstance(one, np.generic):
                other = one.dtype.type(other)
            assert_same(one, other, f"{at} observation {t}")
        for one, other in zip(story.infos, seen.infos, strict=True):
            assert_infos(one, other)
    return recorded


def _flat(actions: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for action in actions:
        flat += [np.asarray(v) for v in action.values()] if isinstance(action, dict) else [np.asarray(action)]
    return flat
