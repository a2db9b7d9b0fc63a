"""A recorded single environment gives the rows of a plain loop, wherever fragments are cut."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gs
from hypothesis import given
from hypothesis import strategies as st

from rolltape.schema.errors import SchemaMismatch
from tests.examples import examples
from tests.fakes import run_schema
from tests.odd_envs import ENVIRONMENTS, Sampled, constant_infos
from tests.plain_loops import PlainLoop, assert_recorded
from tests.recorders import Recorder

pytestmark = pytest.mark.usefixtures("either_way")

PLANS = st.lists(
    st.one_of(
        st.just("step"),
        st.just("cut"),
        st.builds(lambda seed: ("reset", seed), st.none() | st.integers(0, 2**31)),
    ),
    max_size=40,
)
"""What happens between the first reset and the close; after an end there is always a reset."""


def both(name: str, frames: str = "auto", every: int = 1, **rows: int) -> tuple[Recorder, PlainLoop]:
    env = ENVIRONMENTS[name]()
    schema = run_schema(env.observation_space, env.action_space, frames, every)
    ids = {k: v for k, v in rows.items() if k != "max_rows"}
    return Recorder(env, schema, **rows), PlainLoop(ENVIRONMENTS[name](), schema, **ids)


def follow(plan: list[Any], recorder: Recorder, loop: PlainLoop, first: Any = ("reset", 7)) -> None:
    """Do the same with both; actions are the plain environment's samples."""
    loop.env.action_space.seed(3)
    for move in [first, *plan]:
        if move == "cut":
            recorder.tape.take(recorder.rows)
        elif move == "step" and loop.open:
            action = loop.env.action_space.sample()
            loop.step(action)
            recorder.step(action)
        else:
            seed = move[1] if isinstance(move, tuple) else None
            options = {"start": seed} if seed is not None and seed % 2 else None
            loop.reset(seed, options)
            recorder.reset(seed, options)
        assert recorder.page.words[5] == recorder.rows.steps == len(loop.steps)
        assert recorder.page.episode_index[0] * loop.stride + loop.sub_env == loop.episode == recorder.rows.episode
    loop.abort()
    recorder.close()


@pytest.mark.parametrize("name", ENVIRONMENTS)
@examples(8)
@given(PLANS, st.integers(1, 9))
def test_rows_are_those_of_a_plain_loop(name: str, plan: list[Any], max_rows: int) -> None:
    recorder, loop = both(name, max_rows=max_rows)
    follow(plan, recorder, loop)
    assert_recorded(recorder.tape, [loop], recorder.rows)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_many_episodes_in_one_fragment(name: str) -> None:
    recorder, loop = both(name, sub_env=3, stride=5)
    follow(["step"] * 70, recorder, loop)
    assert_recorded(recorder.tape, [loop], recorder.rows)
    assert len(recorder.tape.fragments) == 1


def test_episodes_that_wait_are_nothing_to_the_garbage_collector() -> None:
    """A few objects an episode, and it visits all of the program's again and again (0.1 s with Ray's)."""
    recorder, _ = both("CartPole", max_rows=100_000)
    gc.collect()
    before = len(gc.get_objects())
    recorder.reset(7)
    while recorder.rows.completed < 100:
        result = recorder.env.step(0)
        assert not recorder.rows.step(0, *result)
        if result[2] or result[3]:
            recorder.reset()
    assert len(gc.get_objects()) - before < 50


@examples(8)
@given(PLANS, st.integers(1, 9), st.integers(1, 4), st.sampled_from([(20, 24, 3), (18, 16, 4), (5, 6)]))
def test_renders_every_so_many_steps(plan: list[Any], max_rows: int, every: int, shape: tuple[int, ...]) -> None:
    """Also of four channels, which for an observation would be a stack: run.json says nothing of renders."""
    space = gs.Box(0, 255, (16, 16, 3), np.uint8)
    schema = run_schema(space, gs.Discrete(2), "render", every)
    envs = [Sampled(space, gs.Discrete(2), render_shape=shape, render_mode="rgb_array") for _ in range(2)]
    recorder, loop = Recorder(envs[0], schema, max_rows=max_rows), PlainLoop(envs[1], schema)
    follow(plan, recorder, loop)
    assert_recorded(recorder.tape, [loop], recorder.rows)


