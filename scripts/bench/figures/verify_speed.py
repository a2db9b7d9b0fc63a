"""How fast a recording is verified: compressed bytes by processor time, and by the clock with all cores."""

from __future__ import annotations

import time
from pathlib import Path

import ray

import rolltape as rt
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.storage.verify import verify_run

from .recordings import record_steps

TITLE = "Compressed bytes of CartPole steps that `rolltape verify` checks a second"
TRIES = 3


def measure(order: FigureOrder) -> list[Figure]:
    """Record, then verify with and without rows; the best of some tries, because the first reads from the disk."""
    lake = Path(order.folder)
    recorded = record_steps(8_000_000 // (100 if order.quick else 1), lake)  # a lake is opened when there is one
    run = rt.open(lake).run(recorded).folder
    ray.shutdown()
    found: list[Figure] = []
    for rows in (False, True):
        times = []
        for _ in range(TRIES):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            report = verify_run(run, settle_it=False, rows=rows)
            times.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
        cpu_s, wall_s = (min(column) for column in zip(*times, strict=True))
        what = "with rows" if rows else "as by default"
        detail = f"{report.parts} parts, {report.bytes:,} bytes, {report.verdict}"
        name = f"verify.{'rows' if rows else 'bytes'}"
        found.append(Figure(f"{name}.core", f"Verified {what}, a core", report.bytes / cpu_s / 1e6, "MB/s", detail))
        found.append(Figure(f"{name}.wall", f"Verified {what}, all cores", report.bytes / wall_s / 1e6, "MB/s", detail))
    return found
