"""Environments for the tests with Ray; actors import them by the name of this module."""

from __future__ import annotations

import ctypes
import os
import random
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class Garden(gym.Env[Any, Any]):
    """Nested observations and actions, rewards that are not round, episodes of 3 to 30 steps, and infos of every
    kind: typed, sometimes missing, nested, text, arrays. Everything follows from the seed and the actions."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Dict(
        {
            "plants": spaces.Box(-np.inf, np.inf, (2, 3), np.float32),
            "season": spaces.Discrete(4, start=1),
            "tools": spaces.Tuple((spaces.MultiBinary(5), spaces.Box(0, 255, (2,), np.uint8))),
        }
    )
    action_space = spaces.Dict(
        {"where": spaces.MultiDiscrete([3, 4]), "water": spaces.Box(-1.0, 1.0, (1,), np.float64)}
    )

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._t, self._length, self._memory = 0, 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._t, self._memory = 0, 0.0
        self._length = int(self.np_random.integers(3, 31))
        return self._observation(), {"length": self._length, "name": f"garden {self._length}"}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._t += 1
        self._memory += float(action["water"][0]) + 0.1 * float(action["where"].sum())
        end = self._t >= self._length
        info: dict[str, Any] = {"memory": self._memory, "weight": np.float32(self._memory)}
        if self._t % 3 == 0:
            info |= {"third": self._t, "note": "ümlaut", "vector": np.arange(3) * self._t}
        if end:
            info["harvest"] = {"sum": self._memory, "length": self._t}
        reward = self._memory / 3 + float(self.np_random.normal())
        return self._observation(), reward, end and self._length % 2 == 0, end and self._length % 2 == 1, info

    def render(self) -> np.ndarray:
        picture = np.full((8, 6, 3), self._t, np.uint8)
        picture[0, 0, 0] = int(self._memory * 7) % 256
        return picture

    def _observation(self) -> Any:
        random = self.np_random
        return {
            "plants": random.normal(size=(2, 3)).astype(np.float32),
            "season": np.int64(random.integers(1, 5)),
            "tools": (random.integers(0, 2, 5).astype(np.int8), random.integers(0, 256, 2).astype(np.uint8)),
        }


def make_garden(**kwargs: Any) -> gym.Env[Any, Any]:
    """An entry point."""
    return Garden(**kwargs)


class Allotment(VectorEnv[Any, Any, Any]):
    """A native vector environment: one random state for all, nested observations, infos that come and go, nested and
    at the end, in all modes, and resets with masks. `clock` puts into each info what nobody can repeat."""

    single_observation_space = spaces.Dict(
        {"soil": spaces.Box(-np.inf, np.inf, (2,), np.float32), "season": spaces.Discrete(4)}
    )
    single_action_space = spaces.Discrete(3)

    def __init__(self, num_envs: int = 3, mode: str = "same_step", clock: bool = False) -> None:
        self.num_envs, self._clock = num_envs, clock
        self._same, self._alone = mode == "same_step", mode == "disabled"
        self.metadata = {"autoreset_mode": AutoresetMode[mode.upper()]}
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._t, self._length = np.zeros(num_envs, int), np.zeros(num_envs, int)
        self._ended = np.zeros(num_envs, bool)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self._ended[mask] = False
        infos: dict[str, Any] = {}
        for place in np.flatnonzero(mask).tolist():
            infos = self._begin(place, infos)
            self._length[place] += (options or {}).get("longer", 0)
        return self._observe(), infos

    def step(self, actions: Any) -> Any:
        infos: dict[str, Any] = {}
        resets = self._ended & (not self._same and not self._alone)
        for place in np.flatnonzero(resets).tolist():
            infos = self._begin(place, infos)
        self._t += ~resets
        rewards = np.where(resets, 0.0, self.np_random.normal(size=self.num_envs) + actions)
        ended = self._ended = ~resets & (self._t >= self._length)
        seen = self._observe()
        final: dict[str, Any] = {}
        for place in np.flatnonzero(~resets).tolist():
            info: dict[str, Any] = {"grown": float(rewards[place]) / 3, "bed": {"wet": bool(actions[place])}}
            if self._t[place] % 2:
                info["odd"] = int(self._t[place])
            if self._clock:
                info["clock"] = random.SystemRandom().random()
            if ended[place]:
                info["harvest"] = float(self._t[place])
            if ended[place] and self._same:
                final = self._add_info(final, info, place)
            else:
                infos = self._add_info(infos, info, place)
        if self._same and ended.any():
            last = np.full(self.num_envs, None, object)
            for place in np.flatnonzero(ended).tolist():
                last[place] = {key: value[place].copy() for key, value in seen.items()}
                infos = self._begin(place, infos)
            infos |= {"final_obs": last, "_final_obs": ended.copy(), "final_info": final, "_final_info": ended.copy()}
            fresh = self._observe()
            seen = {key: np.where(ended.reshape(-1, *[1] * (v.ndim - 1)), fresh[key], v) for key, v in seen.items()}
        return seen, rewards, ended & (self._length % 2 == 0), ended & (self._length % 2 == 1), infos

    def _begin(self, place: int, infos: dict[str, Any]) -> dict[str, Any]:
        self._t[place], self._length[place] = 0, self.np_random.integers(3, 9)
        return self._add_info(infos, {"planned": int(self._length[place])}, place)

    def _observe(self) -> dict[str, np.ndarray]:
        soil = self.np_random.normal(size=(self.num_envs, 2)).astype(np.float32)
        return {"soil": soil, "season": self.np_random.integers(0, 4, self.num_envs)}


class LateInfo(gym.Wrapper[Any, Any, Any, Any]):
    """Infos only with the last step of an episode, as RecordEpisodeStatistics gives them; CartPole's have none."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self._sum = 0.0

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self._sum = 0.0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, _ = self.env.step(action)
        self._sum += float(reward)
        return observation, reward, terminated, truncated, {"score": self._sum} if terminated or truncated else {}