@pytest.mark.parametrize("size", [16, 200])
def test_resets_alone_never_run_out_of_room(size: int) -> None:
    """Each reset brings a picture and no row; a fragment has room for two at least."""
    space = gs.Box(0, 255, (size, size, 3), np.uint8)
    schema = run_schema(space, gs.Discrete(2))
    recorder = Recorder(Sampled(space), schema, max_bytes=1 << 16)
    for _ in range(60):
        recorder.reset()
    recorder.close()
    episodes = recorder.tape.episodes()
    assert [(e.status, e.length) for e in episodes] == [("aborted", 0)] * 60
    assert len(recorder.tape.pictures()) == 60


def test_steps_after_the_end_are_counted_and_not_recorded() -> None:
    recorder, loop = both("one array")
    loop.reset(1)
    recorder.reset(1)
    while not loop.step(0):
        recorder.step(0)
    recorder.step(0)
    for _ in range(3):
        recorder.step(0)
    recorder.close()
    assert recorder.rows.ignored_steps == 3
    assert_recorded(recorder.tape, [loop], recorder.rows)


def test_steps_before_the_first_reset_are_not_recorded() -> None:
    recorder, _ = both("one array")
    assert not recorder.rows.step(0, np.zeros(3, np.float32), 0.0, True, False, {})
    recorder.close()
    assert (recorder.rows.ignored_steps, recorder.rows.steps, recorder.tape.fragments) == (1, 0, [])


# ---- values that do not fit ----


class Misfit(Sampled):
    """Returns in its n-th step (0: in its n-th reset) what its spaces do not allow."""

    def __init__(self, space: Any, bad: dict[str, Any]) -> None:
        super().__init__(space, gs.Discrete(3), end=0.0, infos=constant_infos)
        self._bad = bad

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        if self.t == 4:
            observation = self._bad.get("observation", observation)
            reward = self._bad.get("reward", reward)
            terminated = self._bad.get("terminated", terminated)
            info = self._bad.get("info", info)
        return observation, reward, terminated, truncated, info


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


BOX = gs.Box(-1.0, 1.0, (3,), np.float32)


@pytest.mark.parametrize(
    ("space", "bad", "error", "message"),
    [
        (
            BOX,
            {"observation": np.zeros(4, np.float32)},
            SchemaMismatch,
            r"observation .*episode 1, t 3: .*float32\[3\]",
        ),
        (BOX, {"observation": np.zeros((3, 1), np.float32), "terminated": True}, SchemaMismatch, "episode 1, t 3"),
        (BOX, {"observation": None}, SchemaMismatch, "observation"),
        (gs.Discrete(3), {"observation": 1.5}, SchemaMismatch, "observation"),
        (gs.Dict(a=BOX), {"observation": {"a": np.zeros(4, np.float32)}}, SchemaMismatch, r"'a'.*float32\[3\]"),
        (gs.Text(4), {"observation": 3, "terminated": True}, SchemaMismatch, "observation"),
        (
            gs.Box(0, 255, (16, 16, 3), np.uint8),
            {"observation": np.zeros((16, 16), np.uint8)},
            SchemaMismatch,
            "picture",
        ),
        (BOX, {"reward": None}, SchemaMismatch, "reward of episode 1, t 3: expected a number"),
        (BOX, {"reward": np.zeros(2)}, SchemaMismatch, "reward"),
        (BOX, {"reward": "much", "terminated": True}, SchemaMismatch, "reward"),
        (BOX, {"info": {"a": 1, "b": [Unprintable()], "c": 2}}, RuntimeError, "no words"),
    ],
)
@pytest.mark.parametrize("max_rows", [1, 2, 1000])
def test_a_step_that_does_not_fit_ends_its_episode(
    space: Any, bad: dict[str, Any], error: type[Exception], message: str, max_rows: int
) -> None:
    schema = run_schema(space, gs.Discrete(3))
    recorder = Recorder(Misfit(space, bad), schema, max_rows=max_rows)
    loop = PlainLoop(Sampled(space, gs.Discrete(3), end=0.0, infos=constant_infos), schema)
    loop.reset(5)
    recorder.reset(5)
    loop.step(1)
    recorder.step(1)
    for seed in (6, 7):
        loop.reset(seed)
        recorder.reset(seed)
        for _ in range(3):
            loop.step(2)
            recorder.step(2)
        loop.abort()
        with pytest.raises(error, match=message if seed == 6 else None):
            recorder.step(0)
        recorder.step(0)
    recorder.close()
    assert recorder.rows.ignored_steps == 2
    assert_recorded(recorder.tape, [loop], recorder.rows)


