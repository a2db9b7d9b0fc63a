"""Small parts are merged by a process beside the writer while a fleet records; nothing is lost, and readers are exact."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

import rolltape as rt
from rolltape.actors.fleet import Fleet

from .environments import Paced
from .readback import read_back
from .rules import check_end, check_recording

pytestmark = pytest.mark.usefixtures("ray_session")

QUICK: dict[str, Any] = {
    "fragment": {"max_age_s": 0.02},
    "commit": {"max_age_s": 0.03, "durability": "process"},
    "compaction": {"every_commits": 16},
}


def test_parts_are_merged_while_a_fleet_records(lake: Path) -> None:
    with Fleet(Paced, 2, lake, num_workers=1, **QUICK) as fleet:
        run = fleet.run
        deadline = time.monotonic() + 40
        widest = 1
        while widest < 16 and time.monotonic() < deadline:
            fleet.collect(steps=500)
            widest = max(int(p.stem.split("-")[2]) - int(p.stem.split("-")[1]) + 1 for p in rt.parts(lake))
            listed = rt.parts(lake)
            assert (
                sum(pq.read_metadata(p).num_rows for p in listed)
                == run.lake.sql("select count(*) from steps").fetchall()[0][0]
            )
    assert widest >= 16, "nothing was merged"
    found = read_back(run.path)
    check_recording(found, num_envs=2)
    check_end(found, fleet.summary)
    for process in psutil.process_iter(["cmdline"]):  # it waits for the end of its grace
        if str(run.path) in (process.info["cmdline"] or []):
            process.kill()
            process.wait(10)
    rt.compact(lake, grace_s=0)
    assert {table: len(rt.parts(lake, table=table)) for table in ("steps", "episodes")} == {"steps": 1, "episodes": 1}
    again = read_back(run.path)
    check_recording(again, num_envs=2)
    check_end(again, fleet.summary)
    assert again.fragment_digests() == found.fragment_digests()
