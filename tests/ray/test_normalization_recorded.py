"""Statistics of normalizing wrappers in recordings: what is read back is what the wrappers held at that moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow.parquet as pq
import pytest
from gymnasium import wrappers as w
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import utils
from gymnasium.wrappers import vector as wv

import rolltape as rt
from rolltape.actors.normalization_again import OLDER
from rolltape.schema.errors import ConfigError
from rolltape.storage.verify import verify_run

from .loops import async_vector

pytestmark = pytest.mark.usefixtures("ray_session")


def normalized() -> gym.Env[Any, Any]:
    """Two kinds of statistics, with other wrappers between and around them."""
    inner = w.NormalizeReward(gym.make("CartPole-v1"), epsilon=1e-6)
    return w.TransformReward(w.NormalizeObservation(w.TimeAwareObservation(inner)), lambda reward: reward)


def rows_of(lake: Path, run_id: str, where: str) -> list[dict[str, Any]]:
    run = rt.open(lake).run(run_id)
    assert not verify_run(run.folder).of("damage")
    return run.normalization(where).order("episode", "place").to_dicts()


def test_of_one_environment(lake: Path) -> None:
    env = rt.record(normalized(), lake)
    env.action_space.seed(1)
    reward, observation = env.env.env.env.env, env.env.env
    assert isinstance(reward, w.NormalizeReward) and isinstance(observation, w.NormalizeObservation)
    expected = []
    for seed in range(4):
        env.reset(seed=seed)
        expected.append([observation.obs_rms.mean.tolist(), observation.obs_rms.count, reward.return_rms.var.tolist()])
        while not any(env.step(env.action_space.sample())[2:4]):
            pass
    observation.update_running_mean = False
    env.close()
    found = rows_of(lake, env.run_id, "moment = 'episode'")
    assert [row["target"] for row in found] == ["observation", "reward"] * 4
    assert [[a["mean"], a["count"], b["var"][0]] for a, b in zip(found[::2], found[1::2], strict=True)] == expected
    assert found[0]["space_signature"] == rt.open(lake).run(env.run_id).info["space_signature"]["observation"]
    assert (found[0]["shape"], found[1]["shape"], found[1]["epsilon"]) == ([5], [], 1e-6)
    (last, _) = rows_of(lake, env.run_id, "moment = 'close'")
    assert last["mean"] == observation.obs_rms.mean.tolist() and not last["updating"]
    assert rt.open(lake).sql("select count(*) from normalization where moment = 'fragment'").fetchall()[0][0] >= 2
    run = rt.open(lake).run(env.run_id)
    assert rt.replay(run, make=normalized).counts == {"exact": 4}
    assert rt.replay(run, 2, make=normalized).counts == {"exact": 1}, "not after those before it"
    for part in run.parts("normalization"):
        table = pq.read_table(part)
        pq.write_table(table.drop_columns("dtype"), part)
    assert rt.replay(rt.open(lake).run(env.run_id), make=normalized).reasons == {OLDER: 4}


@pytest.mark.parametrize("kind", [SyncVectorEnv, async_vector])
def test_of_a_vector_environment_and_of_those_in_it(lake: Path, kind: Any) -> None:
    base = kind([lambda: w.NormalizeReward(gym.make("CartPole-v1"))] * 3)
    env = rt.record(wv.NormalizeObservation(base), lake)
    env.action_space.seed(1)
    env.reset(seed=1)
    at_reset = env.env.obs_rms.mean.tolist()
    for _ in range(40):
        env.step(env.action_space.sample())
    rewards = [rms.var.tolist() for rms in base.get_attr("return_rms")]
    env.close()
    found = rows_of(lake, env.run_id, "moment = 'episode' and target = 'observation'")
    assert [row["mean"] for row in found if row["episode"] < 3] == [at_reset] * 3
    assert {row["envs"] for row in found} == {3} and len({row["count"] for row in found}) > 1
    last = rows_of(lake, env.run_id, "moment = 'close' and target = 'reward'")
    assert [row["var"] for row in sorted(last, key=lambda row: row["sub_env"])] == [[v] for v in rewards]
    assert {(row["place"], row["envs"]) for row in last} == {(1, 1)}
    (reason,) = rt.replay(rt.open(lake).run(env.run_id)).reasons
    assert reason.startswith("normalization statistics of a vector wrapper") and reason.endswith("NormalizeObservation")


class VecNormalizeLike:
    """What Stable-Baselines3's VecNormalize has, with a Dict observation."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        rms = utils.RunningMeanStd(shape=(2,))
        self.obs_rms, self.ret_rms, self.training, self.venv = {"a": rms}, utils.RunningMeanStd(), True, None
        self.observation_space = gym.spaces.Dict(a=gym.spaces.Box(-1, 1, (2,)))


def test_of_something_around_it(lake: Path) -> None:
    env = rt.record(gym.make("CartPole-v1"), lake)
    holder = VecNormalizeLike(env)
    env.watch_normalization(holder)
    env.reset(seed=1)
    holder.obs_rms["a"].update(np.ones((3, 2)))
    env.step(0)
    with pytest.raises(ConfigError, match="int keeps no running statistics"):
        env.watch_normalization(3)
    env.close()
    found = rows_of(lake, env.run_id, "target = 'observation'")
    assert [(row["moment"], row["entry"], row["count"]) for row in sorted(found, key=lambda row: row["time"])] == [
        ("episode", "a", 1e-4),
        ("fragment", "a", 3.0001),
        ("close", "a", 3.0001),
    ]


def test_of_a_fleet_and_without_any(lake: Path) -> None:
    with rt.Fleet("tests.ray.test_normalization_recorded:normalized", num_envs=2, num_workers=1, lake=lake) as fleet:
        fleet.collect(steps=200, progress=False)
    found = rows_of(lake, fleet.run_id, "moment = 'episode'")
    run = rt.open(lake).run(fleet.run_id)
    assert {row["wrapper"] for row in found} == {"NormalizeObservation", "NormalizeReward"}
    assert len({row["episode"] for row in found}) >= len(run.episodes())
    report = rt.replay(run)
    assert set(report.counts) == {"exact"} and report.steps == len(run.steps()), report.divergence
    env = rt.record(gym.make("CartPole-v1"), lake)
    env.reset(seed=1)
    env.step(0)
    env.close()
    assert len(rt.open(lake).run(env.run_id).normalization()) == 0
    assert rt.open(lake).run(env.run_id).parts("normalization") == []
