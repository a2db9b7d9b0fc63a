"""How fast a compaction merges parts, on one core: Arrow bytes in by processor time, digests and the disk included."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray

import rolltape as rt
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.scripts.bench.workloads import breakout
from rolltape.storage.compaction import compact_run
from rolltape.storage.compaction_groups import Level
from rolltape.storage.merging import allocate_for_merging

from .recordings import record_pictures, record_steps

TITLE = "Arrow bytes that a compaction merges a second on one core, and what is left of the parts"


def measure(order: FigureOrder) -> list[Figure]:
    """Record, then compact at both levels on one core."""
    lake, part = Path(order.folder), 100 if order.quick else 1
    steps = record_steps(8_000_000 // part, lake)
    pictures, _ = record_pictures(breakout.make_single, "observation", 8_000 // part, lake)
    ray.shutdown()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    allocate_for_merging()  # as `rolltape compact` does
    found: list[Figure] = []
    for level in ("normal", "archive"):
        found += [
            _compact(lake, steps, "steps", "CartPole steps", level),
            _compact(lake, pictures, "frames", "Breakout frames", level),
        ]
    return found


def _compact(lake: Path, run_id: str, table: str, what: str, level: Level) -> Figure:
    run = rt.open(lake).run(run_id)
    nbytes = sum(pq.read_table(p).nbytes for t in ("steps", "frames", "episodes") for p in rt.parts(lake, run_id, t))
    cpu_s = time.process_time()
    report = compact_run(run.folder, level=level, grace_s=0)
    cpu_s = time.process_time() - cpu_s
    detail = (
        f"{report.parts_before} parts, {report.bytes_before:,} bytes -> {report.parts_after} parts, "
        f"{report.bytes_after:,} bytes in {cpu_s:.2f} s of processor time"
    )
    return Figure(f"compaction.{level}.{table}", f"{what} merged, {level}", nbytes / cpu_s / 1e6, "MB/s a core", detail)
