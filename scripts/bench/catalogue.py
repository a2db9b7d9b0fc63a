"""What can be measured, by name; each file is imported when it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from rolltape.schema.errors import ConfigError

from .orders import Order, Outcome
from .recorders import Bare, Recorder

WORKLOAD_FILES = ("cartpole_single", "cartpole_vector", "breakout", "car_racing", "fleet")

FIGURE_FILES = {
    "bytes": "frame_bytes",
    "writer": "writer_speed",
    "reading": "frame_reading",
    "memory": "slow_writer",
    "import": "import_time",
    "bridge": "log_bridge",
    "logs": "log_records",
    "replay": "replay_rate",
    "compaction": "compaction_speed",
    "verify": "verify_speed",
    "live": "live_path",
    "page": "first_paint",
    "tiles": "live_tiles",
    "gateway": "gateway_memory",
}
"""Group of figures -> the file that measures it."""

RECORDERS = {
    "rolltape": "rolltape_recorder:Rolltape",
    "pyarrow": "peers.pyarrow_loop:PyarrowLoop",
    "minari": "peers.minari_collector:MinariCollector",
    "envlogger": "peers.riegeli_logger:RiegeliLogger",
}

PEERS = {"pyarrow": False, "minari": True, "envlogger": True}
"""Recorders of others, and whether they need the environment of the peers."""


class Workload(Protocol):
    """What is stepped; see `EnvWorkload`."""

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        ...

    @property
    def title(self) -> str:
        """A few words."""
        ...

    @property
    def recorders(self) -> tuple[str, ...]:
        """Who can record it, ourselves first."""
        ...

    def measure(self, order: Order) -> Outcome:
        """Carry an order out in this process, which is fresh."""
        ...


def workloads() -> dict[str, Workload]:
    """All, in the order of the table."""
    found: dict[str, Workload] = {}
    for file in WORKLOAD_FILES:
        module = importlib.import_module(f"{__package__}.workloads.{file}")
        found |= {workload.name: workload for workload in module.WORKLOADS}
    return found


def figure_group(name: str) -> Any:
    """The module that measures a group: `TITLE` says what, `measure(FigureOrder)` gives its figures."""
    return importlib.import_module(f"{__package__}.figures.{FIGURE_FILES[name]}")


def recorder_of(name: str) -> Recorder:
    """A new recorder."""
    if name == "bare":
        return Bare()
    module, attribute = RECORDERS[name].split(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), attribute)()


def chosen(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Workloads and groups of figures that names mean; without a name all.

    `W3` means `W3-1` and `W3-8`, `figures` all figures. Raises ConfigError for a name that means nothing.
    """
    wanted = [name.strip().lower() for name in names if name.strip()]
    every_workload, every_group = list(workloads()), list(FIGURE_FILES)
    if not wanted:
        return every_workload, every_group
    known: Sequence[str] = [*every_workload, *every_group]
    taken: set[str] = set()
    for name in wanted:
        means = [k for k in known if k.lower() == name or k.lower().startswith(f"{name}-")]
        means += every_group if name == "figures" else []
        if not means:
            raise ConfigError(f"--only: there is no {name!r}; there are {', '.join(known)}, figures.")
        taken.update(means)
    return [n for n in every_workload if n in taken], [n for n in every_group if n in taken]
