"""Small recordings that figures are measured on, with a digest of every picture that the recorder was given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import rolltape as rt

SEED = 0


class Witness(gym.Wrapper[Any, Any, Any, Any]):
    """Passes everything on, and keeps a digest of each picture in the order in which it was seen.

    Args:
        env: what is recorded.
        renders: digest what `render()` gives instead of the observations.
    """

    def __init__(self, env: gym.Env[Any, Any], renders: bool) -> None:
        super().__init__(env)
        self._renders = renders
        self.digests: list[bytes] = []

    def step(self, action: Any) -> Any:
        """Step, and see the observation."""
        result = self.env.step(action)
        self._see(result[0])
        return result

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset, and see the observation."""
        result = self.env.reset(seed=seed, options=options)
        self._see(result[0])
        return result

    def render(self) -> Any:
        """Draw, and see the picture."""
        picture: Any = self.env.render()
        if self._renders:
            self.digests.append(digest(picture))
        return picture

    def _see(self, observation: Any) -> None:
        if not self._renders:
            self.digests.append(digest(observation))


def digest(picture: np.ndarray) -> bytes:
    """Of the bytes, the dtype and the shape."""
    sort = f"{picture.dtype}{picture.shape}".encode()
    return hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16, key=sort[:64]).digest()


def record_pictures(
    make: Callable[[], gym.Env[Any, Any]], frames: str, count: int, lake: Path
) -> tuple[str, list[bytes]]:
    """Record single episodes under random actions until `count` pictures were seen.

    Args:
        make: makes the environment.
        frames: `observation` or `render`.
        count: how many, the last episode's included.
        lake: where to.

    Returns:
        The run's id and the digests of its pictures in order.
    """
    witness = Witness(make(), frames == "render")
    env = rt.record(witness, lake, frames=frames)
    env.action_space.seed(SEED)
    env.reset(seed=SEED)
    while len(witness.digests) < count:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if (terminated or truncated) and len(witness.digests) < count:
            env.reset()
    env.close()
    return env.run_id, witness.digests


def record_steps(count: int, lake: Path) -> str:
    """Record about `count` steps of 1,024 native CartPoles; the run's id."""
    env = rt.record(gym.make_vec("CartPole-v1", num_envs=1_024, vectorization_mode="vector_entry_point"), lake)
    env.action_space.seed(SEED)
    env.reset(seed=SEED)
    for _ in range(-(-count // 1_024)):
        env.step(env.action_space.sample())
    env.close()
    return env.run_id
