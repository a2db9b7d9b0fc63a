"""Recorders in a user's process: loops that raise, closes that are forgotten, several in one run, threads."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers.utils import RunningMeanStd

from rolltape.actors.compiled_rows import CompiledRows
from rolltape.actors.joined import JOIN_STRIDE
from rolltape.actors.recorded_env import RecordedEnv, record
from rolltape.schema.errors import LakeNotFound, LakeNotWritable, SchemaMismatch
from rolltape.storage.configuration import configured_by

from .environments import Fragile, Paced
from .loops import check_seen, single_loop
from .readback import Found, read_back
from .rules import check_end, check_recording
from .scripts import run_script
from .truth import stories

pytestmark = pytest.mark.usefixtures("ray_session")

QUICK: dict[str, Any] = {"fragment": {"max_age_s": 0.1}, "commit": {"max_age_s": 0.1}}


def cartpole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


def read(lake: Path, env: Any) -> Found:
    found = read_back(lake / "runs" / env.run_id)
    check_recording(found)
    check_end(found, env.summary)
    return found


def only_run(lake: Path) -> Path:
    (run,) = (lake / "runs").iterdir()
    return run


def status(run: Path) -> str:
    return json.loads((run / "end.json").read_text())["status"]


# ---- loops that end otherwise -----------------------------------------------------------------------------------------


def test_an_exception_of_the_loop(lake: Path) -> None:
    env = record(cartpole(), lake)
    with pytest.raises(LookupError, match="a bug"), env:
        env.reset(seed=1)
        for _ in range(5):
            env.step(0)
        raise LookupError("a bug in the loop")
    (row,) = read(lake, env).rows("episodes")
    assert (row["status"], row["length"]) == ("aborted", 5)


def test_an_exception_of_the_environment(lake: Path) -> None:
    env = record(Fragile("raise", 8), lake, **QUICK)
    env.reset(seed=1)
    for _ in range(7):
        env.step(1)
    with pytest.raises(ZeroDivisionError, match="the pole fell"):
        env.step(1)
    env.step(1)
    env.close()
    assert sum(row["length"] for row in read(lake, env).rows("episodes")) == 8


def test_close_twice_and_go_on(lake: Path) -> None:
    """A closed CartPole can still be stepped; then nothing is recorded, and the loop is not held up."""
    env = record(cartpole(), lake, fragment={"max_rows": 10})
    env.reset(seed=1)
    env.step(0)
    env.close()
    env.close()
    env.reset(seed=2)
    for _ in range(50):
        *_, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            env.reset()
    assert len(read(lake, env).column("steps", "t")) == 1


def test_forgotten_close(tmp_path: Path, lake: Path) -> None:
    code = """
        import gymnasium as gym, rolltape as rt
        env = rt.record(gym.make("CartPole-v1"), lake)
        envs = rt.record(gym.make_vec("CartPole-v1", num_envs=3), lake)
        env.reset(seed=1); envs.reset(seed=1)
        env.action_space.seed(1); envs.action_space.seed(1)
        for _ in range(30):
            if any(env.step(env.action_space.sample())[2:4]): env.reset()
            envs.step(envs.action_space.sample())
        print("done")
    """
    code_, out, err = run_script(code, tmp_path / "script", lake=str(lake))
    assert (code_, out) == (0, "done\n"), err
    assert "Traceback" not in err
    rows = set()
    for run in (lake / "runs").iterdir():
        found = read_back(run)
        check_recording(found)
        assert status(run) == "stopped"
        rows.add(len(found.column("steps", "t")))
    assert 30 in rows
    assert len(rows) == 2


@pytest.mark.long
def test_a_script_that_raises(tmp_path: Path, lake: Path) -> None:
    code = """
        import gymnasium as gym, rolltape as rt
        env = rt.record(gym.make("CartPole-v1"), lake)
        env.reset(seed=1)
        for _ in range(6): env.step(0)
        raise LookupError("a bug in the loop")
    """
    code_, _, err = run_script(code, tmp_path / "script", lake=str(lake))
    assert code_ == 1
    assert "LookupError: a bug in the loop" in err.splitlines()
    found = read_back(only_run(lake))
    check_recording(found)
    assert len(found.column("steps", "t")) == 6
    assert status(found.run) == "stopped"


@pytest.mark.long
def test_ray_is_shut_down_first(tmp_path: Path, lake: Path) -> None:
    """No hang, no other Ray: an error says what to do, and what was durable is there."""
    code = """
        import time
        import gymnasium as gym, ray, rolltape as rt
        env = rt.record(gym.make("CartPole-v1"), lake, fragment={"max_age_s": 0.1}, commit={"max_age_s": 0.1})
        env.reset(seed=1)
        for _ in range(6): env.step(0)
        time.sleep(1.5)  # a tenfold of both ages above: what was stepped is durable
        ray.shutdown()
        began = time.monotonic()
        try:
            env.close()
        except rt.RolltapeError as error:
            print(type(error).__name__, "shut down" in str(error), time.monotonic() - began < 5, ray.is_initialized())
    """
    code_, out, err = run_script(code, tmp_path / "script", 60, lake=str(lake))
    assert (code_, out) == (0, "ClusterError True True False\n"), err
    found = read_back(only_run(lake))
    check_recording(found)
    assert len(found.column("steps", "t")) == 6


def test_nothing_is_left_where_nothing_could_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LakeNotWritable):
        record(cartpole(), tmp_path / "file" / "lake")


# ---- several ----------------------------------------------------------------------------------------------------------


def test_several_in_one_run(lake: Path) -> None:
    """As Stable-Baselines3 wraps each environment of a VecEnv."""
    envs = [record(cartpole(), lake, run="mine") for _ in range(3)]
    assert len({env.run_id for env in envs}) == 1
    told = [single_loop(env, 80 + 10 * i, seed=i) for i, env in enumerate(envs)]
    for env in envs:
        env.close()
    found = read(lake, envs[0])
    check_seen(found, told, stride=JOIN_STRIDE)
    assert {(row["worker"], row["sub_env"]) for row in found.rows("steps")} == {(0, 0), (1, 1), (2, 2)}
    assert envs[0].summary == envs[2].summary


def test_one_leaves_early_and_one_comes_late(lake: Path) -> None:
    first, second = (record(cartpole(), lake, run="mine") for _ in range(2))
    told = [single_loop(first, 30, seed=0)]
    first.close()
    assert second.summary is None
    third = record(gym.make_vec("CartPole-v1", num_envs=2), lake, run="mine")
    third.reset(seed=4)
    third.step(np.zeros(2, int))
    told.append(single_loop(second, 30, seed=1))
    second.close()
    third.close()
    found = read(lake, third)
    recorded = stories(found)
    assert {story.row["sub_env"] for story in recorded.values()} == {0, 1, 2, 3}
    assert len(found.column("steps", "t")) == 62
    for place in (0, 1):
        lengths = [recorded[place + JOIN_STRIDE * k].row["length"] for k in range(len(told[place]))]
        assert lengths == [len(seen.actions) for seen in told[place]]


def test_other_spaces_do_not_fit_into_a_run(lake: Path) -> None:
    env = record(cartpole(), lake, run="mine")
    with pytest.raises(SchemaMismatch, match="mine"):
        record(gym.make("Pendulum-v1"), lake, run="mine")
    seen = single_loop(env, 20, seed=1)
    env.close()
    check_seen(read(lake, env), [seen], stride=JOIN_STRIDE)


def test_one_run_after_the_other(lake: Path) -> None:
    runs = []
    for name in (None, None, "same", "same"):
        env = record(cartpole(), lake, run=name)
        seen = single_loop(env, 40, seed=1)
        env.close()
        check_seen(read(lake, env), [seen], stride=JOIN_STRIDE if name else 1)
        runs.append(env.run_id)
    assert sorted(set(runs)) == runs


def test_threads_join_one_run_at_once(lake: Path) -> None:
    barrier = threading.Barrier(4)
    told: dict[int, Any] = {}
    envs: dict[int, Any] = {}
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            barrier.wait()
            envs[number] = record(Paced(0.0005), lake, run="threads", **QUICK)
            barrier.wait()  # or the first would have left before the last has come
            told[number] = single_loop(envs[number], 200, seed=number)
            envs[number].close()
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    found = read(lake, envs[0])
    places = {env._recorder.offset: number for number, env in envs.items()}
    assert sorted(places) == [0, 1, 2, 3]
    check_seen(found, [told[places[place]] for place in range(4)], stride=JOIN_STRIDE)


def test_the_lake_is_deleted_under_a_run(lake: Path) -> None:
    """Whoever steps is told at once and by name, and so is whoever closes; the name of the run is free again."""
    one, other = (record(cartpole(), lake, run="mine", **QUICK) for _ in range(2))
    for env in (one, other):
        env.reset(seed=1)
        env.step(0)
    shutil.rmtree(lake)
    began = time.monotonic()
    with pytest.raises(LakeNotFound, match=re.escape(str(lake))):
        while time.monotonic() - began < 30:
            if any(one.step(0)[2:4]):
                one.reset()
            time.sleep(0.01)
    for env in (one, other):
        with pytest.raises(LakeNotFound):
            env.close()
    assert time.monotonic() - began < 15
    again = record(cartpole(), lake, run="mine")
    assert again.run_id != one.run_id
    again.close()
    assert [run.name for run in (lake / "runs").iterdir()] == [again.run_id]


def test_a_value_that_breaks_its_space_is_refused_at_once(lake: Path) -> None:
    class Liar(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            _, *rest = self.env.step(action)
            return np.zeros(7, np.float32), *rest  # type: ignore[return-value]

    env = record(Liar(cartpole()), lake)
    env.reset(seed=1)
    with pytest.raises(SchemaMismatch, match=r"float32\[4\], found float32\[7\]"):
        env.step(0)
    env.close()
    read(lake, env)


# ---- rows in C --------------------------------------------------------------------------------------------------------


class Doubled(RecordedEnv):
    """A user's own recorder; its step is the one that is called."""

    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, 2 * float(reward), *rest


