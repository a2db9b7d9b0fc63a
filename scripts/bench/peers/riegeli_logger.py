"""EnvLogger with its defaults: Riegeli files, transposed and compressed with Brotli. It speaks dm_env.

Its version 1.2 reads a name that NumPy 2 has dropped, so the name is put back before it is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dm_env  # pyright: ignore[reportMissingImports]
import gymnasium as gym
import numpy as np
from dm_env import specs  # pyright: ignore[reportMissingImports]

from rolltape.scripts.bench.recorders import Costs, Stored, disk_bytes

np.unicode_ = np.str_  # type: ignore[attr-defined]

import envlogger  # noqa: E402  # pyright: ignore[reportMissingImports]
from envlogger import reader  # noqa: E402  # pyright: ignore[reportMissingImports]


class DmEnvironment(dm_env.Environment):
    """A Gymnasium environment as dm_env; `last` is what Gymnasium returned, `seed` is for the next reset."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self.last: Any = None
        self.seed: int | None = None

    def reset(self) -> Any:
        """The first time step of an episode."""
        self.last = self._env.reset(seed=self.seed)
        return dm_env.restart(self.last[0])

    def step(self, action: Any) -> Any:
        """The next time step."""
        self.last = observation, reward, terminated, truncated, _ = self._env.step(action)
        if terminated:
            return dm_env.termination(float(reward), observation)
        if truncated:
            return dm_env.truncation(float(reward), observation)
        return dm_env.transition(float(reward), observation)

    def observation_spec(self) -> Any:
        """Shape and dtype."""
        space: Any = self._env.observation_space
        return specs.Array(space.shape, space.dtype, "observation")

    def action_spec(self) -> Any:
        """Number of actions."""
        space: Any = self._env.action_space
        return specs.DiscreteArray(int(space.n), name="action")


class LoggedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """The loop's view: Gymnasium outside, dm_env and its logger inside."""

    def __init__(self, env: gym.Env[Any, Any], folder: Path) -> None:
        super().__init__(env)
        self._inner = DmEnvironment(env)
        self.logger = envlogger.EnvLogger(self._inner, data_directory=str(folder))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset by way of the logger."""
        self._inner.seed = seed
        self.logger.reset()
        return self._inner.last

    def step(self, action: Any) -> Any:
        """Step by way of the logger."""
        self.logger.step(action)
        return self._inner.last


class RiegeliLogger:
    """The recorder."""

    renders = True

    def open(self, env: Any, folder: Path, frames: str) -> Any:
        """Wrap the environment."""
        return LoggedEnv(env, folder)

    def begin(self) -> None:
        """Nothing to note."""

    def close(self, env: Any) -> None:
        """Write everything."""
        env.logger.close()
        env.env.close()

    def costs(self) -> Costs:
        """All of it is in this process."""
        return Costs()

    def read_back(self, folder: Path) -> Stored:
        """Count time steps; the first of an episode is no transition."""
        rows = ended = frames = 0
        with reader.Reader(data_directory=str(folder)) as recorded:
            pictures = len(recorded.observation_spec().shape) > 1
            for episode in recorded.episodes:
                for step in episode:
                    frames += 1
                    rows += not step.timestep.first()
                    ended += step.timestep.last()
        size = disk_bytes(folder)
        return Stored(rows, ended, frames if pictures else None, size, size if pictures else None)
