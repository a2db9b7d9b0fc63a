"""Native vector environments, what is nobody's step, what does not fit, and the bounds of a fragment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from rolltape.schema.errors import SchemaMismatch
from tests.examples import examples
from tests.fakes import run_schema
from tests.odd_envs import Sampled, Scripted
from tests.recorders import OFFSET, STRIDE, VectorRecorder

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
MODES = [NEXT_STEP, SAME_STEP, DISABLED]


@st.composite
def scripts(draw: st.DrawFn) -> np.ndarray:
    n, steps = draw(st.integers(1, 4)), draw(st.integers(1, 25))
    flat = draw(st.lists(st.sampled_from([False, False, True]), min_size=n * steps, max_size=n * steps))
    return np.array(flat).reshape(steps, n)


@pytest.mark.parametrize("mode", MODES)
@examples(15)
@given(scripts(), st.integers(1, 30))
def test_a_native_environment_with_any_ends(mode: AutoresetMode, ends: np.ndarray, max_rows: int) -> None:
    """One random state for all, one array for all steps; the truth is written down from what it returns."""
    env = Scripted(ends, mode)
    schema = run_schema(env.single_observation_space, env.single_action_space)
    recorder = VectorRecorder(env, schema, mode, max_rows=max_rows, own_seed="batch")
    actions = np.random.default_rng(1).integers(5, size=ends.shape)
    expected: list[tuple[int, int, int, list[float], int, float, bool]] = []
    recorder.reset([4] * env.num_envs)
    episode, t = np.zeros(env.num_envs, int), np.zeros(env.num_envs, int)
    for k in range(len(ends)):
        before, done = env.count.copy(), env.done.copy()
        ended = recorder.step(actions[k])
        for i in range(env.num_envs):
            if mode == NEXT_STEP and done[i]:
                episode[i], t[i] = episode[i] + 1, 0
                continue
            reward = env.count[i, 0] / 3
            place = OFFSET + i
            row = (place, place + STRIDE * episode[i], t[i], before[i].tolist(), actions[k, i], reward, ended[i])
            expected.append(row)
            t[i] += 1
            if ended[i] and mode == SAME_STEP:
                episode[i], t[i] = episode[i] + 1, 0
        if mode == DISABLED and ended.any():
            recorder.reset(None, ended)
            episode[ended], t[ended] = episode[ended] + 1, 0
    recorder.close()
    found = [
        (s.sub_env, s.episode, s.t, s.observation.tolist(), s.action, s.reward, s.terminated)
        for s in recorder.tape.steps()
    ]
    exact = [(*row[:5], np.float64(np.float32(row[5])), row[6]) for row in expected]
    assert found == sorted(exact, key=lambda row: row[:3])
    episodes = recorder.tape.episodes()
    lengths = {}
    for row in exact:
        lengths[row[1]] = lengths.get(row[1], 0) + 1
    assert {e.episode: e.length for e in episodes if e.length} == lengths
    assert {(e.seed, e.seed_episode, e.replay) for e in episodes} == {(4, e.sub_env, "batch") for e in episodes}
    totals = {e.episode: sum((row[5] for row in exact if row[1] == e.episode), np.float64(0)) for e in episodes}
    assert {e.episode: e.total for e in episodes} == totals
    for e in episodes:
        if e.status == "completed":
            assert e.final_observation[0] % 1000 >= e.length
    assert recorder.rows.ignored_steps == 0


@pytest.mark.parametrize("max_rows", [1, 100, 1000])
def test_native_cart_poles_are_a_batch(max_rows: int) -> None:
    """Against a second batch with the same seed and actions."""
    n = 5
    recorded, plain = (gym.make_vec("CartPole-v1", num_envs=n, vectorization_mode="vector_entry_point") for _ in "ab")
    schema = run_schema(recorded.single_observation_space, recorded.single_action_space)
    recorder = VectorRecorder(recorded, schema, NEXT_STEP, max_rows=max_rows, own_seed="batch")
    recorder.reset(5)
    seen, _ = plain.reset(seed=5)
    actions = np.random.default_rng(0).integers(2, size=(80, n))
    expected, starts, done = [], np.zeros(n, bool), np.zeros(n, bool)
    for k in range(80):
        recorder.step(actions[k])
        after, rewards, terminated, truncated, _ = plain.step(actions[k])
        expected += [
            (i, seen[i].tobytes(), actions[k, i], rewards[i], terminated[i], truncated[i])
            for i in range(n)
            if not done[i]
        ]
        starts, done, seen = starts | done, terminated | truncated, after.copy()
    recorder.close()
    found = [
        (s.sub_env - OFFSET, s.observation.tobytes(), s.action, s.reward, s.terminated, s.truncated)
        for s in recorder.tape.steps()
    ]
    assert starts.any()
    assert found == sorted(expected, key=lambda row: row[0])


@pytest.mark.parametrize("mode", MODES)
def test_steps_of_nobody_are_counted(mode: AutoresetMode) -> None:
    """Before the first reset, and under DISABLED after an end until the caller resets."""
    ends = np.zeros((10, 2), bool)
    ends[1] = [True, False]
    env = Scripted(ends, mode)
    recorder = VectorRecorder(env, run_schema(env.single_observation_space, env.single_action_space), mode)
    actions = np.zeros(2, np.int64)
    recorder.step(actions)
    assert (recorder.rows.ignored_steps, recorder.rows.steps) == (2, 0)
    recorder.reset()
    for _ in range(4):
        recorder.step(actions)
    recorder.close()
    expected = {NEXT_STEP: (2, 7), SAME_STEP: (2, 8), DISABLED: (5, 5)}
    assert (recorder.rows.ignored_steps, recorder.rows.steps) == expected[mode]


def test_a_last_observation_that_is_not_given_is_unknown() -> None:
    env = Scripted(np.ones((3, 2), bool), SAME_STEP)
    schema = run_schema(env.single_observation_space, env.single_action_space)
    recorder = VectorRecorder(env, schema, SAME_STEP)
    observations, infos = env.reset()
    recorder.rows.reset(observations, infos)
    *result, _ = env.step(np.zeros(2, int))
    recorder.rows.step(np.zeros(2, int), *result, {})
    recorder.close()
    finals = [e.final_observation for e in recorder.tape.episodes() if e.status == "completed"]
    assert finals == [None, None]


BAD_STEPS: dict[str, tuple[dict[str, Any], str]] = {
    "actions": ({"actions": np.array([0.5, 1])}, "actions: "),
    "observations": ({"observations": np.zeros((2, 3))}, r"observations: .*float64\[2, 2\]"),
    "rewards": ({"rewards": np.zeros(3)}, "rewards, terminated or truncated"),
    "terminated": ({"terminated": np.zeros(3, bool)}, "rewards, terminated or truncated"),
    "one reward": ({"rewards": np.float64(1)}, r"expected 2 of each, found the shapes \[\(\), "),
    "one flag": ({"terminated": True}, "rewards, terminated or truncated"),
    "a flag": ({"truncated": np.zeros(1, bool)}, "rewards, terminated or truncated"),
    "final_obs": ({"infos": {"final_obs": [np.zeros(1)] * 2}, "terminated": np.array([True, False])}, "final_obs"),
}


@pytest.mark.parametrize(
    ("what", "mode"), [(what, mode) for what in BAD_STEPS for mode in MODES if what != "final_obs" or mode == SAME_STEP]
)
@pytest.mark.parametrize("max_rows", [1, 100])
def test_a_step_that_does_not_fit_ends_all_open_episodes(what: str, mode: AutoresetMode, max_rows: int) -> None:
    ends = np.zeros((20, 2), bool)
    env = Scripted(ends, mode)
    schema = run_schema(env.single_observation_space, env.single_action_space)
    recorder = VectorRecorder(env, schema, mode, max_rows=max_rows)
    bad, message = BAD_STEPS[what]
    good = {"actions": np.ones(2, np.int64)}
    recorder.reset()
    recorder.step(good["actions"])
    last = env.count.copy()
    result = dict(zip(("observations", "rewards", "terminated", "truncated", "infos"), env.step([1, 1]), strict=True))
    with pytest.raises(SchemaMismatch, match=message):
        recorder.rows.step(**(good | result | bad))
    recorder.step(good["actions"])  # nobody knows how the environment came here
    ends[env.k] = [True, False]
    recorder.step(good["actions"])
    recorder.step(good["actions"])
    recorder.close()
    rows = [(s.episode, s.t) for s in recorder.tape.steps()]
    if mode == DISABLED:
        assert rows == [(OFFSET, 0), (OFFSET + 1, 0)]
        assert recorder.rows.ignored_steps == 6
    else:  # the first goes on after its autoreset: SAME_STEP at once, NEXT_STEP with the step after
        again = [(OFFSET + STRIDE, 0)] if mode == SAME_STEP else []
        assert rows == [(OFFSET, 0), *again, (OFFSET + 1, 0)]
        assert recorder.rows.ignored_steps == {SAME_STEP: 4, NEXT_STEP: 5}[mode]
    first = [e for e in recorder.tape.episodes() if e.episode < STRIDE]
    assert [(e.status, e.length) for e in first] == [("aborted", 1)] * 2
    assert [e.final_observation.tolist() for e in first] == last.tolist()
    recorder.reset()
    recorder.step(good["actions"])
    recorder.close()
    assert len(recorder.tape.steps()) == len(rows) + 2


@pytest.mark.parametrize("observations", [np.zeros((2, 16, 16)), [np.zeros((16, 16, 3), np.uint8)], None])
def test_pictures_that_do_not_fit(observations: Any) -> None:
    env = Scripted(np.zeros((9, 2), bool), NEXT_STEP, space=gs.Box(0, 255, (16, 16, 3), np.uint8))
    recorder = VectorRecorder(env, run_schema(env.single_observation_space, env.single_action_space), NEXT_STEP)
    picture = np.zeros((2, 16, 16, 3), np.uint8)
    false, actions = np.zeros(2, bool), np.zeros(2, int)
    recorder.rows.reset(picture, {})
    recorder.rows.step(actions, picture, np.zeros(2), false, false, {})
    with pytest.raises((SchemaMismatch, TypeError)):
        recorder.rows.step(actions, observations, np.zeros(2), false, false, {})
    recorder.close()
    assert [(e.status, e.length) for e in recorder.tape.episodes()] == [("aborted", 1)] * 2
    assert [p.t for p in recorder.tape.pictures()] == [0, 1, 0, 1]


def test_a_reset_that_does_not_fit_opens_nothing() -> None:
    env = Scripted(np.zeros((9, 2), bool), NEXT_STEP)
    recorder = VectorRecorder(env, run_schema(env.single_observation_space, env.single_action_space), NEXT_STEP)
    recorder.reset()
    with pytest.raises(SchemaMismatch, match="observations of a reset"):
        recorder.rows.reset(np.zeros((2, 3)), {}, mask=np.array([True, False]))
    recorder.step(np.zeros(2, int))
    assert (recorder.rows.steps, recorder.rows.ignored_steps) == (0, 2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("space", "infos"),
    [
        (gs.Text(10_000, min_length=9_000), None),
        (gs.Box(-1.0, 1.0, (3,)), lambda random, t: {"map": np.zeros(5000)}),
    ],
)
def test_a_fragment_is_bounded_by_bytes_of_any_kind(mode: AutoresetMode, space: Any, infos: Any) -> None:
    makers = [lambda: Sampled(space, infos=infos)] * 2
    env = SyncVectorEnv(makers, copy=False, autoreset_mode=mode)
    schema = run_schema(space, env.single_action_space)
    recorder = VectorRecorder(env, schema, mode, max_bytes=1 << 16)
    recorder.reset()
    for _ in range(15):
        ended = recorder.step(np.zeros(2, int))
        assert recorder.rows.nbytes < 1 << 18
        if mode == DISABLED and ended.any():
            recorder.reset(None, ended)
    assert len(recorder.tape.fragments) >= 2


def test_resets_alone_never_run_out_of_room() -> None:
    makers = [lambda: Sampled(gs.Box(0, 255, (200, 200, 3), np.uint8))] * 2
    env = SyncVectorEnv(makers, copy=False, autoreset_mode=DISABLED)
    schema = run_schema(env.single_observation_space, env.single_action_space)
    recorder = VectorRecorder(env, schema, DISABLED, max_bytes=1 << 16)
    for k in range(20):
        recorder.reset(None, np.array([True, k % 3 == 0]))
    assert recorder.rows.oldest_ns is None or recorder.tape.fragments
    recorder.close()
    assert len(recorder.tape.pictures()) == 27


def test_the_oldest_row_says_when_a_fragment_is_due() -> None:
    makers = [lambda: Sampled(gs.Box(0, 255, (16, 16, 3), np.uint8), end=0.0)] * 2
    env = SyncVectorEnv(makers, copy=False, autoreset_mode=DISABLED)
    recorder = VectorRecorder(env, run_schema(env.single_observation_space, env.single_action_space), DISABLED)
    recorder.reset()
    began = recorder.rows.oldest_ns  # a picture waits as a row does
    assert began is not None
    recorder.step(np.zeros(2, int))
    assert recorder.rows.oldest_ns == began
    assert not recorder.rows.due(began + 499_000_000)
    assert recorder.rows.due(began + 500_000_000)
    recorder.tape.take(recorder.rows)
    assert recorder.rows.oldest_ns is None
    recorder.rows.abort()
    assert recorder.rows.oldest_ns is not None
