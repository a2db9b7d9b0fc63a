"""Recordings that leave steps out on purpose, through the whole pipeline: kept, counted, verified, and not replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import SyncVectorEnv

import rolltape as rt
from rolltape.storage.verify import verify_run

pytestmark = pytest.mark.usefixtures("ray_session")

QUICK: dict[str, Any] = {"fragment": {"max_age_s": 0.05}, "commit": {"max_age_s": 0.1}}


def read(lake: Path, run_id: str) -> rt.Run:
    run = rt.open(lake).run(run_id)
    report = verify_run(run.folder)
    assert not report.findings, [str(finding) for finding in report.findings]
    return run


def steps_of(run: rt.Run) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for episode, t in run.steps().select("episode", "t").order("episode", "t").fetchall():
        found.setdefault(episode, []).append(t)
    return found


def test_the_last_steps_and_what_was_saved(lake: Path) -> None:
    env = rt.record(gym.make("CartPole-v1", render_mode="rgb_array"), lake, keep_last=4, frames="render", **QUICK)
    lengths, returns = [], []
    for seed in range(3):
        env.reset(seed=seed)
        n = 0
        while True:
            n += 1
            if any(env.step(n % 2)[2:4]):
                break
            if seed == 1 and n == 6:
                env.save()
                assert steps_of(rt.open(lake).run(env.run_id))[1] == [2, 3, 4, 5]
        lengths.append(n)
        returns.append(float(n))
    env.close()
    run = read(lake, env.run_id)
    rows = run.episodes().order("episode").to_dicts()
    assert [row["length"] for row in rows] == lengths and [row["return"] for row in rows] == returns
    kept = steps_of(run)
    assert kept[0] == list(range(lengths[0] - 4, lengths[0]))
    assert kept[1] == sorted({2, 3, 4, 5, *range(lengths[1] - 4, lengths[1])})
    assert [row["skipped"] for row in rows] == [lengths[e] - len(kept[e]) for e in range(3)]
    assert env.summary is not None and env.summary.skipped == sum(row["skipped"] for row in rows)
    assert env.summary.steps + env.summary.skipped == sum(lengths)
    assert run.lake.sql("select steps, skipped from runs").fetchall() == [(env.summary.steps, env.summary.skipped)]
    assert len(run.frames(0)) == 5 and run.frame(0, lengths[0]).shape == (400, 600, 3)
    report = rt.replay(run)
    assert report.counts == {"not replayable": 3}
    assert all("left out on purpose" in one.reason for one in report.episodes)


def test_every_third_step_of_a_vector_environment(lake: Path) -> None:
    env = rt.record(SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 3), lake, throttle={"sample": 3}, **QUICK)
    env.action_space.seed(1)
    env.reset(seed=1)
    for _ in range(120):
        env.step(env.action_space.sample())
    env.close()
    run = read(lake, env.run_id)
    rows = run.episodes().to_dicts()
    kept = steps_of(run)
    for row in rows:
        assert kept.get(row["episode"], []) == list(range(0, row["length"], 3))
        assert row["skipped"] == row["length"] - len(kept.get(row["episode"], []))
    assert rt.replay(run).counts == {"not replayable": len(rows)}


def test_a_fleet_counts_steps_that_it_took(lake: Path) -> None:
    with rt.Fleet("CartPole-v1", num_envs=4, num_workers=2, lake=lake, keep_last=5, **QUICK) as fleet:
        fleet.collect(steps=400, progress=False)
        open_before = len(steps_of(rt.open(lake).run(fleet.run_id)))
        fleet.save()
        assert len(steps_of(rt.open(lake).run(fleet.run_id))) > open_before
    run = read(lake, fleet.run_id)
    summary = fleet.summary
    assert summary is not None and summary.lost_steps == 0
    assert 400 <= summary.steps + summary.skipped <= 408
    kept = steps_of(run)
    for row in run.episodes("status = 'completed'").to_dicts():
        assert set(range(row["length"] - 5, row["length"])) <= set(kept[row["episode"]])
        assert row["skipped"] == row["length"] - len(kept[row["episode"]])