class Paced(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole that takes `step_s` seconds a step, so that a run lasts as long on every machine."""

    def __init__(self, step_s: float = 0.001) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self._step_s = step_s

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        time.sleep(self._step_s)
        return self.env.step(action)


class Chatty(Paced):
    """Its infos have the key `early` until the file `later` exists, then the key `late`."""

    def __init__(self, later: str) -> None:
        super().__init__(0.001)
        self._later = Path(later)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        *result, _ = super().step(action)
        return (*result, {"late": 1.5} if self._later.exists() else {"early": 7})  # type: ignore[return-value]


class Fragile(Paced):
    """Does something terrible at step `at` of its process.

    Args:
        how: `exit`, `segfault`, `raise`, or `hang`.
        once: a file; where it exists nothing happens any more, and it is made before the terrible thing.
    """

    def __init__(self, how: str, at: int, once: str | None = None, step_s: float = 0.001) -> None:
        super().__init__(step_s)
        self._how, self._at, self._once, self._steps = how, at, once, 0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._steps == self._at and not (self._once and Path(self._once).exists()):
            if self._once:
                Path(self._once).touch()
            if self._how == "exit":
                os._exit(7)
            if self._how == "segfault":
                ctypes.string_at(0)
            if self._how == "hang":
                time.sleep(3600)
            raise ZeroDivisionError("the pole fell through the floor")
        return super().step(action)


class Unlucky(Paced):
    """Its n-th process exits at step `plan[n]`; later ones live. The n-th made a file in `folder`."""

    def __init__(self, plan: list[int], folder: str, step_s: float = 0.001) -> None:
        super().__init__(step_s)
        self._plan, self._folder, self._steps, self._at = plan, Path(folder), 0, 0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._steps == 1:
            life = len(list(self._folder.iterdir()))
            (self._folder / str(life)).touch()
            self._at = self._plan[life] if life < len(self._plan) else 0
        if self._steps == self._at:
            os._exit(7)
        return super().step(action)


class Stillborn(gym.Wrapper[Any, Any, Any, Any]):
    """Can be made in the process `parent`, which asks for its spaces, and nowhere else."""

    def __init__(self, how: str, parent: int) -> None:
        super().__init__(gym.make("CartPole-v1"))
        if os.getpid() != parent:
            if how == "exit":
                os._exit(7)
            raise OSError("no licence on this machine")


def fragile(**kwargs: Any) -> gym.Env[Any, Any]:
    """An entry point."""
    return Fragile(**kwargs)


def pause_and_balance(observations: np.ndarray) -> np.ndarray:
    """A policy that takes two milliseconds a step and keeps poles up for a while."""
    time.sleep(0.002)
    return (observations[:, 2] + 0.3 * observations[:, 3] > 0).astype(np.int64)


def policy_that_raises(observations: np.ndarray) -> np.ndarray:
    """A policy with a bug."""
    raise KeyError("no such weight")
