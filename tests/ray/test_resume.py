"""A run goes on after a stop and after a crash: same id, new lives, no episode and no seed twice, accounts in order."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import SyncVectorEnv

import rolltape as rt
from rolltape.actors.fleet import Fleet
from rolltape.actors.on_ray import launch
from rolltape.actors.recording import Recording
from rolltape.schema.errors import ConfigError, LakeNotFound, SchemaMismatch
from rolltape.storage.layout import RunFolder
from rolltape.storage.run_info import read_run_info, write_run_info
from rolltape.storage.verify import verify_run

from .environments import Paced
from .readback import read_back
from .rules import check_end, check_recording

pytestmark = pytest.mark.usefixtures("ray_session")

QUICK: dict[str, Any] = {"fragment": {"max_age_s": 0.1}, "commit": {"max_age_s": 0.1}}
SOURCE = "tests.ray.environments:Paced"


def crash(fleet: Fleet) -> Path:
    """What the death of the driver and of all its actors leaves, without a Ray of its own."""
    for slot in fleet._slots:
        launch.kill(slot.worker)
    return crashed(fleet._recording)


def crash_loop(env: Any) -> Path:
    """The same of a process with a loop of its own: nothing of the open fragment is sent."""
    recorder = env._recorder
    recorder.closed = True
    atexit.unregister(recorder._close_at_exit)
    recorder.producer.shut()
    return crashed(recorder.session.recording)


def crashed(recording: Recording) -> Path:
    folder = recording.folder
    launch.stop_actors(recording._actors)
    recording.log.stop()
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

    newest = max((run_path / "commits").glob("w*.json"))
    newest.write_bytes(newest.read_bytes()[:40])  # a disk that has lost the end of a marker
    with Fleet(SOURCE, lake=lake, resume=run_path.name[:20], num_envs=4, commit={"max_age_s": 0.2}) as again:
        assert again.resumed is not None
        again.collect(steps=100)
    assert again.resumed.rebuilt == (newest.name,) and newest.name in again.resumed.lines()["made again"]
    assert (again.resumed.session, again.resumed.ended, again.resumed.declared_now) == (3, "completed", False)
    found = read_back(run_path)
    check_recording(found, num_envs=4)
    check_end(found, again.summary)
    assert "LOG3007" in found.column("logs", "code")
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


def played(env: Any, steps: int, *, seed: int | None = None) -> Any:
    env.action_space.seed(5)
    env.reset(seed=seed)
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if not isinstance(env.unwrapped, SyncVectorEnv) and (terminated or truncated):
            env.reset()
    return env


def test_a_loop_of_ones_own_goes_on(lake: Path) -> None:
    with pytest.raises(LakeNotFound, match=r"No lake at|No runs in"):
        rt.record(gym.make("CartPole-v1"), lake, resume="latest")
    first = played(rt.record(gym.make("CartPole-v1"), lake, **QUICK), 300, seed=3)
    first.save()
    with pytest.raises(ConfigError, match=r"is being recorded by process \d+"):
        rt.record(gym.make("CartPole-v1"), lake, resume="latest")
    first._recorder.producer.shut()  # nothing is sent any more
    played(first, 20)
    run_path = crash_loop(first)
    before = read_back(run_path)
    wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (gym.make("Acrobot-v1"), {}, ConfigError, "env: run .* has 'CartPole-v1', and a run goes on as it began"),
        (gym.make("CartPole-v1", max_episode_steps=9), {}, ConfigError, "made with: run .*'max_episode_steps': 500"),
        (gym.make("CartPole-v1"), {"keep_last": 5}, ConfigError, "keep_last: run .* has 0"),
        (gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"), {}, ConfigError, "num_envs: run .* has 1"),
        (gym.make("CartPole-v1"), {}, SchemaMismatch, "The action space of CartPole-v1 is not the one"),
    ]
    wrong[-1][0].action_space = gym.spaces.Discrete(3)
    for env, given, error, message in wrong:
        with pytest.raises(error, match=message):
            rt.record(env, lake, resume="latest", **given)
    with pytest.raises(ConfigError, match=r"was recorded by rolltape.record: your own loop goes on with it"):
        Fleet(lake=lake, resume="latest")

    with rt.record(gym.make("CartPole-v1"), lake, resume=run_path.name[:20]) as again:
        assert again.run_id == run_path.name and again.resumed is not None
        played(again, 100)
    assert (again.resumed.session, again.resumed.ended, again.resumed.steps) == (2, "crashed", 300)
    assert (again.resumed.lost_steps, again.resumed.declared_now) == (20, True)
    found = read_back(run_path)
    check_recording(found)
    end = check_end(found, again.summary)
    assert (end["status"], end["steps"], end["lost_steps"]) == ("completed", 400, 20)
    assert found.fragment_digests().items() >= before.fragment_digests().items(), "what was there is as it was"
    replays = {row["incarnation"]: row["replay"] for row in found.rows("episodes") if row["status"] != "lost"}
    assert replays == {0: "forward", 1: "none"}, "what was not seeded in this session does not replay"
    (said,) = rt.open(lake).run("latest").logs("code = 'LOG1002'").to_dicts()
    assert "from 300 steps on" in said["message"]
    assert verify_run(RunFolder.of(lake, again.run_id)).verdict == "lossy", "it is declared, and nothing is damaged"


def test_recorders_of_one_run_go_on_in_their_order(lake: Path) -> None:
    def begin(**more: Any) -> list[Any]:
        pair: Any = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 2)
        return [rt.record(env, lake, run="both", **QUICK, **more) for env in (gym.make("CartPole-v1"), pair)]

    first = begin()
    with pytest.raises(ConfigError, match=r"'both' is the name of run .*, which began anew with its first recorder"):
        rt.record(gym.make("CartPole-v1"), lake, run="both", resume="latest")
    for env in first:
        played(env, 60, seed=1).close()
    run_id = rt.open(lake).run("latest").run_id
    single, pair = begin(resume=run_id)
    for env in (single, pair):
        played(env, 60, seed=100)
    third = played(rt.record(gym.make("CartPole-v1"), lake, run="both"), 20, seed=200)
    for env in (single, pair, third):
        env.close()
    found = read_back(lake / "runs" / run_id)
    check_recording(found)
    check_end(found, third.summary)
    assert found.recorders == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)}
    assert set(found.column("steps", "sub_env")) == {0, 1, 2, 3}
