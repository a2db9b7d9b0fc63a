"""A recording that is changed in one place is found out, and what cannot be repeated is named."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import rolltape
from rolltape.actors.compiled_rows import WHY_NOT
from rolltape.actors.kept_values import KeptValues
from rolltape.actors.pass_order import PassOrder
from rolltape.actors.recorded_batch import RecordedBatch
from rolltape.actors.remaking import recipe_of
from rolltape.actors.replay import LOST, Replayer, episode_rows
from rolltape.actors.replay_batch import episodes_of_producer
from rolltape.actors.replay_pass import SwiftPass
from rolltape.actors.swift_batch import STEPS_AT_ONCE, SwiftBatch
from rolltape.actors.taped_pass import TapedPass
from rolltape.schema.errors import ReplayFailed, UnknownEnvironment
from rolltape.scripts.cli import main
from rolltape.storage.runs import Run

from .environments import Allotment, Fragile
from .rewriting import change

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def cartpole(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with one run: CartPole, every episode of its own seed, one part a table."""
    lake = tmp_path_factory.mktemp("recorded") / "lake"
    slow: dict[str, Any] = {"fragment": {"max_age_s": 20}, "commit": {"max_age_s": 20}}
    with rolltape.Fleet("CartPole-v1", 2, lake, num_workers=1, vectorization="sync", **slow) as fleet:
        fleet.collect(steps=240, progress=False)
    return lake


@pytest.fixture
def copied(cartpole: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(cartpole, tmp_path / "copy"))


def only_run(lake: Path) -> Run:
    return rolltape.open(lake).run()


