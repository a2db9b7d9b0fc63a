"""How fast pictures come back: one at random from an open and warm run of 10,000, and all in order."""

from __future__ import annotations

import random
import time
from pathlib import Path
from statistics import median, quantiles

import ray

import rolltape as rt
from rolltape.scripts.bench.env_workload import Disagreement
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.scripts.bench.workloads import breakout

from .recordings import digest, record_pictures

TITLE = "one Breakout frame of 10,000 in milliseconds, and frames in order a second"
PICKS = 400
PASSES = 5


def measure(order: FigureOrder) -> list[Figure]:
    """Record, then read at random and in order. Raises Disagreement where a picture is not the one that was given."""
    lake_path = Path(order.folder)
    run_id, seen = record_pictures(breakout.make_single, "observation", 200 if order.quick else 10_000, lake_path)
    ray.shutdown()
    lake = rt.open(lake_path)
    lengths = dict(sorted(lake.episodes(run=run_id).select("episode", "length").fetchall()))
    places = [(episode, t) for episode, length in lengths.items() for t in range(length + 1)]
    chance = random.Random(0)
    for episode, t in chance.choices(places, k=PICKS // 10):
        lake.frame(run_id, episode, t)
    times = []
    for number in (chance.randrange(len(places)) for _ in range(PICKS)):
        at = time.perf_counter()
        picture = lake.frame(run_id, *places[number])
        times.append((time.perf_counter() - at) * 1e3)
        if digest(picture) != seen[number]:
            raise Disagreement(f"frame {places[number]} is not the one that was recorded")
    size = f"{len(seen):,} frames in {len(rt.parts(lake_path, run_id, 'frames'))} parts"
    rates, cpu_rates = zip(*(_pass(lake, run_id, list(lengths), len(seen)) for _ in range(PASSES)), strict=True)
    return [
        Figure("reading.one_median", "one frame of a run, median", median(times), "ms", f"{PICKS} at random of {size}"),
        Figure("reading.one_p95", "one frame of a run, 95th percentile", quantiles(times, n=20)[-1], "ms", "the same"),
        Figure(
            "reading.sequential",
            "frames in order",
            median(rates),
            "frames/s",
            f"median of {PASSES} passes over {size}; {median(cpu_rates):,.0f} a second of processor time",
        ),
    ]


def _pass(lake: rt.Lake, run_id: str, episodes: list[int], expected: int) -> tuple[float, float]:
    read = 0
    at, cpu_s = time.perf_counter(), time.process_time()
    for episode in episodes:
        for batch in lake.frames(run_id, episode).batches():
            read += len(batch)
    seconds, cpu_s = time.perf_counter() - at, time.process_time() - cpu_s
    if read != expected:
        raise Disagreement(f"{expected:,} frames were recorded, {read:,} came in order")
    return read / seconds, read / cpu_s
