"""Whether a producer's memory stays flat when it outruns a writer that takes ten times as long for a commit."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium as gym
import psutil

import rolltape as rt
from rolltape.actors.on_ray import launch
from rolltape.actors.writer import Writer
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.scripts.bench.rolltape_recorder import read_back
from rolltape.scripts.bench.stepping import VectorLoop, run_until
from rolltape.storage.commits import CommitLog, CommitReport
from rolltape.storage.pending import Batch

TITLE = "drift of the producer's memory over 10 M steps with a writer slowed to a tenth"
SLOWDOWN = 10
SAMPLE_S = 0.25


class SlowWriter(Writer):
    """A writer whose every commit takes `SLOWDOWN` times as long."""

    def _commit(self, log: CommitLog, batch: Batch) -> CommitReport:
        at = time.monotonic()
        report = super()._commit(log, batch)
        time.sleep((SLOWDOWN - 1) * (time.monotonic() - at))
        return report


class MemoryTrace(threading.Thread):
    """Resident memory of this process, sampled until `stop`; `shared` is the object store's part of it."""

    def __init__(self) -> None:
        super().__init__(name="memory-trace", daemon=True)
        self._done = threading.Event()
        self.samples: list[tuple[int, int]] = []

    def run(self) -> None:
        """Sample."""
        process = psutil.Process()
        while not self._done.wait(SAMPLE_S):
            self._sample(process)
        self._sample(process)

    def stop(self) -> None:
        """One more sample, and no others."""
        self._done.set()
        self.join()

    def _sample(self, process: psutil.Process) -> None:
        memory = process.memory_info()
        self.samples.append((memory.rss, memory.shared))


def drift(samples: list[float]) -> float:
    """The median of the last fifth less that of the second fifth: what is filled once, such as buffers, is no drift."""
    fifth = max(1, len(samples) // 5)
    return median(samples[-fifth:]) - median(samples[fifth : 2 * fifth] or samples[-fifth:])


def measure(order: FigureOrder) -> list[Figure]:
    """Record 10 M steps of 1,024 native CartPoles, far more a second than the slow writer takes."""
    launch.Writer = SlowWriter  # the actor is made of whatever stands there
    rows = 200_000 if order.quick else 10_000_000
    env = rt.record(
        gym.make_vec("CartPole-v1", num_envs=1_024, vectorization_mode="vector_entry_point"), Path(order.folder)
    )
    loop = VectorLoop(env)
    loop.reset()
    trace = MemoryTrace()
    trace.start()
    at = time.perf_counter()
    run_until(loop, max_seconds=None, max_calls=-(-rows // 1_024), chunk=50)
    seconds = time.perf_counter() - at
    trace.stop()
    env.close()
    summary: Any = env.summary
    stored = read_back(Path(order.folder)).rows
    mib = 2**20
    detail = (
        f"{stored:,} rows at {loop.rows / seconds:,.0f} a second, {summary.waited_s:.0f} of {seconds:.0f} s waiting; "
        f"most in flight {summary.inflight_high_bytes / mib:.0f} MiB, oldest row {summary.lag_high_s:.1f} s"
    )
    rss, private = [s[0] / mib for s in trace.samples], [(s[0] - s[1]) / mib for s in trace.samples]
    return [
        Figure("memory.drift", "drift of resident memory", drift(rss), "MiB", detail),
        Figure("memory.private_drift", "drift of private memory", drift(private), "MiB", "without what is shared"),
        Figure("memory.peak", "most resident memory", max(rss), "MiB", f"of it private {max(private):.0f} MiB"),
        Figure("memory.lag", "oldest row when it became durable", summary.lag_high_s, "s", "the drain included"),
    ]
