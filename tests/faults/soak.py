"""A run of many minutes with compaction and retention beside it: does memory stay, and how many files are there?

    python -m tests.faults.soak FOLDER --minutes 60 --rate 100000
    python -m tests.faults.soak FOLDER --minutes 60 --env ALE/Breakout-v5 --envs 1 --rate 400 --frames observation
    python -m tests.faults.soak FOLDER --minutes 60 --rate 1000000 --slow-writer
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil

import rolltape as rt
from rolltape.actors.fleet import Fleet
from rolltape.actors.on_ray import launch
from rolltape.actors.progress import Progress
from rolltape.scripts.bench.figures.slow_writer import SlowWriter
from rolltape.storage.layout import list_tables
from rolltape.storage.verify import verify_run
from tests.ray.processes import ENV_WORKER, HUB, WRITER, actors

SAMPLE_S = 5.0
RETAIN_EVERY_S = 60.0
WARM = 0.25
"""The share of the time in which buffers and caches fill."""


@dataclass
class Soak:
    """What was measured: private bytes of each process (USS) over time, and what was left on the disk."""

    seconds: float = 0.0
    steps: int = 0
    bytes: int = 0
    restarts: int = 0
    verdict: str = ""
    parts: dict[str, int] = field(default_factory=dict)
    parts_most: dict[str, int] = field(default_factory=dict)
    parts_compacted: dict[str, int] = field(default_factory=dict)
    memory: dict[str, list[int]] = field(default_factory=dict)

    def drift(self) -> dict[str, float]:
        """By how many per cent the memory of the last quarter is above that of the first one after the warm-up."""
        found = {}
        for name, values in self.memory.items():
            warm = values[int(len(values) * WARM) :]
            quarter = max(1, len(warm) // 4)
            first, last = float(np.median(warm[:quarter])), float(np.median(warm[-quarter:]))
            found[name] = round(100 * (last / first - 1), 1)
        return found

    def as_json(self) -> str:
        plain = asdict(self) | {"memory": {n: [v[0], v[len(v) // 4], v[-1]] for n, v in self.memory.items()}}
        return json.dumps(plain | {"drift_percent": self.drift()})


def soak(
    folder: Path,
    *,
    minutes: float,
    rate: float,
    env: str = "CartPole-v1",
    envs: int = 1024,
    frames: str = "none",
    slow_writer: bool = False,
) -> Soak:
    """Record at `rate` steps a second at most, with old runs that retention removes meanwhile; a slow writer takes ten
    times as long for each commit."""
    found = Soak()
    writer = WRITER
    if slow_writer:
        launch.Writer = SlowWriter  # the actor is made of whatever stands there
        writer = f"ray::{SlowWriter.__name__}"
    lake = folder / "lake"
    for _ in range(3):
        with Fleet("CartPole-v1", 2, lake, num_workers=1, cpus_per_worker=0.01) as old:
            old.collect(steps=200, progress=False)
    began = time.monotonic()
    next_sample, next_retain = began, began + RETAIN_EVERY_S
    throttle = {"steps_per_s": rate}
    with Fleet(env, envs, lake, num_workers=1, cpus_per_worker=0.01, throttle=throttle, frames=frames) as fleet:
        run = fleet.run
        processes = {name: psutil.Process(actors(title)[-1]) for name, title in
                     (("worker", ENV_WORKER), ("writer", writer), ("hub", HUB))}  # fmt: skip
        processes["driver"] = psutil.Process()

        def look(_: Progress) -> None:
            nonlocal next_sample, next_retain
            now = time.monotonic()
            if now >= next_sample:
                next_sample = now + SAMPLE_S
                for name, process in processes.items():
                    found.memory.setdefault(name, []).append(process.memory_full_info().uss)
                for table, paths in list_tables(run.folder).items():
                    found.parts_most[table] = max(found.parts_most.get(table, 0), len(paths))
            if now >= next_retain:
                next_retain = now + RETAIN_EVERY_S
                rt.retain(lake, keep_last=1, dry_run=False)
                rt.vacuum(lake, dry_run=False)

        while time.monotonic() - began < 60 * minutes:
            fleet.collect(steps=int(rate * 20), progress=look)
    assert fleet.summary is not None
    found.seconds = time.monotonic() - began
    found.steps, found.bytes, found.restarts = fleet.summary.steps, fleet.summary.bytes, fleet.summary.restarts
    found.parts = {table: len(paths) for table, paths in list_tables(run.folder).items() if paths}
    rt.compact(lake, grace_s=0)
    found.parts_compacted = {table: len(paths) for table, paths in list_tables(run.folder).items() if paths}
    found.verdict = verify_run(run.folder).verdict
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=100_000.0)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--envs", type=int, default=1024)
    parser.add_argument("--frames", default="none")
    parser.add_argument("--slow-writer", action="store_true")
    given = parser.parse_args()
    print(soak(**vars(given)).as_json(), flush=True)
