"""Environments that crash or raise: the worker is replaced, or the run fails and says why. Never a hang."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rolltape.actors.fleet import Fleet
from rolltape.schema.errors import EnvError, RunFailed

from .environments import Fragile, Paced, Stillborn, Unlucky, pause_and_balance, policy_that_raises
from .readback import Found, read_back
from .rules import check_end, check_recording

pytestmark = pytest.mark.usefixtures("ray_session")

QUICK: dict[str, Any] = {"fragment": {"max_age_s": 0.1}, "commit": {"max_age_s": 0.1}}


def read(fleet: Fleet, num_envs: int, status: str) -> Found:
    found = read_back(fleet._recording.folder.path)
    check_recording(found, num_envs=num_envs)
    end = json.loads((found.run / "end.json").read_text())
    assert end["status"] == status
    return found


@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_a_worker_that_crashes_is_replaced(lake: Path, tmp_path: Path, how: str) -> None:
    kwargs = {"how": how, "at": 700, "once": str(tmp_path / "once")}
    with Fleet(Fragile, 2, lake, num_workers=1, env_kwargs=kwargs, **QUICK) as fleet:
        fleet.collect(steps=2500, policy=pause_and_balance)
    found = read(fleet, 2, "completed")
    end = check_end(found, fleet.summary)
    assert (end["restarts"], len(found.rows("ledger"))) == (1, 1)
    assert end["steps"] >= 2500
    assert 0 < end["lost_steps"] < 700


@pytest.mark.long
def test_what_two_lives_lost_is_in_the_ledger(lake: Path, tmp_path: Path) -> None:
    """The second dies before anything of it is durable, also what the first had lost."""
    folder = tmp_path / "lives"
    folder.mkdir()
    kwargs = {"plan": [500, 20], "folder": str(folder)}
    with Fleet(Unlucky, 1, lake, num_workers=1, env_kwargs=kwargs, **QUICK) as fleet:
        fleet.collect(steps=1000, policy=pause_and_balance)
    found = read(fleet, 1, "completed")
    end = check_end(found, fleet.summary)
    assert end["restarts"] == 2
    assert {(row["cause"], row["of_worker"], row["of_incarnation"]) for row in found.rows("ledger")} == {
        ("killed", 0, 0),
        ("killed", 0, 1),
    }
    lost = [row for row in found.rows("episodes") if row["status"] == "lost"]
    assert len(lost) == end["lost_episodes"] >= 2
    numbers = sorted(row["episode"] for row in found.rows("episodes"))
    assert numbers == list(range(len(numbers))), "an episode is missing"


def test_a_worker_that_dies_at_once_fails_the_run(lake: Path) -> None:
    began = time.monotonic()
    with pytest.raises(RunFailed, match=r"Fragile.*died 3 times") as caught:
        with Fleet(Fragile, 2, lake, num_workers=1, env_kwargs={"how": "exit", "at": 1}, **QUICK) as fleet:
            fleet.collect(steps=1000)
    assert "exit" in str(caught.value).lower() or "process" in str(caught.value).lower()
    assert time.monotonic() - began < 60
    found = read(fleet, 2, "failed")
    assert found.column("steps", "t") == []


@pytest.mark.long
def test_other_workers_keep_what_they_recorded(lake: Path) -> None:
    """One of two workers always dies at the same step: the run fails, what both recorded is there."""
    with (
        pytest.raises(RunFailed, match="died 3 times"),
        Fleet(Fragile, 2, lake, num_workers=2, env_kwargs={"how": "exit", "at": 1, "step_s": 0.002}, **QUICK) as fleet,
    ):
        fleet.collect(steps=100_000)
    read(fleet, 2, "failed")


def test_an_environment_that_raises(lake: Path) -> None:
    with pytest.raises(RunFailed, match="Fragile") as caught:
        with Fleet(Fragile, 2, lake, num_workers=2, env_kwargs={"how": "raise", "at": 300}, **QUICK) as fleet:
            fleet.collect(steps=100_000, policy=pause_and_balance)
    assert "the pole fell through the floor" in str(caught.value)
    found = read(fleet, 2, "failed")
    assert len(found.column("steps", "t")) >= 299
    assert "floor" in json.loads((found.run / "end.json").read_text())["reason"]
    statuses = set(found.column("episodes", "status"))
    assert statuses <= {"completed", "aborted"}, "nothing is lost: the worker lives and closes its episodes"


def test_a_policy_that_raises(lake: Path) -> None:
    with Fleet(Paced, 2, lake, num_workers=1, **QUICK) as fleet:
        fleet.collect(steps=100)
        with pytest.raises((RunFailed, EnvError), match="policy_that_raises") as caught:
            fleet.collect(steps=100, policy=policy_that_raises)
        assert "no such weight" in str(caught.value)
    found = read(fleet, 2, "failed")
    assert 100 <= len(found.column("steps", "t")) <= 101  # whole batches


def test_a_recorded_sequence_that_is_too_short(lake: Path) -> None:
    with pytest.raises(EnvError, match="20 steps"), Fleet(Paced, 2, lake, num_workers=1, **QUICK) as fleet:
        fleet.collect(steps=100, policy=np.zeros((20, 2), int))
    found = read(fleet, 2, "failed")
    assert len(found.column("steps", "t")) >= 30


@pytest.mark.parametrize("how", ["exit", "raise"])
def test_an_environment_that_cannot_be_made_in_a_worker(lake: Path, how: str) -> None:
    began = time.monotonic()
    with pytest.raises((EnvError, RunFailed), match="Stillborn") as caught:
        Fleet(Stillborn, 2, lake, num_workers=1, env_kwargs={"how": how, "parent": os.getpid()})
    assert time.monotonic() - began < 60
    if how == "raise":
        assert "no licence on this machine" in str(caught.value)
    (run,) = (lake / "runs").iterdir()
    assert json.loads((run / "end.json").read_text())["status"] == "failed"
