"""Actors of a fleet are killed in the middle of a run: it finishes, and nothing that was acknowledged is lost or doubled."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from rolltape.actors import fleet as fleet_module
from rolltape.actors.fleet import Fleet

from .environments import Chatty, Paced, pause_and_balance
from .obligations import EnvWorkerThatNotes, check_obligations
from .processes import ENV_WORKER, HUB, WRITER, actors, kill, wait_for
from .readback import Found, read_back
from .rules import check_end, check_recording
from .truth import stories

pytestmark = pytest.mark.usefixtures("ray_session")

QUICK: dict[str, Any] = {"fragment": {"max_age_s": 0.1}, "commit": {"max_age_s": 0.1}}
RESTART_S = 3.0
"""What a restart may take on an idle machine."""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Workers of fleets note what is acknowledged in this folder."""
    monkeypatch.setattr(fleet_module, "EnvWorker", EnvWorkerThatNotes)
    return tmp_path / "notes"


@pytest.fixture
def background() -> Callable[..., Future[Any]]:
    """Runs a function in a thread, which nobody waits for when a test fails."""

    def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future

    return run


class Progress:
    """What a run has come to, from its folder alone."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def commits(self, life: int | None = None) -> int:
        """Markers of all writers, or of the one of that incarnation."""
        return len(list((self.run / "commits").glob(f"w0.{'*' if life is None else life}-*.json")))

    def steps(self, producer: int, life: int) -> int:
        """Steps that a producer's page counts."""
        path = self.run / "producers" / f"p{producer}.{life}.page"
        data = path.read_bytes()[:48] if path.exists() else b""
        return int.from_bytes(data[40:48], "little")

    def more_commits(self, than: int) -> None:
        wait_for(lambda: self.commits() > than, "further commits", 60)


def finish(fleet: Fleet, notes: Path, num_envs: int) -> tuple[Found, dict[str, Any]]:
    """Close, and check everything that must hold."""
    fleet.close()
    found = read_back(fleet._recording.folder.path)
    check_recording(found, num_envs=num_envs)
    end = check_end(found, fleet.summary)
    assert end["status"] == "completed"
    assert check_obligations(notes, found) > 10
    return found, end


def _check_ledger(found: Found, end: dict[str, Any]) -> None:
    """One row a life that lost steps: one that is killed between a commit and its next step has lost none."""
    said = sorted((row["cause"], f"p{row['of_worker']}.{row['of_incarnation']}") for row in found.rows("ledger"))
    assert said == sorted(("killed", key) for key, counts in end["reconciled"].items() if counts["lost"])


def test_env_workers_are_replaced(lake: Path, notes: Path, background: Any, record_property: Any) -> None:
    took = []
    with Fleet(Paced, 4, lake, num_workers=2, **QUICK) as fleet:
        work = background(fleet.collect, steps=6000, policy=pause_and_balance)
        progress = Progress(fleet._recording.folder.path)
        for life in range(3):
            wait_for(lambda life=life: progress.steps(1, life) > 300, "the worker to have stepped", 60)
            (victim,) = [pid for pid in actors(ENV_WORKER) if _producer(fleet, pid) == 1]
            sent = kill(victim)
            wait_for(lambda life=life: progress.steps(1, life + 1) > 0, "its successor's first step", 60)
            took.append(time.monotonic() - sent)
        work.result(60)
        found, end = finish(fleet, notes, 4)
    assert end["restarts"] == 3
    assert end["steps"] >= 6000
    _check_ledger(found, end)
    lost = [row for row in found.rows("episodes") if row["status"] == "lost"]
    assert len(lost) >= 3
    assert {row["sub_env"] for row in lost} <= {2, 3}
    _in_time(took, record_property)


def test_the_writer_comes_back(lake: Path, notes: Path, background: Any, record_property: Any) -> None:
    took = []
    with Fleet(Paced, 4, lake, num_workers=2, **QUICK) as fleet:
        work = background(fleet.collect, steps=8000, policy=pause_and_balance)
        progress = Progress(fleet._recording.folder.path)
        for life in range(3):
            wait_for(lambda life=life: progress.commits(life) > 3, "commits", 60)
            sent = kill(_one(WRITER))
            wait_for(lambda life=life: progress.commits(life + 1), "a commit of its successor", 60)
            took.append(time.monotonic() - sent)
        work.result(60)
        _, end = finish(fleet, notes, 4)
    assert (end["restarts"], end["lost_steps"]) == (0, 0)
    assert end["resent"] > 0
    _in_time(took, record_property)


