"""W2: CartPoles in a vector environment: 8 stepped one after another, and 1,024 natively as one array."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

from rolltape.scripts.bench.env_workload import EnvWorkload


def make_sync() -> VectorEnv[Any, Any, Any]:
    """Eight, as `gymnasium.make_vec` gives them."""
    return gym.make_vec("CartPole-v1", num_envs=8, vectorization_mode="sync")


def make_native() -> VectorEnv[Any, Any, Any]:
    """1,024 in one array."""
    return gym.make_vec("CartPole-v1", num_envs=1_024, vectorization_mode="vector_entry_point")


WORKLOADS = (
    EnvWorkload("W2-8", "CartPole, 8 in turn", 8, make_sync, chunk=200),
    EnvWorkload("W2-1024", "CartPole, 1,024 native", 1_024, make_native, chunk=50, peers=("pyarrow",)),
)
