"""Programs that are run and supervised: their output, their ends, and the recorders in them."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import rolltape
from rolltape.actors.external_run import ProgramEnd, run_program
from rolltape.schema.errors import ConfigError
from rolltape.storage.configuration import configured_by

from .processes import actors, kill, lives, wait_for
from .readback import read_back

pytestmark = pytest.mark.usefixtures("ray_session")

LOOP = """
import sys, time
import gymnasium as gym
import rolltape as rt
env = rt.record(gym.make("CartPole-v1"), lake="elsewhere", fragment={"max_age_s": 0.1}, commit={"max_age_s": 0.1})
env.reset(seed=1)
for k in range(STEPS):
    *_, terminated, truncated, _ = env.step(env.action_space.sample())
    if terminated or truncated:
        env.reset()
    if k == 50:
        print("stepping", flush=True)
    time.sleep(PAUSE)
env.close()
"""


class Screen:
    """What a terminal shows."""

    def __init__(self) -> None:
        self.out = self.err = b""
        self.run_id, self.pid = "", 0

    def show(self, output: Any) -> None:
        self.out += output.stdout
        self.err += output.stderr

    def begun(self, run_id: str, pid: int) -> None:
        self.run_id, self.pid = run_id, pid


def run(lake: Path, code: str, screen: Screen, **options: Any) -> ProgramEnd:
    settings = configured_by("tests", None, None, lake=lake, frames=None, commit={"max_age_s": 0.1})
    return run_program(
        [sys.executable, "-c", code], settings, folder=lake.parent, show=screen.show, begun=screen.begun, **options
    )


def end_of(lake: Path, run_id: str) -> dict[str, Any]:
    return json.loads((lake / "runs" / run_id / "end.json").read_text())


def test_output_and_exit_code(lake: Path) -> None:
    screen = Screen()
    code = """
import os, sys
print("plain")
print('LOG1003 | update 7 | extra={"loss": 0.5}')
sys.stdout.buffer.write(b"caf\\xe9\\n" + b"x" * (1 << 20) + b"\\n"); sys.stdout.flush()
print("complaint", file=sys.stderr)
for k in range(20_000): print("line", k)
sys.exit(3)
"""
    ended = run(lake, code, screen)
    assert ended.exit_code == 3
    assert ended.summary is not None and ended.summary.status == "failed"
    assert screen.err == b"complaint\n"
    assert screen.out.startswith(b"plain\nLOG1003 | ") and screen.out.endswith(b"line 19999\n")
    found = rolltape.open(lake).run(ended.run_id)
    assert found.status == "failed" and end_of(lake, ended.run_id)["reason"] == "the program ended with exit code 3"
    lines = found.logs("origin <> 'record'").to_dicts()
    assert len(lines) == 20_005, "nothing is lost"
    (update,) = [row for row in lines if row["code"] == "LOG1003"]
    assert (update["component"], update["message"], update["data"]) == ("run", "update 7", '{"loss": 0.5}')
    assert [row["message"] for row in lines if row["origin"] == "stderr"] == ["complaint"]
    assert max(len(row["message"]) for row in lines) == 1 << 20
    said = [row["code"] for row in found.logs("origin = 'record'").to_dicts()]
    assert said[0] == "LOG5002" and "LOG5004" in said


def test_a_recorder_inside_joins_the_run(lake: Path) -> None:
    screen = Screen()
    ended = run(lake, LOOP.replace("STEPS", "200").replace("PAUSE", "0"), screen)
    assert ended.exit_code == 0, screen.err
    assert ended.summary is not None and ended.summary.status == "completed"
    assert not (lake.parent / "elsewhere").exists()
    found = rolltape.open(lake).run()
    assert (found.run_id, found.env_id, len(found.steps())) == (ended.run_id, "CartPole-v1", 200)
    assert len(found.episode(found.episodes().numpy()["episode"][0]).observations) > 1
    assert found.logs("code = 'LOG5006'").to_dicts()[0]["message"] == "A recorder of CartPole-v1 joined as p0.0."


def soon(act: Any) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.long
def test_a_program_that_is_killed(lake: Path) -> None:
    """The recorder dies and the supervisor does not: what was durable is there, what was not is declared."""
    screen = Screen()

    def act() -> None:
        wait_for(lambda: b"stepping" in screen.out, "steps", 60)
        wait_for(lambda: len(list(lake.glob("runs/*/steps/*.parquet"))) > 3, "commits of its steps", 60)
        kill(screen.pid)

    killer = soon(act)
    ended = run(lake, LOOP.replace("STEPS", "100_000").replace("PAUSE", "0.002"), screen)
    killer.join()
    assert ended.exit_code == 128 + signal.SIGKILL
    check_lost(lake, ended)
    assert rolltape.open(lake).run().logs("code = 'LOG5004'").to_dicts()[0]["message"].endswith("signal SIGKILL.")


@pytest.mark.long
def test_a_supervisor_that_is_killed(lake: Path) -> None:
    """The program ends with it; the run is closed by its driver."""
    screen = Screen()

    def act() -> None:
        wait_for(lambda: b"stepping" in screen.out, "steps", 60)
        kill(actors("ray::ExternalProgram")[0])

    killer = soon(act)
    ended = run(lake, LOOP.replace("STEPS", "100_000").replace("PAUSE", "0.002"), screen)
    killer.join()
    assert ended.exit_code == 1
    wait_for(lambda: not lives(screen.pid), "the program's end")
    assert "supervisor died" in check_lost(lake, ended)["reason"]


def check_lost(lake: Path, ended: ProgramEnd) -> dict[str, Any]:
    end = end_of(lake, ended.run_id)
    assert ended.summary is not None and end["status"] == "failed"
    found = read_back(lake / "runs" / ended.run_id)
    assert len(found.column("steps", "t")) == end["steps"] > 50
    (mark,) = end["reconciled"].values()
    assert mark["produced"] == mark["durable"] + mark["lost"] == end["steps"] + end["lost_steps"]
    return end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(number: signal.Signals, lake: Path) -> None:
    """Ray blocks SIGINT for its workers, and the program inherited that."""
    code = f"""
import signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "100"])
def leave(*_):
    print("told", child.wait(5), flush=True)
    sys.exit(7)
signal.signal({int(number)}, leave)
sys.stdout.write("ready\\n"); sys.stdout.flush()
time.sleep(100)
"""
    screen, asked = Screen(), [number]

    def ask() -> list[int]:
        return [asked.pop()] if asked and b"ready" in screen.out else []

    ended = run(lake, code, screen, asked=ask)
    assert (ended.exit_code, screen.out) == (7, b"ready\ntold -%d\n" % number)
    assert ended.summary is not None and ended.summary.status == "stopped"


def test_what_cannot_be_started(lake: Path) -> None:
    settings = configured_by("tests", None, None, lake=lake, frames=None)
    with pytest.raises(ConfigError, match=r"run: 'no-such-program' cannot be started: there is no such program"):
        run_program(["no-such-program"], settings)
    assert not (lake / "runs").exists(), "no run began"
    with pytest.raises(ConfigError, match="say which program, after --"):
        run_program([], settings)
