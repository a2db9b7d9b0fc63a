"""Ctrl-C in the middle of recording a step: what was recorded before stays whole, and can be closed and gone on with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gs
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.fakes import run_schema
from tests.interrupts import Interrupts, everywhere
from tests.odd_envs import Sampled
from tests.recorded import Episode, Step
from tests.recorders import Recorder, VectorRecorder

SPACES = {
    "array": gs.Box(-1.0, 1.0, (2,)),
    "number": gs.Discrete(3),
    "tuple": gs.Tuple([gs.Discrete(3), gs.Box(-1.0, 1.0, (2,))]),
    "text": gs.Text(5),
    "image": gs.Box(0, 255, (16, 16, 3), np.uint8),
}
ENDS = {2, 3}
"""After so many steps an episode ends."""


def infos(random: np.random.Generator, t: int) -> dict[str, Any]:
    return {"steady": t, "other": [t]}


class Timed(Sampled):
    """Episodes end at fixed steps."""

    def __init__(self, space: Any) -> None:
        super().__init__(space, gs.Discrete(3), infos=infos, end=0.0, render_mode="rgb_array")
        self.count = 0

    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        self.count += 1
        return observation, reward, self.count in ENDS, False, info


def check(steps: list[Step], episodes: list[Episode], pictures: list[Any]) -> None:
    """Whatever was recorded is consistent in itself."""
    by_episode: dict[int, list[Step]] = {}
    for step in steps:
        by_episode.setdefault(step.episode, []).append(step)
    assert len({e.episode for e in episodes}) == len(episodes), "an episode has two rows"
    assert set(by_episode) <= {e.episode for e in episodes}
    for episode in episodes:
        rows = by_episode.get(episode.episode, [])
        assert [row.t for row in rows] == list(range(len(rows)))
        assert episode.length == len(rows)
        assert episode.total == sum((row.reward for row in rows), np.float64(0))
        if episode.status == "completed":
            assert rows[-1].terminated
        for row in rows:
            assert row.info["steady"] == row.t + 1
            assert row.action == row.t % 3
    lengths = {e.episode: e.length for e in episodes}
    for picture in pictures:
        assert picture.t <= lengths[picture.episode], "a picture of a step that is not recorded"


def single(name: str, interrupts: Interrupts, goes_on: bool) -> None:
    env = Timed(SPACES[name])
    schema = run_schema(env.observation_space, env.action_space, "render" if name == "image" else "none")
    recorder = Recorder(env, schema, max_rows=3)
    done = 0

    def reset() -> None:
        observation, info = env.reset(seed=1)
        if interrupts.call(recorder.rows.reset, observation, info, 1, None, recorder.render):
            recorder.tape.take(recorder.rows)

    try:
        reset()
        for _ in range(4):
            result = env.step(env.t % 3)
            if interrupts.call(recorder.rows.step, (env.t - 1) % 3, *result, recorder.render):
                recorder.tape.take(recorder.rows)
            done += 1
            if result[2]:
                reset()
    except KeyboardInterrupt:
        pass
    if goes_on:
        env.count = 10
        recorder.reset(2)
        for t in range(3):
            recorder.step(t)
        done += 3
    recorder.close()
    steps = recorder.tape.steps()
    assert len(steps) in (done, done + 1)
    check(steps, recorder.tape.episodes(), recorder.tape.pictures())
    assert recorder.page.words[5] == recorder.rows.steps == len(steps)
    assert recorder.rows.frames == len(recorder.tape.pictures())


DENSE = pytest.param(1, marks=pytest.mark.long)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("stride", [17, DENSE])
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_a_single_environment(name: str, goes_on: bool, stride: int) -> None:
    stride = 3 if (name, stride, goes_on) == ("array", 17, True) else stride
    assert everywhere(lambda interrupts: single(name, interrupts, goes_on), stride) > 10


def vector(name: str, mode: AutoresetMode, interrupts: Interrupts, goes_on: bool) -> None:
    env = SyncVectorEnv([lambda: Timed(SPACES[name])] * 2, copy=False, autoreset_mode=mode)
    schema = run_schema(env.single_observation_space, env.single_action_space)
    recorder = VectorRecorder(env, schema, mode, max_rows=4)
    rows, tape = recorder.rows, recorder.tape

    try:
        observations, _ = env.reset(seed=1)
        interrupts.call(rows.reset, observations, {}, seeds=[1, 2])
        for _ in range(4):
            t = env.envs[0].t  # type: ignore[attr-defined]
            observations, rewards, terminated, truncated, given = env.step(np.full(2, t % 3))
            kept = {k: v for k, v in given.items() if "final_obs" in k}
            kept["steady"] = np.array([e.t for e in env.envs])  # type: ignore[attr-defined]
            if mode == AutoresetMode.SAME_STEP and terminated.any():
                kept |= {"final_info": {"steady": np.full(2, t + 1)}, "_final_info": terminated}
            full = interrupts.call(rows.step, np.full(2, t % 3), observations, rewards, terminated, truncated, kept)
            if full:
                tape.take(rows)
            if mode == AutoresetMode.DISABLED and terminated.any():
                observations, _ = env.reset(options={"reset_mask": terminated.copy()})
                if interrupts.call(rows.reset, observations, {}, mask=terminated):
                    tape.take(rows)
    except KeyboardInterrupt:
        pass
    recorder.close()
    check(tape.steps(), tape.episodes(), tape.pictures())
    assert recorder.page.words[5] == rows.steps == len(tape.steps())
    if goes_on:
        for one in env.envs:
            one.count = 10  # type: ignore[attr-defined]
        recorder.reset([5, 6])
        recorder.step(np.zeros(2, int))
        recorder.close()
        again = [e for e in tape.episodes() if e.seed in (5, 6)]
        assert [(e.length, e.status) for e in again] == [(1, "aborted")] * 2


@pytest.mark.parametrize("stride", [29, DENSE])
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("name", ["array", "text", "image"])
def test_a_vector_environment(name: str, mode: AutoresetMode, goes_on: bool, stride: int) -> None:
    assert everywhere(lambda interrupts: vector(name, mode, interrupts, goes_on), stride) > 10
