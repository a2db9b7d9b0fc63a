"""Every episode of a fleet has a seed of its own, derived from (run seed, sub-environment, episode index).

Rules:
1. The seed of episode index k of sub-environment s is `base + s * STRIDE + k` modulo 2^31, with `base` a hash of the
   run's seed. It depends neither on the number of workers nor on that of sub-environments.
2. Seeds fit into 31 bits, because ALE and others take no more.
3. With the golden ratio as stride, 64 sub-environments have 17 million episodes each before a seed comes twice, 1,024
   have 970,000.
4. A reset for which the caller gives a seed keeps the caller's.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import gymnasium as gym
import numpy as np

MODULUS: Final = 1 << 31
STRIDE: Final = 1_327_217_885
"""Odd and nearest to 2^31 divided by the golden ratio: neighbours' ranges lie as far apart as can be."""


def episode_seed(run_seed: int, sub_env: int, index: int) -> int:
    """The seed of one episode, 0 <= seed < 2^31."""
    digest = hashlib.blake2b(run_seed.to_bytes(8, "little"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") + sub_env * STRIDE + index) % MODULUS


class EpisodeSeeding(gym.Wrapper[Any, Any, Any, Any]):
    """Seeds every reset of one sub-environment, whoever asks for it: the caller or any autoreset mode.

    It keeps the infos to itself: a vector environment would make arrays of them, which fit few.

    Attributes:
        last_seed: the seed of the last reset.
        reset_info: the info of the last reset, as the environment gave it.
        step_info: the info of the last step.
        last_picture: with `draws`, the picture of the last episode's end: when SAME_STEP returns, it is gone.
    """

    def __init__(
        self, env: gym.Env[Any, Any], run_seed: int, sub_env: int, first_index: int = 0, *, draws: bool = False
    ) -> None:
        super().__init__(env)
        self._run_seed, self._sub_env, self._index = run_seed, sub_env, first_index
        self._draws = draws
        self.last_picture: Any = None
        self.last_seed = 0
        self.reset_info: dict[str, Any] = {}
        self.step_info: dict[str, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset under the next episode's seed."""
        self.last_seed = episode_seed(self._run_seed, self._sub_env, self._index) if seed is None else seed
        self._index += 1
        observation, self.reset_info = self.env.reset(seed=self.last_seed, options=options)
        return observation, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and keep the info."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            # Under SAME_STEP the environment resets before anybody reads these, and may use the same arrays again.
            observation, info = _copied(observation), _copied(info)
            if self._draws:
                self.last_picture = _copied(self.env.render())
        self.step_info = info
        return observation, reward, terminated, truncated, {}


def _copied(value: Any) -> Any:
    """Arrays and containers copied, everything else shared."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return value
