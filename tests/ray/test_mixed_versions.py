"""A run in which versions 0 and 1 are spoken at once: counted apart, read together; and one that takes only version 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rolltape as rt
from rolltape.schema.errors import ConfigError, RunFailed, VersionRefused
from rolltape.storage.verify import verify_run

pytestmark = pytest.mark.usefixtures("ray_session")


def old_steps(seed: int, name: str) -> list[dict[str, Any]]:
    """An episode as a program of before sends it."""
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=seed)
    sent: list[dict[str, Any]] = [
        {"step_index": 0, "action": None, "reward": None, "terminated": False, "truncated": False}
    ]
    sent[0]["observation"] = observation.tolist()
    ended = False
    while not ended:
        action = len(sent) % 2
        observation, reward, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
        sent.append(
            {"step_index": len(sent), "action": action, "observation": observation.tolist(), "reward": reward}
            | {"terminated": terminated, "truncated": truncated, "speed": 1.5}
        )
    return [{"episode_id": name, "payload_version": 0, **step} for step in sent]


def test_both_versions_in_one_run(lake: Path) -> None:
    env = rt.record(gym.make("CartPole-v1"), lake, run="mixed")
    feed = rt.feed_v0("CartPole-v1", lake, run="mixed")
    assert feed.run_id == env.run_id
    env.action_space.seed(1)
    env.reset(seed=1)
    new = 0
    sent = [step for k in range(3) for step in old_steps(k, f"old-{k}")]
    for step in sent:
        assert feed.send(step) is None
        if any(env.step(env.action_space.sample())[2:4]):
            env.reset()
        new += 1
    assert feed.send({"episode_id": "x"}) == "step_index: missing"
    assert "observation" in (feed.send({**sent[1], "episode_id": "y", "observation": [1.0]}) or "")
    old = len(sent) - 3
    assert (feed.steps, feed.refused) == (old, 2)
    feed.close()
    env.close()
    with pytest.raises(RunFailed, match="is closed"):
        feed.send(sent[0])
    run = rt.open(lake).run(env.run_id)
    assert not verify_run(run.folder).of("damage")
    (gap,) = run.gaps()
    assert (gap.cause, gap.rows, str(gap.of)) == ("refused", 2, "p1.0")
    spoken = run.lake.sql("select payload_version, steps from payloads order by 1").fetchall()
    assert spoken == [(0, old), (1, new)]
    adoption = run.lake.adoption().to_dicts()
    assert [(row["payload_version"], row["runs"], row["steps"]) for row in adoption] == [(0, 1, old), (1, 1, new)]
    counts = {(row["code"], row["field"]): row["count"] for row in run.lake.mismatches().to_dicts()}
    assert counts[("key_missing", "step_index")] == 1 and counts[("key_unknown", "speed")] == old
    rows = run.episodes("worker = 1").order("episode").to_dicts()
    first = run.episode(rows[0]["episode"])
    assert np.array_equal(first.observations[1], np.array(sent[1]["observation"], np.float32))
    assert first.info(0)["episode_id"] == "old-0" and first.info(1)["speed"] == 1.5
    assert env.summary is not None and (env.summary.steps, env.summary.lost_steps) == (old + new, 2)
    verdicts = rt.replay(run).counts
    assert verdicts["not replayable"] == len(rows) and verdicts["exact"] == len(run.episodes("worker = 0"))


def test_a_run_of_version_1_only(lake: Path) -> None:
    env = rt.record(gym.make("CartPole-v1"), lake, run="new", oldest_payload=1)
    with pytest.raises(
        VersionRefused, match=r"p1\.0 on .* speaks payload version 0, run \w+ takes only 1\..*oldest_payload=0"
    ):
        rt.feed_v0("CartPole-v1", lake, run="new")
    env.reset(seed=1)
    env.step(0)
    env.close()
    assert env.summary is not None and env.summary.steps == 1
    with pytest.raises(ConfigError, match="observation: expected 'after' or 'before', got 'now'"):
        rt.feed_v0("CartPole-v1", lake, observation="now")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="observes pictures"):
        rt.feed_v0("CarRacing-v3", lake)


def test_steps_of_version_0_do_not_go_on_with_a_run(lake: Path) -> None:
    env = rt.record(gym.make("CartPole-v1"), lake, run="begun")
    env.reset(seed=1)
    env.step(0)
    env.close()
    env = rt.record(gym.make("CartPole-v1"), lake, run="again", resume=env.run_id)
    with pytest.raises(ConfigError, match=r"goes on after a stop, and steps of version 0 cannot"):
        rt.feed_v0("CartPole-v1", lake, run="again")
    env.reset(seed=1)
    env.close()
    assert env.summary is not None and env.summary.status == "completed"
