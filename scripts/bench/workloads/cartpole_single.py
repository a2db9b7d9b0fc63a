"""W1: one CartPole. The cheapest step there is, so that a recorder's own cost shows."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rolltape.scripts.bench.env_workload import EnvWorkload


def make() -> gym.Env[Any, Any]:
    """As `gymnasium.make` gives it."""
    return gym.make("CartPole-v1")


WORKLOADS = (EnvWorkload("W1", "CartPole, single", 1, make, chunk=1_000, peers=("pyarrow", "minari", "envlogger")),)
