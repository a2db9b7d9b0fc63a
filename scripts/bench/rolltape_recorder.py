"""Rolltape as a recorder of the benchmarks: `rolltape.record` with production defaults, read back by plain pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import rolltape as rt

from .recorders import Costs, Stored, disk_bytes
from .usage import OTHER, RayUsage


class Rolltape:
    """`rolltape.record`."""

    renders = True

    def __init__(self) -> None:
        self._usage: RayUsage | None = None
        self._summary: Any = None

    def open(self, env: Any, folder: Path, frames: str) -> Any:
        """Start Ray and the run."""
        return rt.record(env, folder, frames=frames)

    def begin(self) -> None:
        """Note what Ray's processes have used for their start."""
        self._usage = RayUsage()

    def close(self, env: Any) -> None:
        """Close the environment and end the run."""
        env.close()
        self._summary = env.summary

    def costs(self) -> Costs:
        """From the run's summary, less what the processes had used before the first step."""
        usage, summary = self._usage, self._summary
        assert usage is not None
        return Costs(
            writer_cpu_s=summary.cpu_s["writer"] - usage.before_s("writer"),
            hub_cpu_s=summary.cpu_s["hub"] - usage.before_s("hub"),
            other_cpu_s=usage.since_s(OTHER),
            inflight_high_bytes=summary.inflight_high_bytes,
            lag_high_s=summary.lag_high_s,
            waited_s=summary.waited_s,
        )

    def read_back(self, folder: Path) -> Stored:
        """Count the rows of the run's parts."""
        return read_back(folder)


def read_back(lake: Path) -> Stored:
    """Read the only run of a lake with plain pyarrow, bypassing our own reader but for the list of parts."""
    steps, episodes, frames = (rt.parts(lake, "latest", table) for table in ("steps", "episodes", "frames"))
    ended = 0
    for part in episodes:
        ended += pq.read_table(part, columns=["status"]).column("status").to_pylist().count("completed")
    return Stored(
        rows=sum(_rows(part) for part in steps),
        episodes=ended,
        frames=sum(_rows(part) for part in frames),
        bytes=disk_bytes(rt.open(lake).run("latest").path),
        frame_bytes=sum(part.stat().st_size for part in frames),
    )


def _rows(part: Path) -> int:
    return sum(batch.num_rows for batch in pq.ParquetFile(part).iter_batches(1 << 20, columns=["t"]))