def test_the_hub_comes_back(lake: Path, notes: Path, background: Any, record_property: Any) -> None:
    took = []
    seen = []
    with Fleet(Paced, 4, lake, num_workers=2, **QUICK) as fleet:
        work = background(fleet.collect, steps=8000, policy=pause_and_balance, progress=seen.append)
        progress = Progress(fleet._recording.folder.path)
        for _ in range(3):
            progress.more_commits(progress.commits() + 3)
            epoch = fleet._recording.hub.counts().epoch
            sent = kill(_one(HUB))
            wait_for(lambda epoch=epoch: fleet._recording.hub.counts(60).epoch != epoch, "a new epoch", 60)
            took.append(time.monotonic() - sent)
            wait_for(lambda: fleet._recording.hub.counts(60).producers == 2, "both to register again", 60)
        work.result(60)
        _, end = finish(fleet, notes, 4)
    assert (end["restarts"], end["lost_steps"], end["resent"]) == (0, 0, 0)
    steps = [p.steps for p in seen]
    assert steps == sorted(steps), "the progress went back"
    _in_time(took, record_property)


@pytest.mark.long
def test_worker_and_writer_die_together(lake: Path, notes: Path, background: Any) -> None:
    with Fleet(Paced, 4, lake, num_workers=2, **QUICK) as fleet:
        work = background(fleet.collect, steps=6000, policy=pause_and_balance)
        progress = Progress(fleet._recording.folder.path)
        for life in range(2):
            wait_for(lambda life=life: progress.steps(0, life) > 300, "the worker to have stepped", 60)
            wait_for(lambda life=life: progress.commits(life) > 2, "commits", 60)
            (victim,) = [pid for pid in actors(ENV_WORKER) if _producer(fleet, pid) == 0]
            for pid in (_one(WRITER), victim):
                kill(pid)
            wait_for(lambda life=life: progress.steps(0, life + 1) > 0, "its successor's first step", 60)
        work.result(60)
        found, end = finish(fleet, notes, 4)
    assert end["restarts"] == 2
    assert end["steps"] >= 6000
    _check_ledger(found, end)


@pytest.mark.long
def test_a_new_hub_knows_the_columns_of_the_run(lake: Path, notes: Path, background: Any, tmp_path: Path) -> None:
    """The types of infos are settled once. A worker that comes after the hub's restart has other infos first."""
    later = tmp_path / "later"
    with Fleet(Chatty, 1, lake, num_workers=1, env_kwargs={"later": str(later)}, **QUICK) as fleet:
        work = background(fleet.collect, steps=2500, policy=pause_and_balance)
        progress = Progress(fleet._recording.folder.path)
        progress.more_commits(2)
        later.touch()
        kill(_one(HUB))
        kill(_one(ENV_WORKER))
        work.result(60)
        found, _ = finish(fleet, notes, 1)
    told = [info for story in stories(found).values() for info in story.infos]
    assert {"early": 7} in told
    assert {"late": 1.5} in told
    assert all(info in ({"early": 7}, {"late": 1.5}) for info in told)


@pytest.mark.long
def test_a_new_hub_still_stops_the_run(lake: Path, background: Any) -> None:
    with Fleet(Paced, 2, lake, num_workers=1, **QUICK) as fleet:
        work = background(fleet.collect, steps=10**9)
        progress = Progress(fleet._recording.folder.path)
        progress.more_commits(2)
        kill(_one(HUB))
        began = time.monotonic()
        fleet._interrupt()
        assert time.monotonic() - began < 20
        work.result(20)
    check_recording(read_back(progress.run), num_envs=2)
    assert fleet.summary is not None
    assert (fleet.summary.status, fleet.summary.lost_steps) == ("stopped", 0)


def _one(title: str) -> int:
    return wait_for(lambda: actors(title) if len(actors(title)) == 1 else None, f"one {title}", 30)[0]


def _producer(fleet: Fleet, pid: int) -> int | None:
    """The number of the producer that runs in a process, as it told the hub."""
    (run,) = {str(fleet._recording.folder.path)}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if run in line and line.endswith(".page"):
            return int(Path(line.split()[-1]).name[1:].split(".")[0])
    return None


def _in_time(took: list[float], record_property: Any) -> None:
    record_property("restart_s", json.dumps([round(s, 2) for s in took]))
    print("restarts:", [round(s, 2) for s in took])