def an_episode(lake: Path) -> int:
    """One in the middle, long enough."""
    rows = only_run(lake).episodes("length > 10 and status = 'completed'").order("episode").to_dicts()
    return rows[len(rows) // 2]["episode"]


def check_only(report: rolltape.ReplayReport, episode: int) -> Any:
    """Only that episode diverged; its divergence."""
    assert {r.episode for r in report if r.outcome != "exact"} == {episode}
    assert report.counts["diverged"] == 1
    assert not report.exact
    assert report.divergence is not None
    return report.divergence.divergence


def test_nothing_changed(cartpole: Path) -> None:
    report = rolltape.replay(only_run(cartpole))
    assert report.exact
    assert report.versions == {}
    assert f"exact ({len(only_run(cartpole).steps()):,} steps" in str(report)


class Off(gym.Wrapper[Any, Any, Any, Any]):
    """Differs in one step, counted over all episodes; `what` None: in none."""

    def __init__(self, env: gym.Env[Any, Any], what: str | None, at: int) -> None:
        super().__init__(env)
        self.what, self.at, self.count = what, at, 0
        self.buffer = np.zeros(env.observation_space.shape or (), np.float32)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        self.count += 1
        if self.count >= self.at and self.what == "buffer":
            self.buffer[:] = observation
            return self.buffer, reward, terminated, truncated, info
        if self.count == self.at:
            match self.what:
                case "observation":
                    observation[1] = np.nextafter(observation[1], np.float32(9))
                case "dtype":
                    observation = observation.astype(np.float64)
                case "reward":
                    reward = 1.5
                case "end":
                    terminated = not terminated
                case "cut":
                    truncated = not truncated
                case "info":
                    info = {"more": 1}
        return observation, reward, terminated, truncated, info


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_one_step_that_differs_is_found_on_a_tape_and_among_those_that_are_kept(cartpole: Path) -> None:
    run = rolltape.open(cartpole).run()
    with contextlib.closing(Replayer(run)) as replayer:
        (recorded,) = replayer.read(episode_rows(run))
        env, steps = replayer.env, len(recorded.actions)
        ends = set(recorded.edges[1:].tolist())
        assert len(ends) > 4

        def through(what: str | None, at: int, kept: KeptValues) -> Any:
            return SwiftPass(PassOrder(Off(env, what, at), recorded, set(), chained=False), kept).through()

        kept = KeptValues(run.codec("observation"), 5)
        whole = through(None, 0, kept)
        assert kept.trusted and whole is not None and len(whole) == len(recorded.rows)
        for what in ("observation", "dtype", "reward", "end", "cut", "info"):
            for at in (1, 2, 30, *ends, *(end + 1 for end in ends if end < steps), steps - 1):
                kept = KeptValues(run.codec("observation"), 0)
                assert kept.trusted and through(what, at, kept) is None, (what, at)
                taped = TapedPass(PassOrder(Off(env, what, at), recorded, set(), chained=False))
                assert taped.possible and taped.through() is None, (what, at)
        for what in (None, "buffer"):
            assert TapedPass(PassOrder(Off(env, what, 1), recorded, set(), chained=False)).through() == list(whole)
        kept = KeptValues(run.codec("observation"), 5)
        assert through("buffer", 1, kept) is not None and not kept.possible, "it is compared before the next step"
        kept = KeptValues(run.codec("observation"), 0)
        assert through("buffer", 50, kept) is None and not kept.possible, "it cannot be told any more"


def test_a_reward(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    episode = an_episode(copied)
    change(copied, "steps", "reward", {"episode": episode, "t": 4}, lambda was: was + 0.5)
    found = check_only(rolltape.replay(only_run(copied)), episode)
    assert (found.t, found.field, found.recorded, found.replayed, found.magnitude) == (4, "reward", 1.5, 1.0, 0.5)
    with pytest.raises(SystemExit) as ended:
        main(["replay", "--lake", str(copied), "--all"])
    assert ended.value.code == 3
    said = capsys.readouterr().out
    assert f"episode {episode}: diverged: t 4, reward: recorded 1.5, replayed 1.0 (differs by 0.5)" in said
    assert "1 diverged" in said


def test_the_last_bit_of_an_observation(copied: Path) -> None:
    episode = an_episode(copied)

    def edit(was: list[float]) -> list[float]:
        return [was[0], float(np.nextafter(np.float32(was[1]), np.float32(np.inf))), *was[2:]]

    change(copied, "steps", "observation", {"episode": episode, "t": 7}, edit)
    found = check_only(rolltape.replay(only_run(copied)), episode)
    assert (found.t, found.field) == (7, "observation")
    assert 0 < found.magnitude < 1e-6
    assert found.recorded[1] != found.replayed[1]


def test_the_last_observation(copied: Path) -> None:
    episode = an_episode(copied)
    change(copied, "episodes", "final_observation", {"episode": episode}, lambda was: [was[0] + 1.0, *was[1:]])
    found = check_only(rolltape.replay(only_run(copied)), episode)
    length = only_run(copied).episode(episode).length
    assert (found.t, found.field, round(found.magnitude)) == (length, "observation", 1)


def test_an_action(copied: Path) -> None:
    episode = an_episode(copied)
    change(copied, "steps", "action", {"episode": episode, "t": 3}, lambda was: 1 - was)
    found = check_only(rolltape.replay(only_run(copied)), episode)
    assert (found.t, found.field) == (4, "observation")


@pytest.mark.parametrize("last", [False, True])
def test_an_end(copied: Path, last: bool) -> None:
    episode = an_episode(copied)
    t = only_run(copied).episode(episode).length - 1 if last else 5
    change(copied, "steps", "terminated", {"episode": episode, "t": t}, lambda was: not was)
    found = check_only(rolltape.replay(only_run(copied)), episode)
    assert (found.t, found.field, found.recorded, found.replayed) == (t, "terminated", not last, last)
    assert found.magnitude is None


def test_a_seed(copied: Path) -> None:
    episode = an_episode(copied)
    change(copied, "episodes", "seed", {"episode": episode}, lambda was: was + 1)
    found = check_only(rolltape.replay(only_run(copied)), episode)
    assert (found.t, found.field) == (0, "observation")


def test_a_picture(lake: Path) -> None:
    pytest.importorskip("ale_py")
    with rolltape.Fleet("ALE/Breakout-v5", 1, lake, env_kwargs={"frameskip": 30}) as fleet:
        fleet.collect(steps=50, progress=False)
    episode = only_run(lake).episodes().limit(1).to_dicts()[0]["episode"]
    change(lake, "frames", "data", {"episode": episode, "t": 6}, lambda was: bytes([was[0] ^ 3]) + was[1:])
    found = check_only(rolltape.replay(only_run(lake)), episode)
    assert (found.t, found.field, found.magnitude) == (6, "observation", 3)


def test_a_chain_stops_where_it_differs(lake: Path) -> None:
    env = rolltape.record(gym.make("CartPole-v1"), lake)
    env.action_space.seed(3)
    env.reset(seed=3)
    for _ in range(150):
        if any(env.step(env.action_space.sample())[2:4]):
            env.reset()
    env.close()
    change(lake, "steps", "reward", {"episode": 2, "t": 1}, lambda was: -0.0)
    report = rolltape.replay(only_run(lake))
    outcomes = {r.episode: r.outcome for r in report}
    assert [outcomes[n] for n in range(4)] == ["exact", "exact", "diverged", "not replayable"]
    assert list(report.reasons) == ["an episode before it differs, and their random state goes on"]
    last = rolltape.replay(only_run(lake), 3)
    assert last.counts == {"not replayable": 1}
    change(lake, "episodes", "status", {"episode": 2}, lambda _: "lost")
    report = rolltape.replay(
        only_run(lake)
    )  # its first episode, with a seed of its own, and what comes before the hole
    assert [r.episode for r in report if r.outcome == "exact"] == [0, 1]
    assert report.counts == {"exact": 2, "not replayable": len(outcomes) - 2}
    hole = "an episode between its seeded reset and it is missing"
    assert report.reasons == {LOST: 1, hole: len(outcomes) - 3}
    assert rolltape.replay(only_run(lake), [0, 3]).counts == {"exact": 1, "not replayable": 1}


class Unsteady(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole with what no seed repeats: rewards, or a clock among the infos."""

    def __init__(self, what: str) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self._what = what

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        chance = random.SystemRandom().random()
        if self._what == "reward":
            reward = chance
        else:
            info = {**info, "clock": chance, "steady": 7}
        return observation, reward, terminated, truncated, info


def unsteady(what: str, lake: Path) -> Run:
    with rolltape.Fleet(Unsteady, 2, lake, env_kwargs={"what": what}, num_workers=1) as fleet:
        return fleet.collect(steps=120, progress=False)


def test_an_environment_that_is_not_deterministic(lake: Path) -> None:
    report = rolltape.replay(unsteady("reward", lake))
    assert set(report.counts) == {"nondeterministic"}
    assert report.divergence is not None
    assert report.divergence.divergence.field == "reward"
    assert "not deterministic" in report.divergence.reason


def test_a_clock_among_infos_is_left_out_and_said(lake: Path) -> None:
    run = unsteady("info", lake)
    report = rolltape.replay(run)
    assert report.exact, report.divergence
    assert report.uncompared == {"clock"}
    episode = run.episodes("length > 5").limit(1).to_dicts()[0]["episode"]
    change(lake, "steps", "info", {"episode": episode, "t": 2}, lambda was: {**was, "steady": 8})
    report = rolltape.replay(only_run(lake))
    found = check_only(report, episode)
    assert (found.t, found.field, found.recorded, found.replayed) == (2, "info.steady", 8, 7)


def test_a_native_batch(lake: Path) -> None:
    """Infos of steps, of ends and of resets, and last observations are compared; a clock, and what a wrapper brought,
    are left out and named."""
    make = functools.partial(Allotment, clock=True)
    env = rolltape.record(RecordEpisodeStatistics(make()), lake)
    env.action_space.seed(3)
    env.reset(seed=3)
    for _ in range(40):
        env.step(env.action_space.sample())
    env.close()
    report = rolltape.replay(only_run(lake), make=make)
    assert set(report.counts) == {"exact"} and report.steps == len(only_run(lake).steps()), report.divergence
    assert report.uncompared == {"clock", "episode"}
    row = only_run(lake).episodes("sub_env = 1 and status = 'completed'").order("episode").to_dicts()[1]
    episode, last = row["episode"], row["length"] - 1
    season = row["final_observation"]["season"]
    for table, column, where, edit, t, field in (
        ("steps", "info", {"t": 1}, lambda was: {**was, "grown": 0.5}, 1, "info.grown"),
        ("steps", "info", {"t": last}, lambda was: {**was, "harvest": -1.0}, last, "info.harvest"),
        ("episodes", "reset_info", {}, lambda was: '{"planned":77}', 0, "reset_info.planned"),
        ("episodes", "final_observation", {}, lambda was: {**was, "season": 3 - season}, last + 1, "observation"),
    ):
        copy = Path(shutil.copytree(lake, lake.parent / field))
        change(copy, table, column, {"episode": episode, **where}, edit)
        report = rolltape.replay(only_run(copy), make=make)
        assert report.counts["diverged"] == 1 and report.divergence is not None
        found = report.divergence.divergence
        assert found is not None and (report.divergence.episode, found.t, found.field) == (episode, t, field)
    with pytest.raises(ReplayFailed, match="native vector environment of 3 sub-environments"):
        rolltape.replay(only_run(lake), make=lambda: gym.make("CartPole-v1"))


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_one_value_that_differs_is_found_on_the_tape_of_a_batch(lake: Path) -> None:
    env = rolltape.record(gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point"), lake)
    env.action_space.seed(3)
    env.reset(seed=3)
    for call in range(STEPS_AT_ONCE + 40):
        env.step(env.action_space.sample())
        if call == 100:
            env.reset(seed=5)
    env.close()
    run = only_run(lake)
    batch = RecordedBatch(run, 0, 0, episodes_of_producer(run, 0, 0), recipe_of(run, None), set())
    swift = SwiftBatch(batch)
    vector = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point")

    def is_same() -> bool:
        return swift._is_as_taped(np.float32, vector)

    assert not batch.reason and swift.is_same() and is_same()
    steps, finals = len(batch.rewards), len(batch.finals[0])
    assert not swift._is_as_taped(np.float64, vector), "its rewards are float32"
    edges = np.flatnonzero(np.isin(batch.slot, (0, 99, 100, 101, 102, STEPS_AT_ONCE - 1, STEPS_AT_ONCE)))
    columns: dict[str, Any] = {
        "observation": batch.observations, "final": batch.finals, "terminated": batch.ends, "truncated": batch.ends
    }  # fmt: skip
    keys: dict[str, Any] = {"observation": 0, "final": 0, "terminated": "terminated", "truncated": "truncated"}
    for name, holder in columns.items():
        key = keys[name]
        was = holder[key]
        for place in range(finals) if name == "final" else (*edges.tolist(), steps - 1):
            holder[key] = changed = was.copy()
            changed.view(np.uint8).reshape(len(was), -1)[place, -1] ^= 1
            assert not is_same(), (name, place)
        holder[key] = was
    was = batch.rewards
    for place in (*edges.tolist(), steps - 1):
        batch.rewards = was.copy()
        batch.rewards[place] += 0.5
        assert not is_same(), place
    batch.rewards = was
    assert is_same()


def test_versions_that_differ_are_named(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next((copied / "runs").glob("*/run.json"))
    info = json.loads(path.read_text())
    here = info["versions"]["gymnasium"]
    info["versions"] |= {"gymnasium": "0.26.1", "atari-py": "0.2"}
    path.write_text(json.dumps(info))
    report = rolltape.replay(only_run(copied), 0)
    assert report.versions == {"gymnasium": ("0.26.1", here), "atari-py": ("0.2", None)}
    with pytest.raises(SystemExit) as ended:
        main(["replay", "--lake", str(copied), "--episode", "0"])
    assert ended.value.code == 0
    assert f"gymnasium was 0.26.1 when this was recorded; here it is {here}" in capsys.readouterr().out


def test_an_environment_that_cannot_be_made_again(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def make(**kwargs: Any) -> gym.Env[Any, Any]:
        return gym.make("CartPole-v1", max_episode_steps=9)

    with rolltape.Fleet(make, 1, lake) as fleet:
        run = fleet.collect(steps=40, progress=False)
    with pytest.raises(UnknownEnvironment, match=r"--make module:callable"):
        rolltape.replay(run)
    assert rolltape.replay(run, make=make).exact
    assert rolltape.replay(run, make="gymnasium:CartPole-v1").divergence is not None, "it has another time limit"
    with pytest.raises(ReplayFailed, match="observation space Discrete"):
        rolltape.replay(run, make="gymnasium:FrozenLake-v1")
    with pytest.raises(SystemExit) as ended:
        main(["replay", "--lake", str(lake), "--all"])
    assert ended.value.code == 1
    assert "--make" in capsys.readouterr().err


def test_no_episode_fits(cartpole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--where", "length > 100000"], "no episode fits --where 'length > 100000'"),
        (["--episode", "123456"], "no episode fits --episode 123456"),
        ([], "say which episodes"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["replay", "--lake", str(cartpole), *arguments])
        assert ended.value.code == 1
        assert said in capsys.readouterr().err


def test_completed_episodes_of_a_killed_worker(lake: Path, tmp_path: Path) -> None:
    kwargs = {"how": "exit", "at": 90, "once": str(tmp_path / "once"), "step_s": 0.004}
    quick: dict[str, Any] = {"fragment": {"max_age_s": 0.1}, "commit": {"max_age_s": 0.1}}
    with rolltape.Fleet(Fragile, 2, lake, env_kwargs=kwargs, num_workers=1, autoreset="disabled", **quick) as fleet:
        run = fleet.collect(steps=400, progress=False)
    assert fleet.summary is not None
    assert fleet.summary.restarts == 1
    report = rolltape.replay(run, make=lambda: gym.make("CartPole-v1"))
    by_status = {status: [r for r in report if r.status == status] for status in ("completed", "aborted", "lost")}
    lives = run.episodes("status = 'completed'").select("distinct incarnation").fetchall()
    assert len(lives) == 2, "episodes of both lives"
    assert {r.outcome for r in by_status["completed"] + by_status["aborted"]} == {"exact"}
    assert len(by_status["lost"]) >= 1
    assert report.reasons == {"lost: its producer died before it ended": len(by_status["lost"])}
