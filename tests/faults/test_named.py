"""Faults with a name: the driver alone, a writer that was stopped and replaced, pauses of seconds, clocks that jump."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rolltape.actors.fleet import Fleet
from rolltape.storage.commits import CommitLog
from rolltape.storage.layout import RunFolder
from rolltape.storage.verify import verify_run
from tests.ray.environments import Paced
from tests.ray.processes import ENV_WORKER, HUB, WRITER, actors, go_on, one, stop
from tests.ray.readback import read_back
from tests.ray.rules import check_end, check_recording

from .keeper import KeeperProcess
from .trials import Fault, Outcome, Program, check, inject, loss_in_steps_s

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

QUICK: dict[str, Any] = {"fragment": {"max_age_s": 0.08}, "commit": {"max_age_s": 0.15}}
STOPPED_S = 3.0


def test_clocks_jump_by_an_hour_and_then_the_driver_alone_is_killed(tmp_path: Path) -> None:
    """Ray's daemons and all actors go after the driver, up to a minute later; the next verify says what is missing. That may
    be nothing: actors go on until they are ended.
    """
    program, keeper = Program(tmp_path, 1), KeeperProcess(tmp_path / "run-0")
    try:
        run = Path(program.next_line(0)[4:])
        outcome = Outcome()
        inject(program, run, keeper, Fault("clock", (), 0.1, apart_s=0.0), outcome)  # back
        inject(program, run, keeper, Fault("clock", (), 0.1, apart_s=0.2), outcome)  # and forth
        took_s = program.kill_alone()
        print(f"all of Ray was gone after {took_s:.1f} s")
        time.sleep(0.2)  # the keeper reads what is in its socket
        found = check(run, keeper.notes(), everything=False)
        assert loss_in_steps_s(found) >= 0
    finally:
        keeper.close()
        program.close()
    report = verify_run(RunFolder(run))
    assert report.verdict in ("clean", "lossy") and report.settled.startswith("its driver died")
    assert "clock" in {finding.code for finding in report.of("note")}
    assert verify_run(RunFolder(run)).verdict == report.verdict


@pytest.mark.usefixtures("ray_session")
def test_a_stopped_writer_that_was_replaced_wakes_up(tmp_path: Path) -> None:
    """It finds its staging folder gone, leaves, and publishes nothing; its producers send again to the one after it."""
    with Fleet(Paced, 4, tmp_path / "lake", num_workers=1, cpus_per_worker=0.01, **QUICK) as fleet:
        folder = fleet._recording.folder
        fleet.collect(steps=200, progress=False)
        stopped = one(WRITER)
        stop(stopped)

        def replace_and_wake() -> None:
            CommitLog.open(folder, 0)  # of the same slot: whoever comes later has the say
            go_on(stopped)

        timer = threading.Timer(1.0, replace_and_wake)
        timer.start()
        fleet.collect(steps=400, progress=False)
        timer.join()
        assert stopped not in actors(WRITER), "it has left"
    assert fleet.summary is not None and fleet.summary.lost_steps == 0
    found = read_back(folder.path)
    check_recording(found, num_envs=4)
    check_end(found, fleet.summary)
    assert {path.stem for path in folder.writers.glob("*.json")} >= {"w0.0", "w0.1", "w0.2"}
    assert verify_run(folder).verdict == "clean"


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("title", [ENV_WORKER, WRITER, HUB])
def test_a_pause_of_seconds_loses_nothing(tmp_path: Path, title: str) -> None:
    with Fleet(Paced, 4, tmp_path / "lake", num_workers=1, cpus_per_worker=0.01, **QUICK) as fleet:
        fleet.collect(steps=200, progress=False)
        stopped = one(title)
        stop(stopped)
        timer = threading.Timer(STOPPED_S, go_on, (stopped,))
        timer.start()
        fleet.collect(steps=2_000, progress=False)
        timer.join()
        assert one(title) == stopped, "nobody replaced it"
    assert fleet.summary is not None and (fleet.summary.lost_steps, fleet.summary.restarts) == (0, 0)
    found = read_back(fleet._recording.folder.path)
    check_recording(found, num_envs=4)
    check_end(found, fleet.summary)


@pytest.mark.usefixtures("ray_session")
def test_a_writer_that_stands_still_holds_the_environment_at_the_age_that_was_set(tmp_path: Path) -> None:
    """What a crash could cost is bounded by `max_unacked_age_s`, however small the rows are."""
    budget = {"max_unacked_age_s": 2.0}
    with Fleet(Paced, 1, tmp_path / "lake", num_workers=1, cpus_per_worker=0.01, budget=budget, **QUICK) as fleet:
        fleet.collect(steps=200, progress=False)
        writer = one(WRITER)
        stop(writer)
        counted: list[int] = []

        def look() -> None:
            time.sleep(3.0)  # longer than may be
            counted.append(fleet._recording.counts().steps)
            time.sleep(2.0)  # nothing may be stepped meanwhile
            counted.append(fleet._recording.counts().steps)
            go_on(writer)

        looking = threading.Thread(target=look)
        looking.start()
        fleet.collect(steps=4_000, progress=False)
        looking.join()
    assert counted[1] - counted[0] <= 5, "it stood still"
    assert fleet.summary is not None and fleet.summary.lost_steps == 0
