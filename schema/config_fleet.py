"""How environments are spread over workers and stepped."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .config_base import Frozen, Unit


class FleetConfig(Frozen):
    """What a Fleet makes; a recorder in your own loop has none of it."""

    num_envs: Annotated[int, Field(ge=1, le=10_000_000), Unit("environments")] = 1
    """Sub-environments in all. A worker of cheap environments wants dozens."""
    num_workers: Annotated[int, Field(ge=0, le=100_000), Unit("processes")] = 0
    """Processes that share them; 0 is one a CPU but one, and never more than there are environments."""
    vectorization: Literal["auto", "sync", "native"] = "auto"
    """`auto` takes a native vector environment where there is an equal one: CartPole is a hundred times faster."""
    autoreset: Literal["next_step", "same_step", "disabled"] = "next_step"
    """When an ended episode is reset: Gymnasium's default."""
    policy: str = "random"
    """What chooses actions: `random` or `module:callable`."""
