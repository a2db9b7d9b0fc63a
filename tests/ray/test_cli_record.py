"""`rolltape record` as a user runs it: in this process on the session's Ray, and in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest

import rolltape
from rolltape.scripts.cli import main

from .processes import wait_for

Result = tuple[int, str, str]
Command = Callable[..., Result]
QUICK = ("--fragment-age-s", "0.1", "--commit-age-s", "0.1")
FRAGILE = "tests.ray.environments:fragile"


@pytest.fixture
def record(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Run `rolltape record` in an empty folder; gives the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROLLTAPE_LAKE", raising=False)

    def run(*arguments: str) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["record", *arguments, *QUICK])
        shown = capfd.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def unexpected(err: str) -> str:
    """What stands on stderr besides the log's lines of a run's start and end."""
    lines = [
        line for line in err.splitlines() if not re.match(r"(\d\d:\d\d:\d\d INFO run LOG100[13] |run$|  \w)", line)
    ]
    return "\n".join(lines)


def facts(out: str) -> dict[str, str]:
    """The table of a summary."""
    rows = [line.split(maxsplit=1) for line in out.splitlines() if line and not line.startswith(" ")]
    return {row[0]: row[1].strip() if len(row) > 1 else "" for row in rows}


def test_a_run_and_its_summary(record: Command, tmp_path: Path) -> None:
    code, out, err = record("CartPole-v1", "--envs", "4", "--steps", "2000", "--seed", "3")
    assert (code, unexpected(err)) == (0, "")
    assert f" INFO run LOG1001 Recording CartPole-v1 as run {facts(out)['run']} in {tmp_path / 'lake'}.\nrun\n" in err
    assert re.search(r"\n  environments +4 × CartPole-v1\n", err)
    assert re.search(r"\n  durable.seed +3  \[cli", err)
    assert "fleet.autoreset" not in err, "what is as its default is not shown"
    assert err.rstrip().endswith(f"{facts(out)['steps']} steps, {int(facts(out)['episodes'].split()[0]) + 4} episodes.")
    told = facts(out)
    run = rolltape.open("lake").run(told["run"])
    assert told["path"] == str(run.path) == str(tmp_path / "lake" / "runs" / run.run_id)
    assert told["status"] == run.status == "completed"
    steps = ds.dataset(run.path / "steps").to_table(columns=["reward"])
    assert told["steps"] == f"{steps.num_rows:,}" and 2000 <= steps.num_rows < 2004
    ended = run.episodes("status = 'completed'").numpy()["return"]
    assert told["episodes"].startswith(f"{len(ended):,} completed, mean return {ended.mean():,.6g}; ")
    assert told["restarts"] == "0"
    assert f"  rolltape episodes {run.run_id} --order " in out
    assert (run.info["seed"], run.info["num_envs"], run.info["frames"]["policy"]) == (3, 4, "none")


def test_the_next_commands_work_as_they_are_printed(record: Command, capfd: pytest.CaptureFixture[str]) -> None:
    import shlex

    _, out, _ = record("CartPole-v1", "--episodes", "5", "--lake", "my lake")
    commands = [shlex.split(line) for line in out.splitlines() if line.startswith("  rolltape ")]
    assert len(commands) == 3
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(command[1:])
        assert (ended.value.code or 0) == 0, command
        assert capfd.readouterr().out


@pytest.mark.long
def test_a_run_goes_on(record: Command) -> None:
    code, out, _ = record("CartPole-v1", "--envs", "2", "--steps", "200", "--quiet")
    run_id = out.strip()
    assert code == 0
    code, out, err = record("--resume", "latest", "--steps", "300")
    assert code == 0, err
    told = facts(out)
    assert told["run"] == run_id and told["status"] == "completed"
    before = rolltape.open("lake").run(run_id).info["sessions"][0]["steps"]
    assert 200 <= before <= 202
    assert "session 2" in err and "after" in err and "lost before" in err
    assert before + 300 <= int(told["steps"]) <= before + 302
    (resumed,) = rolltape.open("lake").run(run_id).logs("code = 'LOG1002'").to_dicts()
    assert resumed["message"] == f"Run {run_id} goes on with session 2, from {before} steps on."


def test_json(record: Command) -> None:
    code, out, _ = record(
        "CartPole-v1", "--steps", "300", "--policy", "tests.ray.policies:talkative", "--json", "--vectorization", "sync"
    )
    assert code == 0
    found = json.loads(out)
    run = rolltape.open("lake").run(found["run_id"])
    assert found["steps"] == len(run.steps()) == 300
    assert found["error"] is None and found["status"] == "completed"
    assert found["bytes_per_step"] == found["bytes"] / 300
    assert set(run.steps().numpy()["action"]) == {0}
    assert "a policy said this" not in out


def test_quiet(record: Command) -> None:
    code, out, err = record("CartPole-v1", "--episodes", "2", "--quiet")
    assert (code, err) == (0, "")
    assert len(rolltape.open("lake").run(out.strip()).episodes("status = 'completed'")) >= 2


def test_frames_and_arguments_of_the_environment(record: Command) -> None:
    code, out, _ = record("CartPole-v1", "--episodes", "2", "--frames", "render:3", "-k", "sutton_barto_reward=true")
    assert code == 0
    run = rolltape.open("lake").run(facts(out)["run"])
    assert run.info["env"]["kwargs"] == {"sutton_barto_reward": True, "render_mode": "rgb_array"}
    episode = run.episodes("status = 'completed'").to_dicts()[0]
    length = episode["length"]
    assert episode["return"] == -1.0
    times = run.lake.sql(
        "select t from frames where run_id = ? and episode = ? order by t", [run.run_id, episode["episode"]]
    ).numpy()["t"]
    assert set(times) == {*range(0, length, 3), length}
    assert run.frame(episode["episode"], 0).shape == (400, 600, 3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["CartPol-v1"], "No environment 'CartPol-v1'. Did you mean CartPole-v1"),
        (["CartPole-v1", "--policy", "no_such_x:act"], "policy 'no_such_x:act': there is no module 'no_such_x'."),
        (["CartPole-v1", "--frames", "observation"], "'observation' needs an image observation"),
        (["CartPole-v1", "-k", "wheels=3"], "env_kwargs: CartPole-v1 takes no argument 'wheels'"),
        (["CartPole-v1", "--frames", "render", "-k", "render_mode=ansi"], "renders are recorded with render_mode="),
        (
            ["CartPole-v1", "--envs", "99", "--workers", "99"],
            "cannot place 99 workers of 1 CPU: the run needs 99 CPUs, the cluster has 8 CPUs",
        ),
        (["CartPole-v1", "--lake", "taken"], "Cannot make the lake"),
        (["CartPole-v1", "--lake", "taken/lake"], "taken is a file. Choose another folder."),
    ],
)
def test_what_cannot_begin(record: Command, tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "taken").touch()
    code, out, err = record(*arguments, "--steps", "10")
    assert (code, out) == (1, "")
    assert err.startswith("rolltape: ") and told in err
    assert "Traceback" not in err and err.count("\n") <= 2
    assert not (tmp_path / "lake" / "runs").exists()


def test_a_lake_without_room(record: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs

    def full(path: Any) -> Any:
        return type("Room", (), {"f_bavail": 10, "f_frsize": 1 << 20, "f_flag": real(path).f_flag})

    monkeypatch.setattr(os, "statvfs", full)
    code, out, err = record("CartPole-v1", "--steps", "10")
    assert (code, out) == (1, "")
    assert "No room in the lake" in err and "10 MiB free" in err


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("broken", "raised ValueError: the policy is broken ("),
        ("too_many", "returned actions of shape (3,), expected (2,)"),
    ],
)
def test_a_policy_that_does_not_work(record: Command, policy: str, told: str) -> None:
    name = f"tests.ray.policies:{policy}"
    code, out, err = record("CartPole-v1", "--envs", "2", "--steps", "100", "--policy", name, "--json")
    assert code == 1
    found = json.loads(out)
    assert found["status"] == rolltape.open("lake").run(found["run_id"]).status == "failed"
    assert err == f"rolltape: {found['error']}\n"
    assert told in err


def test_an_environment_that_raises_leaves_what_came_before(record: Command) -> None:
    code, out, err = record(FRAGILE, "--envs", "2", "--steps", "1000", "-k", "how=raise", "-k", "at=120")
    assert code == 1
    assert "fragile raised ZeroDivisionError: the pole fell through the floor (" in err
    assert "environments.py:" in err and "Traceback" not in err
    told = facts(out)
    run = rolltape.open("lake").run(told["run"])
    assert told["status"] == run.status == "failed"
    assert len(run.steps()) > 100
    assert np.isfinite(run.episodes().numpy()["return"]).all()


# ---- processes of their own -----------------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from rolltape.scripts.cli import main; main()", *arguments]


@pytest.mark.skipif("RAY_ADDRESS" in os.environ, reason="means this machine alone")
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGINT, "interrupted by the user"),
        pytest.param(signal.SIGTERM, "terminated", marks=pytest.mark.long),
    ],
)
def test_a_signal_ends_a_run_in_an_orderly_way(number: signal.Signals, reason: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("record", "ALE/Breakout-v5", "--envs", "4", "--steps", "1000000000"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: list(tmp_path.glob("lake/runs/*/steps/*.parquet")), "a first commit", timeout_s=100)
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: to everything that it started
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    lines = unexpected(err).splitlines()
    said = [line for line in lines if not line.startswith("ALE/Breakout-v5: ")]  # progress of a slow machine
    assert said == [], "Ray, its workers or the environment said something"
    told = facts(out)
    assert told["status"] == f"stopped: {reason}"
    run = rolltape.open(tmp_path / "lake").run(told["run"])
    assert run.status == "stopped"
    assert told["steps"] == f"{len(run.steps()):,}" != "0"
    assert told["lost"] == "0 steps, 0 episodes"
    lengths = run.episodes().numpy()["length"]
    assert int(lengths.sum()) == len(run.steps()), "open episodes are closed as aborted, with all their steps"


@pytest.mark.skipif("RAY_ADDRESS" in os.environ, reason="means this machine alone")
def test_sigterm_while_the_run_starts(tmp_path: Path) -> None:
    """Ray's own handler printed stacks of its threads then."""
    process = subprocess.Popen(
        command("record", "CartPole-v1", "--steps", "1000000000"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: list(tmp_path.glob("lake/runs/*/run.json")), "a run's folder", timeout_s=100)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (128 + signal.SIGTERM, "")
    assert unexpected(err) == "rolltape: ended by SIGTERM before anything was recorded"
    assert rolltape.open(tmp_path / "lake").runs().to_dicts()[0]["status"] in ("stopped", "crashed")


def test_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    done = subprocess.run(
        command("record", "CartPole-v1", "--steps", "10"),
        cwd=tmp_path,
        env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rolltape: Nobody answers at RAY_ADDRESS=127.0.0.1:1 (Connection refused).")
    assert list(tmp_path.glob("lake/runs/*")) == []
