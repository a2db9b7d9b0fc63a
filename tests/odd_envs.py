"""Small environments for tests: every kind of space, infos of every kind, and habits that a recorder must survive.

All are deterministic: what they return follows from the seeds of their resets and the actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces as gs
from gymnasium.vector import AutoresetMode, VectorEnv

DICT = gs.Dict(
    position=gs.Box(-1.0, 1.0, (2,), np.float64),
    lives=gs.Discrete(4, start=-1),
    seen=gs.MultiBinary(3),
    deep=gs.Tuple([gs.Box(0, 255, (2, 2), np.uint8), gs.Dict({"b": gs.Discrete(3), "a": gs.MultiDiscrete([3, 2])})]),
)
OBJECTS = gs.Dict(
    said=gs.Text(6, min_length=0, charset="aß雪"),
    units=gs.Sequence(gs.Box(-1.0, 1.0, (2,))),
    map=gs.Graph(gs.Box(-1.0, 1.0, (2,)), gs.Discrete(3)),
)


class Sampled(gym.Env[Any, Any]):
    """Observations sampled from any space; episodes end by chance, terminated, truncated or both.

    Args:
        infos: makes the info of a step (or of a reset, where t is 0) from the random numbers of the episode and t.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        observation_space: gym.Space[Any] | None = None,
        action_space: gym.Space[Any] | None = None,
        *,
        infos: Callable[[np.random.Generator, int], dict[str, Any]] | None = None,
        end: float = 0.15,
        render_shape: tuple[int, ...] = (20, 24, 3),
        render_mode: str | None = None,
    ) -> None:
        self.observation_space = observation_space or gs.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = action_space or gs.Discrete(3)
        self.render_mode = render_mode
        self._infos, self._end, self._render_shape = infos, end, render_shape
        self.t = 0

    def observe(self) -> Any:
        self.observation_space.seed(int(self.np_random.integers(1 << 31)))
        return self.observation_space.sample()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), self.info()

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.t += 1
        observation = self.observe()
        reward: Any = [float, np.float32, int, np.float64][self.t % 4](self.np_random.normal() * 3)
        terminated, truncated = self.np_random.random(2) < self._end
        return observation, reward, terminated, truncated, self.info()

    def info(self) -> dict[str, Any]:
        return {} if self._infos is None else self._infos(self.np_random, self.t)

    def render(self) -> Any:
        return np.full(self._render_shape, self.t, np.uint8) + np.arange(self._render_shape[-1], dtype=np.uint8)


class Reusing(Sampled):
    """Returns the same observation array, the same reward array and the same info dict each time, changed in place."""

    def __init__(self) -> None:
        space = gs.Dict(at=gs.Box(-np.inf, np.inf, (2,), np.float32), seen=gs.MultiBinary(2))
        super().__init__(space, gs.Box(-1.0, 1.0, (2,), np.float32))
        self._observation = {"at": np.zeros(2, np.float32), "seen": np.zeros(2, np.int8)}
        self._reward = np.zeros(())
        self._info: dict[str, Any] = {
            "x": np.zeros(2),
            "count": np.zeros((), np.int32),
            "nested": {"y": np.zeros(1, np.int64), "deeper": {"list": [0, [0]]}},
        }

    def observe(self) -> Any:
        self._observation["at"][:] = self.np_random.normal(size=2)
        self._observation["seen"][:] = self.np_random.integers(2, size=2)
        return self._observation

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, info = super().step(action)
        self._reward[...] = reward
        return self._observation, self._reward, terminated, truncated, info

    def info(self) -> dict[str, Any]:
        self._info["x"][:] = self.t
        self._info["count"][...] = self.t
        self._info["nested"]["y"][:] = self.t
        self._info["nested"]["deeper"]["list"][0] = self.t
        self._info["nested"]["deeper"]["list"][1][0] = self.t
        return self._info


class OneArray(Sampled):
    """A plain array as observation, the same one each time."""

    def __init__(self) -> None:
        super().__init__(gs.Box(-np.inf, np.inf, (3,), np.float32))
        self._observation = np.zeros(3, np.float32)

    def observe(self) -> Any:
        self._observation[:] = self.np_random.normal(size=3)
        return self._observation


def constant_infos(random: np.random.Generator, t: int) -> dict[str, Any]:
    """Keys that are always there and keep their type, and none at the reset."""
    if t == 0:
        return {}
    return {
        "count": t,
        "prob": float(random.random()),
        "small": np.float32(random.random()),
        "flag": bool(random.random() < 0.5),
        "word": "ab"[t % 2],
        "mask": np.array([t, 1], np.int8),
    }


