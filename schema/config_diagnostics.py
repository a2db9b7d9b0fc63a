"""From which numbers on a run says that something is not well."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .config_base import Frozen, Unit


class DiagnosticsConfig(Frozen):
    """When a run warns about its own processes. A warning comes once, and again only after it was well in between."""

    every_s: Annotated[float, Field(ge=0, le=86_400), Unit("s")] = 60.0
    """How often memory, CPU, queues and flush latency are kept as a record; 0: never. The table `metrics` has them
    every second anyway."""
    memory_share: Annotated[float, Field(gt=0, le=1), Unit("of the memory")] = 0.9
    """In use on the writer's host, by whomever. Ray begins to end workers at 0.95."""
    flush_s: Annotated[float, Field(gt=0, le=3_600), Unit("s")] = 5.0
    """A commit that takes longer. On a healthy disk it takes some hundredths of a second, and one of seconds means that
    what a crash may cost is more than was promised."""
    queue_depth: Annotated[int, Field(ge=1, le=100_000), Unit("fragments")] = 64
    """So many fragments of one producer, or at the writer, not durable yet. A healthy producer has one or two."""
    waiting_share: Annotated[float, Field(gt=0, le=1), Unit("of the time")] = 0.5
    """Share of the time that a producer stands still for room. Then the disk or the writer bounds the run."""
    busy_cores: Annotated[float, Field(gt=0, le=64), Unit("cores")] = 0.9
    """CPU of the hub, which answers in one thread: near 1 its producers wait for their heartbeats."""
