"""What a vector environment says of a step besides its values: which sub-environment, which episode, which reset, masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rolltape as rt
from rolltape.schema.errors import LakeNotFound

pytestmark = pytest.mark.usefixtures("ray_session")


class Masked(gym.Env[Any, Any]):
    """Three steps an episode; says before each which actions of a MultiDiscrete([2, 3]) are allowed."""

    observation_space = gym.spaces.Discrete(4)
    action_space = gym.spaces.MultiDiscrete([2, 3])

    def _info(self) -> dict[str, Any]:
        return {"action_mask": (np.array([1, self.t % 2], np.int8), np.array([1, 0, self.t > 1], np.int8))}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return 0, self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self.t, 0.0, self.t == 3, False, self._info()


def test_masks_are_typed_and_stand_before_their_steps(lake: Path) -> None:
    env = rt.record(Masked(), lake)
    env.reset(seed=1)
    for _ in range(3):
        env.step(np.array([0, 0]))
    env.close()
    run = rt.open(lake).run(env.run_id)
    first, second = run.episode(0).action_masks
    assert first.tolist() == [[1, 0], [1, 1], [1, 0]] and second.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 1]]
    assert first.dtype == np.int8
    assert set(run.steps().to_dicts()[0]["info"]) == {"action_mask"}
    assert run.lake.sql(f"select count(*) from steps where run_id = '{run.run_id}' and info_json is null").fetchall()[
        0
    ] == (3,)
    assert rt.replay(run, make=Masked).exact


def test_masks_of_a_discrete_space_in_a_fleet(lake: Path) -> None:
    with rt.Fleet("Taxi-v4", num_envs=2, num_workers=1, lake=lake) as fleet:
        run = fleet.collect(steps=60, progress=False)
    run = rt.open(lake).run(run.run_id)
    masks = run.episode(0).action_masks
    assert masks.shape == (run.episode(0).length, 6) and masks.dtype == np.int8
    env = gym.make("Taxi-v4").unwrapped
    seen = run.episode(0).observations[: len(masks)]
    assert all(np.array_equal(env.action_mask(int(state)), mask) for state, mask in zip(seen, masks, strict=True))
    with pytest.raises(LakeNotFound, match="no action_mask before step 0"):
        cartpole = rt.record(gym.make("CartPole-v1"), lake)
        cartpole.reset(seed=1)
        cartpole.step(0)
        cartpole.close()
        rt.open(lake).run(cartpole.run_id).episode(0).action_masks  # noqa: B018


def test_sub_environments_modes_and_reset_masks(lake: Path) -> None:
    env = rt.record(SyncVectorEnv([Masked] * 3, autoreset_mode=AutoresetMode.DISABLED), lake)
    env.reset(seed=1)
    masks = [np.array([True, False, True]), np.array([False, True, True])]
    env.step(env.action_space.sample())
    for mask in masks:
        env.reset(options={"reset_mask": mask})
        env.step(env.action_space.sample())
    env.close()
    run = rt.open(lake).run(env.run_id)
    assert run.info["env"]["autoreset"] == "disabled"
    assert run.lake.runs(f"run_id = '{run.run_id}'").select("autoreset").fetchall() == [("disabled",)]
    resets = run.resets().to_dicts()
    assert [row["reset_mask"] for row in resets] == [[True] * 3, *(mask.tolist() for mask in masks)]
    assert [row["sub_envs"] for row in resets] == [[0, 1, 2], [0, 2], [1, 2]]
    assert [row["episodes"] for row in resets] == [[0, 1, 2], [3, 5], [4, 8]]
    rows = run.steps().select("agent_id", "sub_env", "episode", "t").order("episode", "t").fetchall()
    assert rows[0] == ("agent_0", 0, 0, 0) and {row[1] for row in rows} == {0, 1, 2}
    assert len(run.resets("worker = 7")) == 0