def odd_infos(random: np.random.Generator, t: int) -> dict[str, Any]:
    """Late keys, changing types, nested dicts, NaN, things without a column, and things that look like our own JSON."""
    info: dict[str, Any] = {
        "steady": t,
        "number": [t, t / 3, None, True, "three", 1 << 70][t % 6],
        "nan": [float("nan"), float("-inf"), -0.0][t % 3],
        "array": np.full((2, t % 3), t, np.float32),
        "nested": {"t": t, "more": {"list": [t, (1, 2.5)], "raw": b"\x00\xff"}},
        "float": {"$float": "nan"},
        "list": [{"$tuple": [1]}, np.float64(t)],
    }
    if t > 2:
        info["late"] = t * 0.5
    if t % 2:
        info["sometimes"] = np.int16(t)
        info["text"] = "\ud800 lone"
    return info


def late_infos(random: np.random.Generator, t: int) -> dict[str, Any]:
    """None at first, and few."""
    return {"episode": {"r": float(t)}, "late": t} if t > 4 else {}


def vector_infos(random: np.random.Generator, t: int) -> dict[str, Any]:
    """Infos that Gymnasium's vector environments hand on without a change: each key keeps one kind and shape."""
    info: dict[str, Any] = {"steady": t, "prob": float(random.random()), "nested": {"at": np.array([t, t], np.int32)}}
    if t > 2:
        info["late"] = t * 0.5
    if t % 2:
        info["word"] = "odd"
        info["nested"]["deep"] = {"x": True}
    return info


class Scripted(VectorEnv[Any, Any, Any]):
    """A native vector environment: its observations count, and a script says when what ends.

    `ends[k][i]` tells whether sub-environment i ends in step k; what is returned then follows the autoreset mode.
    """

    def __init__(self, ends: np.ndarray, mode: AutoresetMode, **space: Any) -> None:
        self.num_envs = ends.shape[1]
        self.metadata = {"autoreset_mode": mode}
        self.single_observation_space = space.get("space", gs.Box(-np.inf, np.inf, (2,), np.float64))
        self.single_action_space = gs.Discrete(5)
        self.ends, self.mode, self.render_mode = ends, mode, None
        self.k = 0
        self.count = np.zeros((self.num_envs, 2))
        self.done = np.zeros(self.num_envs, bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self.count[mask] += [1000, -1]
        self.count[mask, 0] -= self.count[mask, 0] % 1000
        self.done[mask] = False
        return self.count, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        ends = self.ends[self.k % len(self.ends)].copy()
        self.k += 1
        infos: dict[str, Any] = {}
        was_done = self.done.copy()
        if self.mode == AutoresetMode.NEXT_STEP:
            ends &= ~was_done
        self.count[:, 0] += 1 + 0.125 * np.asarray(actions)
        if self.mode == AutoresetMode.NEXT_STEP and was_done.any():
            self.reset(options={"reset_mask": was_done})
        self.done = ends.copy()
        if self.mode == AutoresetMode.SAME_STEP and ends.any():
            infos = {"final_obs": self.count.copy(), "_final_obs": ends}
            self.reset(options={"reset_mask": ends})
        rewards = np.where(was_done & (self.mode == AutoresetMode.NEXT_STEP), 0.0, self.count[:, 0] / 3).astype(
            np.float32
        )
        return self.count, rewards, ends, np.zeros(self.num_envs, bool), infos


ENVIRONMENTS: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "CartPole": lambda: gym.make("CartPole-v1"),
    "FrozenLake": lambda: gym.make("FrozenLake-v1"),
    "Taxi": lambda: gym.make("Taxi-v4"),
    "Blackjack": lambda: gym.make("Blackjack-v1"),
    "dict": lambda: Sampled(DICT, DICT),
    "objects": lambda: Sampled(OBJECTS, gs.OneOf([gs.Discrete(2), gs.Text(3)]), infos=constant_infos),
    "image": lambda: Sampled(gs.Box(0, 255, (32, 32, 3), np.uint8), infos=constant_infos),
    "stack": lambda: Sampled(gs.Box(0, 255, (16, 17, 4), np.uint8), gs.Box(-1.0, 1.0, (2,))),
    "odd infos": lambda: Sampled(gs.Discrete(5), gs.MultiDiscrete([2, 3]), infos=odd_infos),
    "late infos": lambda: Sampled(gs.Discrete(5), infos=late_infos),
    "one array": OneArray,
    "reusing": Reusing,
}
"""Each makes one environment of a kind."""
