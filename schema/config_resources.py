"""What is asked from Ray for each process of a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .config_base import Frozen, Risk, Unit

PLACING_COST = "with nothing reserved Ray may put more of them on a node than it can carry"


class ResourcesConfig(Frozen):
    """CPUs, GPUs and memory of workers, hub and writer; checked against the cluster before anything starts."""

    cpus_per_worker: Annotated[float, Field(ge=0, le=1024), Unit("CPUs"), Risk(PLACING_COST, equal=0)] = 1.0
    """An environment steps in one thread, so one. A policy with threads of its own wants more."""
    gpus_per_worker: Annotated[float, Field(ge=0, le=64), Unit("GPUs")] = 0.0
    """For a policy or an environment that computes there; fractions share one."""
    memory_per_worker_bytes: Annotated[int, Field(ge=0, le=1 << 44), Unit("bytes")] = 0
    """Reserved on the node; 0 reserves none, because Ray does not enforce it and only places by it."""
    hub_cpus: Annotated[float, Field(ge=0, le=64), Unit("CPUs")] = 0.0
    """The hub answers four heartbeats a second from each producer: too little to reserve a core for."""
    hub_memory_bytes: Annotated[int, Field(ge=0, le=1 << 44), Unit("bytes")] = 0
    """Reserved for the hub; its state is some kilobytes a producer."""
    writer_cpus: Annotated[float, Field(ge=0, le=64), Unit("CPUs")] = 0.0
    """0 shares the cores with workers: on a small machine a reserved one would stand still most of the time. On a large
    node 2 keep compression from waiting for workers."""
    writer_memory_bytes: Annotated[int, Field(ge=0, le=1 << 44), Unit("bytes")] = 0
    """Reserved for the writer, which needs two commits and about 300 MB."""