@pytest.mark.parametrize("action", [0.5, "left", None, 1 << 63, np.array([1, 2])])
def test_an_action_that_does_not_fit_ends_its_episode(action: Any) -> None:
    recorder, loop = both("one array")
    loop.reset(5)
    recorder.reset(5)
    loop.abort()
    with pytest.raises(SchemaMismatch, match="action of episode 0, t 0"):
        recorder.step(action)
    recorder.close()
    assert_recorded(recorder.tape, [loop], recorder.rows)


@pytest.mark.parametrize("space", [BOX, gs.Dict(a=BOX), gs.Text(3), gs.Discrete(3)])
def test_a_reset_that_does_not_fit_opens_nothing(space: Any) -> None:
    schema = run_schema(space, gs.Discrete(3))
    recorder = Recorder(Sampled(space), schema)
    recorder.reset(1)
    with pytest.raises(SchemaMismatch, match="observation of reset 1"):
        recorder.rows.reset(object(), {})
    assert not recorder.rows.step(0, 0, 0.0, False, False, {})
    recorder.reset(2)
    recorder.close()
    assert [(e.episode, e.status, e.seed) for e in recorder.tape.episodes()] == [(0, "aborted", 1), (1, "aborted", 2)]


def test_a_seed_beyond_the_column_is_no_seed() -> None:
    recorder, _ = both("one array")
    recorder.reset((1 << 63) - 1)
    recorder.reset(1 << 63)
    recorder.reset()
    recorder.close()
    found = [(e.seed, e.seed_episode, e.replay) for e in recorder.tape.episodes()]
    assert found == [((1 << 63) - 1, 0, "alone"), (None, None, "none"), (None, None, "none")]


# ---- bounds ----


@pytest.mark.parametrize(
    ("space", "infos"),
    [
        (gs.Text(10_000, min_length=9_000), None),
        (gs.Sequence(gs.Box(-1.0, 1.0, (10_000,), np.float32)), None),
        (BOX, lambda random, t: {"map": np.zeros((100, 100))}),
        (BOX, lambda random, t: {"map": np.zeros(500)}),
        (BOX, lambda random, t: {"map": [["x" * 10_000]]}),
    ],
)
def test_a_fragment_is_bounded_by_bytes_of_any_kind(space: Any, infos: Any) -> None:
    env = Sampled(space, infos=infos, end=0.0)
    recorder = Recorder(env, run_schema(space, env.action_space), max_rows=10_000, max_bytes=1 << 16)
    recorder.reset(1)
    for _ in range(40):
        recorder.step(0)
        assert recorder.rows.nbytes < 1 << 20
    recorder.close()
    assert len(recorder.tape.fragments) >= 3


@pytest.mark.parametrize("name", ["CartPole", "dict", "objects", "image", "reusing"])
def test_bytes_are_about_what_a_fragment_takes(name: str) -> None:
    recorder, loop = both(name)
    loop.env.action_space.seed(1)
    recorder.reset(1)
    for _ in range(100):
        recorder.step(loop.env.action_space.sample())
        if not recorder.rows._open:
            recorder.reset()
    said = recorder.rows.nbytes
    took = sum(batch.get_total_buffer_size() for batch in recorder.tape.take(recorder.rows).values())
    assert 0.5 * took < said < 3 * took
    assert recorder.rows.nbytes < 5000


def test_the_oldest_row_says_when_a_fragment_is_due() -> None:
    env = Sampled(gs.Box(0, 255, (16, 16, 3), np.uint8), end=0.0)
    recorder = Recorder(env, run_schema(env.observation_space, env.action_space))
    assert not recorder.rows.due(recorder.rows._counter_ns() + 10**10)
    recorder.reset(1)  # a picture waits as a row does
    began = recorder.rows.oldest_ns
    assert began is not None
    recorder.step(0)
    assert recorder.rows.oldest_ns == began
    assert not recorder.rows.due(began + 499_000_000)
    assert recorder.rows.due(began + 500_000_000)
    recorder.tape.take(recorder.rows)
    assert recorder.rows.oldest_ns is None
    recorder.rows.abort()  # and so does an episode
    assert recorder.rows.oldest_ns is not None


def test_times_are_those_of_the_steps() -> None:
    recorder, _ = both("one array")
    ticks = recorder.rows._clock
    recorder.reset(1)
    before = ticks.now_us()
    recorder.step(0)
    recorder.step(0)
    after = ticks.now_us()
    batch = recorder.tape.take(recorder.rows)["steps"]
    times = batch.column("time").cast("int64").to_pylist()
    assert before < times[0] < times[1] < after
