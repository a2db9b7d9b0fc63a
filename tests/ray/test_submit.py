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
    assert {r.info.get("retry_of") for r in map(open_lake(lake).run, _runs(lake))} == {None, run.run_id}
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


def _runs(lake: Path) -> list[str]:
    return [path.name for path in (lake / "runs").iterdir()]
