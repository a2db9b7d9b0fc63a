"""A run goes on after a stop and after a crash: same id, new lives, no episode and no seed twice, accounts in order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rolltape as rt
from rolltape.actors import launch
from rolltape.actors.fleet import Fleet
from rolltape.schema.errors import ConfigError, LakeNotFound
from rolltape.storage.run_info import read_run_info, write_run_info

from .environments import Paced
from .readback import read_back
from .rules import check_end, check_recording

pytestmark = pytest.mark.usefixtures("ray_session")

QUICK: dict[str, Any] = {"fragment": {"max_age_s": 0.1}, "commit": {"max_age_s": 0.1}}
SOURCE = "tests.ray.environments:Paced"


def crash(fleet: Fleet) -> Path:
    """What the death of the driver and of all its actors leaves, without a Ray of its own."""
    folder = fleet._recording.folder
    for slot in fleet._slots:
        launch.kill(slot.worker)
    launch.stop_actors(fleet._recording._actors)
    fleet._recording.log.stop()
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    info = read_run_info(folder)
    write_run_info(folder, info | {"host": info["host"] | {"pid": gone.pid}})
    return folder.path


def test_after_an_end_and_after_a_crash(lake: Path) -> None:
    first = Fleet(SOURCE, 4, lake, num_workers=2, cpus_per_worker=0.01, seed=3, **QUICK)
    first.collect(steps=300)
    run_path = crash(first)
    assert rt.open(lake).run("latest").status == "crashed"
    crashed = read_back(run_path)
    steps = len(crashed.column("steps", "t"))

    with Fleet(lake=lake, resume="latest") as fleet:
        resumed = fleet.resumed
        assert resumed is not None
        assert fleet.run_id == run_path.name and fleet.run.status == "running"
        fleet.collect(steps=400)
    assert (resumed.session, resumed.ended, resumed.steps) == (2, "crashed", steps)
    assert resumed.lost_steps is not None and resumed.lost_episodes >= 1
    assert resumed.lines()["lost before"].endswith("declared in the ledger now")
    found = read_back(run_path)
    check_recording(found, num_envs=4)
    end = check_end(found, fleet.summary)
    assert end["status"] == "completed" and end["steps"] >= steps + 400
    assert fleet.summary is not None and fleet.summary.steps_before == steps
    assert end["lost_steps"] == resumed.lost_steps
    assert set(found.column("steps", "incarnation")) == {0, 1}
    assert found.fragment_digests().items() >= crashed.fragment_digests().items(), "what was there is as it was"

    with Fleet(SOURCE, lake=lake, resume=run_path.name[:20], num_envs=4, commit={"max_age_s": 0.2}) as again:
        assert again.resumed is not None
        again.collect(steps=100)
    assert (again.resumed.session, again.resumed.ended, again.resumed.declared_now) == (3, "completed", False)
    found = read_back(run_path)
    check_recording(found, num_envs=4)
    check_end(found, again.summary)
    sessions = json.loads((run_path / "run.json").read_text())["sessions"]
    assert [s["session"] for s in sessions] == [2, 3]
    assert sessions[1]["end"]["steps"] == end["steps"]


def test_what_cannot_go_on(lake: Path) -> None:
    with pytest.raises(LakeNotFound):
        Fleet(lake=lake, resume="latest")
    with pytest.raises(ConfigError, match="name an environment, or a run"):
        Fleet(lake=lake)
    with Fleet(Paced, 2, lake, num_workers=1, **QUICK) as fleet:
        fleet.collect(steps=50)
        with pytest.raises(ConfigError, match=r"is being recorded by process \d+"):
            Fleet(lake=lake, resume="latest")
    with pytest.raises(ConfigError, match=r"num_envs: run .* has 2, and a run goes on as it began"):
        Fleet(lake=lake, resume="latest", num_envs=3)
    with pytest.raises(ConfigError, match=r"seed: run .* has 0"):
        Fleet(lake=lake, resume="latest", seed=8)
    with pytest.raises(ConfigError, match="env: run"):
        Fleet("CartPole-v1", lake=lake, resume="latest", vectorization="sync")
