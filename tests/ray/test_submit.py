"""Jobs on a real head: a recording arrives in the lake under its id, a retry knows it, a stop is orderly.

The head is one of its own, started by the test as people start it, with the dashboard that takes jobs.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolltape.storage.lake import open_lake

from .head import head

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with head() as found:
        yield found


def submit(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("rolltape")), "submit", "--address", address, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)


def test_a_job_records_is_retried_and_refused(address: str, lake: Path) -> None:
    what = ["record", "CartPole-v1", "--envs", "4", "--workers", "2", "--steps", "500"]
    done = submit(
        address, "--lake", str(lake), "--set", "durable.commit.max_age_s=0.4", "--submission-id", "nightly-1", *what
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = open_lake(lake).run("latest")
    assert run.run_id in done.stderr
    rows = {row["key"]: row for row in run.info["settings"]["values"]}
    assert (rows["durable.commit.max_age_s"]["value"], rows["durable.commit.max_age_s"]["source"]) == (0.4, "cli")
    again = submit(address, "--lake", str(lake), "--retry", "nightly-1", *what)
    assert again.returncode == 0, again.stdout + again.stderr
    assert _runs(lake) == [run.run_id], "the same run"
    run = open_lake(lake).run("latest")
    assert len(run.info["sessions"]) == 1 and len(run.steps()) < 520, "there was nothing left to record"
    more = submit(address, "--lake", str(lake), "--retry", "nightly-1", *what[:-1], "900")
    assert more.returncode == 0, more.stdout + more.stderr
    assert 900 <= len(open_lake(lake).run("latest").steps()) < 920
    refused = submit(
        address, "--lake", str(lake), "record", "CartPole-v1", "--steps", "9", "--envs", "99", "--workers", "99"
    )
    assert refused.returncode == 1
    assert "cannot place 99 workers of 1 CPU: the run needs 99 CPUs, the cluster has 4 CPUs" in refused.stderr


def test_a_stop_makes_everything_durable(address: str, lake: Path) -> None:
    what = ["record", "CartPole-v1", "--envs", "2", "--workers", "1", "--steps", "1000000000"]
    started = submit(address, "--lake", str(lake), "--no-follow", *what)
    name = started.stdout.strip()
    deadline = time.monotonic() + 200
    while not list(lake.glob("runs/*/commits/*")):
        assert time.monotonic() < deadline, json.loads(submit(address, "--status", name).stdout)
        time.sleep(0.2)
    assert submit(address, "--stop", name).stdout == f"{name}: STOPPED\n"
    assert open_lake(lake).run("latest").status == "stopped"


PROGRAM = """
import os, sys
import gymnasium as gym
import rolltape as rt
env = rt.record(gym.make("CartPole-v1"))
env.reset(seed=1)
for _ in range(100):
    *_, terminated, truncated, _ = env.step(env.action_space.sample())
    if terminated or truncated:
        env.reset()
env.close()
sys.exit(0 if os.path.exists("retried") else 5)
"""


def test_a_program_is_retried_into_its_run(address: str, lake: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "train.py").write_text(PROGRAM)
    what = ["--lake", str(lake), "--working-dir", str(folder)], ["run", "--", "python", "train.py"]
    failed = submit(address, *what[0], "--submission-id", "trained", *what[1])
    assert failed.returncode == 1 and "exit code 5" in failed.stdout + failed.stderr
    run = open_lake(lake).run("latest")
    assert (run.status, len(run.steps())) == ("failed", 100)
    (folder / "retried").touch()
    done = submit(address, *what[0], "--retry", "trained", *what[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert _runs(lake) == [run.run_id]
    run = open_lake(lake).run("latest")
    assert (run.status, len(run.steps())) == ("completed", 200)


def _runs(lake: Path) -> list[str]:
    return [path.name for path in (lake / "runs").iterdir()]
