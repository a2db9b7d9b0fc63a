"""W3: Breakout, whose observation is a picture of 100,800 bytes that is recorded with every step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

from rolltape.scripts.bench.env_workload import EnvWorkload


def make_single(game: str = "Breakout") -> gym.Env[Any, Any]:
    """One game, its 210 x 160 pixels in colour."""
    import ale_py  # registers the games

    gym.register_envs(ale_py)
    return gym.make(f"ALE/{game}-v5")


def make_vector() -> VectorEnv[Any, Any, Any]:
    """Eight, stepped one after another."""
    import ale_py

    gym.register_envs(ale_py)
    return gym.make_vec("ALE/Breakout-v5", num_envs=8, vectorization_mode="sync")


WORKLOADS = (
    EnvWorkload(
        "W3-1",
        "Breakout frames, single",
        1,
        make_single,
        chunk=20,
        frames="observation",
        pictures=1,
        peers=("pyarrow", "minari", "envlogger"),
    ),
    EnvWorkload("W3-8", "Breakout frames, 8 in turn", 8, make_vector, chunk=4, frames="observation", pictures=1),
)
