"""One measured run: the order that a fresh process gets, and the outcome that it hands back. Both travel as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self


class _Record:
    """What can be written to a file and read from it; unknown fields of an older version are dropped."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """From the values of `asdict`."""
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file that `write` wrote."""
        return cls.of(json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """Into a file."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")  # type: ignore[call-overload]


@dataclass(frozen=True)
class Order(_Record):
    """What a fresh process is to do.

    Attributes:
        name: a workload of the catalogue.
        recorder: `bare`, `rolltape` or a peer.
        folder: an empty folder for what is recorded.
        max_seconds: stop stepping after so many seconds; None: `max_calls` decides.
        max_calls: stop after so many calls of `step`; None: `max_seconds` decides. The first that is reached.
        rows: transitions to record, for a fleet, which counts those and not calls.
        settle_s: seconds of rest between the start of everything and the first measured step.
    """

    name: str
    recorder: str
    folder: str
    max_seconds: float | None = None
    max_calls: int | None = None
    rows: int | None = None
    settle_s: float = 2.0


@dataclass(frozen=True)
class Outcome(_Record):
    """What one run cost. Bytes are bytes, seconds wall time, `_cpu_s` seconds of processors.

    Attributes:
        calls: calls of `step`, over all processes that step.
        rows: transitions, over all sub-environments; a call that only resets one of them gives none for it.
        episodes: episodes that ended by themselves.
        start_s: making the environment and starting the recorder, Ray included; no part of the figures below.
        step_s: stepping; None where it cannot be told from the drain.
        total_s: stepping and then `close()`, when everything is durable.
        step_cpu_s, cpu_s: processor time of the processes that step, over `step_s` and over `total_s`.
        writer_cpu_s, hub_cpu_s: of the recorder's other processes over `total_s`.
        other_cpu_s: of what else belongs to the run (Ray's own processes).
        noise_cores: processors that something else kept busy during `total_s`, 0.0 on a quiet machine.
        speed_beside: of a processor beside a busy one, right before the run (`neighbour.speed_beside`).
        peak_rss_bytes: most memory that a process that steps ever held, shared memory included.
        stored_rows, stored_frames: counted by reading the recording back.
        stored_bytes: what its folder takes on disk.
        frame_bytes: bytes of the files that hold the frames.
        inflight_high_bytes, lag_high_s, waited_s: as the run's summary says.
    """

    name: str
    recorder: str
    calls: int
    rows: int
    episodes: int
    start_s: float
    step_s: float | None
    total_s: float
    step_cpu_s: float | None
    cpu_s: float
    peak_rss_bytes: int
    noise_cores: float = 0.0
    speed_beside: float | None = None
    writer_cpu_s: float = 0.0
    hub_cpu_s: float = 0.0
    other_cpu_s: float = 0.0
    stored_rows: int | None = None
    stored_frames: int | None = None
    stored_bytes: int | None = None
    frame_bytes: int | None = None
    inflight_high_bytes: int | None = None
    lag_high_s: float | None = None
    waited_s: float | None = None
