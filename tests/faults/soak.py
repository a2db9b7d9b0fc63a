"""A run of many minutes with compaction and retention beside it: does memory stay, and how many files are there?

    python -m tests.faults.soak FOLDER --minutes 60 --rate 100000
    python -m tests.faults.soak FOLDER --minutes 60 --env ALE/Breakout-v5 --envs 1 --rate 400 --frames observation
    python -m tests.faults.soak FOLDER --minutes 60 --rate 1000000 --slow-writer
    python -m tests.faults.soak FOLDER --minutes 15 --rate 30000 --hurry 4

The last one commits and publishes the catalog four times as often, so that a quarter of an hour shows what grows with
parts and publications in one. `curve` of what is printed has 40 points at most: seconds, parts, megabytes.
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
from rolltape.actors.writer import CATALOG_EVERY_S, Writer
from rolltape.schema.config import CommitConfig
from rolltape.scripts.bench.figures.slow_writer import SlowWriter
from rolltape.storage.layout import list_tables
from rolltape.storage.verify import verify_run
from tests.ray.processes import ENV_WORKER, HUB, WRITER, actors

SAMPLE_S = 5.0
RETAIN_EVERY_S = 60.0
WARM = 0.25
"""The share of the time in which buffers and caches fill."""
CURVE_POINTS = 40


def hurried(times: int) -> type[Writer]:
    """A writer that publishes the catalog so many times as often."""

    class HurriedWriter(Writer):
        catalog_every_s = CATALOG_EVERY_S / times

    return HurriedWriter


@dataclass
class Soak:
    """What was measured: private bytes of each process (USS) over time, and what was left on the disk.

    `at_s` and `parts_at`, seconds since the beginning and parts of all tables, are of the same moments as `memory`.
    """

    seconds: float = 0.0
    steps: int = 0
    bytes: int = 0
    restarts: int = 0
    verdict: str = ""
    parts: dict[str, int] = field(default_factory=dict)
    parts_most: dict[str, int] = field(default_factory=dict)
    parts_compacted: dict[str, int] = field(default_factory=dict)
    at_s: list[float] = field(default_factory=list)
    parts_at: list[int] = field(default_factory=list)
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

    def curve(self) -> dict[str, list[float]]:
        """Evenly spread samples, the first and the last among them: seconds, parts, and megabytes of each process."""
        n = len(self.at_s)
        picked = np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int)).tolist() if n else []
        found: dict[str, list[float]] = {
            "at_s": [round(self.at_s[i]) for i in picked],
            "parts": [self.parts_at[i] for i in picked],
        }
        return found | {name: [round(v[i] / 1e6, 1) for i in picked] for name, v in self.memory.items()}

    def as_json(self) -> str:
        plain = asdict(self)
        for raw in ("at_s", "parts_at", "memory"):
            del plain[raw]
        return json.dumps(plain | {"curve": self.curve(), "drift_percent": self.drift()})


def soak(
    folder: Path,
    *,
    minutes: float,
    rate: float,
    env: str = "CartPole-v1",
    envs: int = 1024,
    frames: str = "none",
    slow_writer: bool = False,
    hurry: int = 1,
) -> Soak:
    """Record at `rate` steps a second at most, with old runs that retention removes meanwhile; a slow writer takes ten
    times as long for each commit, a hurried one commits and publishes `hurry` times as often."""
    found = Soak()
    writer = WRITER
    if slow_writer:
        launch.Writer = SlowWriter  # the actor is made of whatever stands there
        writer = f"ray::{SlowWriter.__name__}"
    elif hurry > 1:
        launch.Writer = hurried(hurry)
        writer = f"ray::{launch.Writer.__name__}"
    lake = folder / "lake"
    for _ in range(3):
        with Fleet("CartPole-v1", 2, lake, num_workers=1, cpus_per_worker=0.01) as old:
            old.collect(steps=200, progress=False)
    began = time.monotonic()
    next_sample, next_retain = began, began + RETAIN_EVERY_S
    often = {
        "throttle": {"steps_per_s": rate},
        "commit": {"max_age_s": CommitConfig().max_age_s / hurry},
        "frames": frames,
    }
    with Fleet(env, envs, lake, num_workers=1, cpus_per_worker=0.01, **often) as fleet:
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
                parts = list_tables(run.folder)
                found.at_s.append(now - began)
                found.parts_at.append(sum(map(len, parts.values())))
                for table, paths in parts.items():
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
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--slow-writer", action="store_true")
    how.add_argument("--hurry", type=int, default=1)
    given = parser.parse_args()
    print(soak(**vars(given)).as_json(), flush=True)
