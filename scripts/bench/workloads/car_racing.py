"""W4: CarRacing with renders: a picture of 720,000 bytes a step, beside an observation of 27,648.

The bare loop calls `render()` after each step and reset, as the recorder does: the ratio is what recording costs, not
what drawing costs.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rolltape.scripts.bench.env_workload import EnvWorkload


def make() -> gym.Env[Any, Any]:
    """One car that can be drawn."""
    return gym.make("CarRacing-v3", render_mode="rgb_array")


WORKLOADS = (EnvWorkload("W4", "CarRacing, renders", 1, make, chunk=4, frames="render", pictures=2),)