def test_steps_in_c_are_steps(lake: Path) -> None:
    """Where it was built a loop's `step` is that of C until it is closed; subclasses and pictures stay in Python."""
    built = CompiledRows is not None
    env = record(cartpole(), lake, run="c", **QUICK)
    drawn = record(gym.make("CartPole-v1", render_mode="rgb_array"), lake, run="c", frames="render", **QUICK)
    settings = configured_by("Doubled", None, None, lake=lake, frames=None, **QUICK)
    doubled = Doubled(cartpole(), settings, "c")
    everyone = (env, drawn, doubled)
    assert [each.compiled for each in everyone] == [built, False, False]
    assert inspect.signature(env.step).parameters.keys() == {"action"}
    for way in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            way(env)
    for each in everyone:
        each.reset(seed=1)
        for step in (each.step, lambda action, each=each: each.step(action=action)):
            assert step(1)[1] == (2.0 if each is doubled else 1.0)
    env.watch_normalization(SimpleNamespace(obs_rms=RunningMeanStd(shape=(4,))))
    assert not env.compiled, "statistics are noted with each row"
    env.step(1)
    for each in everyone:
        each.close()
        assert each.step(1)[1] in (1.0, 2.0)
    lengths = [row["length"] for row in read_back(lake / "runs" / env.run_id).rows("episodes")]
    assert sorted(lengths) == [2, 2, 3]
