"""A recorded vector environment gives the rows of plain loops over its sub-environments, in every autoreset mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.seeding import EpisodeSeeding, episode_seed
from rolltape.actors.stepping import SubEnvironments
from tests.examples import examples
from tests.fakes import run_schema
from tests.odd_envs import ENVIRONMENTS, Sampled, odd_infos, vector_infos
from tests.plain_loops import PlainLoop, assert_recorded
from tests.recorders import OFFSET, STRIDE, VectorRecorder

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
MODES = [NEXT_STEP, SAME_STEP, DISABLED]


class Loops:
    """As many plain loops as the vector environment has sub-environments, given the same actions."""

    def __init__(self, makers: list[Callable[[], gym.Env[Any, Any]]], schema: Any, mode: AutoresetMode) -> None:
        self.mode = mode
        self.loops = [PlainLoop(make(), schema, sub_env=OFFSET + i, stride=STRIDE) for i, make in enumerate(makers)]

    def reset(self, seeds: Any, mask: np.ndarray | None, options: dict[str, Any] | None) -> None:
        for i, loop in enumerate(self.loops):
            if mask is None or mask[i]:
                loop.reset(None if seeds is None else seeds[i], options)

    def step(self, actions: list[Any]) -> None:
        for loop, action in zip(self.loops, actions, strict=True):
            if loop.open:
                ended = loop.step(action)
                if ended and self.mode == SAME_STEP:
                    loop.reset()
            elif self.mode == NEXT_STEP:
                loop.reset()  # and the action is ignored


def follow(plan: list[Any], recorder: VectorRecorder, loops: Loops) -> None:
    """Do the same with both, from a seeded reset to the close."""
    space, n = recorder.env.action_space, recorder.env.num_envs
    space.seed(3)

    def reset(seeds: Any = None, mask: Any = None, options: Any = None) -> None:
        recorder.reset(seeds, mask, options)
        loops.reset(seeds, mask, options)

    reset(list(range(7, 7 + n)))
    for move in plan:
        if move == "cut":
            recorder.tape.take(recorder.rows)
        elif move == "step":
            actions = space.sample()
            ended = recorder.step(actions)
            loops.step(list(iterate(space, actions)))
            if loops.mode == DISABLED and ended.any():
                reset(None, ended)
        else:
            reset(*move[1:])
        page = recorder.page
        assert page.words[5] == recorder.rows.steps == sum(len(loop.steps) for loop in loops.loops)
        assert (page.episode_index * STRIDE + np.arange(n) + OFFSET).tolist() == [x.episode for x in loops.loops]
        assert page.episode_steps.tolist() == [loop._t if loop.open else -1 for loop in loops.loops]
    for loop in loops.loops:
        loop.abort()
    recorder.close()
    assert recorder.rows.ignored_steps == 0
    assert_recorded(recorder.tape, loops.loops, recorder.rows)


@st.composite
def plans(draw: st.DrawFn, n: int) -> list[Any]:
    """What happens after the first reset. A partial reset takes any sub-environments, also those in mid-episode."""
    seed = st.none() | st.integers(0, 2**31)
    resets = st.builds(
        lambda seeds, mask, options: (
            "reset",
            seeds if any(s is not None for s in seeds) else None,
            np.array(mask) if any(mask) else None,
            {"start": 1} if options else None,
        ),
        st.lists(seed, min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.booleans(),
    )
    moves = st.one_of(st.just("step"), st.just("step"), st.just("step"), st.just("cut"), resets)
    return draw(st.lists(moves, max_size=30))


def made(name: str, mode: AutoresetMode, n: int, **rows: Any) -> tuple[VectorRecorder, Loops]:
    makers = [ENVIRONMENTS[name]] * n
    env = SyncVectorEnv(makers, copy=False, autoreset_mode=mode)
    schema = run_schema(env.single_observation_space, env.single_action_space)
    return VectorRecorder(env, schema, mode, **rows), Loops(makers, schema, mode)


ODD = ("FrozenLake", "odd infos", "late infos", "reusing", "one array")
NAMES = [name for name in ENVIRONMENTS if name not in ODD]
"""Those whose infos and last observations a vector environment hands on without a change."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
@examples(4)
@given(st.data(), st.integers(1, 3), st.integers(1, 20))
def test_rows_are_those_of_plain_loops(
    name: str, mode: AutoresetMode, data: st.DataObject, n: int, max_rows: int
) -> None:
    recorder, loops = made(name, mode, n, max_rows=max_rows)
    follow(data.draw(plans(n)), recorder, loops)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_many_episodes_in_one_fragment(name: str, mode: AutoresetMode) -> None:
    recorder, loops = made(name, mode, 3)
    follow(["step"] * 40, recorder, loops)
    assert len(recorder.tape.fragments) == 1


@pytest.mark.parametrize("mode", MODES)
@examples(10)
@given(plans(2), st.integers(1, 20))
def test_infos_belong_to_their_steps_and_resets(mode: AutoresetMode, plan: list[Any], max_rows: int) -> None:
    """`final_info` to the last step, what else is there to the reset; also late keys and nested ones."""
    makers = [lambda: Sampled(infos=vector_infos, end=0.4)] * 2
    env = SyncVectorEnv(makers, copy=False, autoreset_mode=mode)
    schema = run_schema(env.single_observation_space, env.single_action_space)
    follow(plan, VectorRecorder(env, schema, mode, max_rows=max_rows), Loops(makers, schema, mode))


# ---- a fleet's sub-environments: every reset is seeded, and infos are read inside ----


class Seeded(Loops):
    """Plain loops that reset with the seed of each episode, whatever resets them."""

    def reset(self, seeds: Any, mask: np.ndarray | None, options: dict[str, Any] | None) -> None:
        for i, loop in enumerate(self.loops):
            if mask is None or mask[i]:
                self._begin(loop, None if seeds is None else seeds[i], options)

    def step(self, actions: list[Any]) -> None:
        for loop, action in zip(self.loops, actions, strict=True):
            if loop.open:
                if loop.step(action) and self.mode == SAME_STEP:
                    self._begin(loop)
            elif self.mode == NEXT_STEP:
                self._begin(loop)

    def _begin(self, loop: PlainLoop, seed: int | None = None, options: Any = None) -> None:
        seed = episode_seed(11, loop.sub_env, loop._index + 1) if seed is None else seed
        loop.reset(seed, options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*ODD, "image", "Blackjack"])
@examples(5)
@given(st.data(), st.integers(1, 3), st.integers(1, 20))
def test_a_fleets_episodes_replay_alone(
    name: str, mode: AutoresetMode, data: st.DataObject, n: int, max_rows: int
) -> None:
    maker = ENVIRONMENTS[name]
    env = SyncVectorEnv(
        [lambda i=i: EpisodeSeeding(maker(), 11, OFFSET + i) for i in range(n)], copy=False, autoreset_mode=mode
    )
    schema = run_schema(env.single_observation_space, env.single_action_space)
    recorder = VectorRecorder(env, schema, mode, max_rows=max_rows)
    recorder.inside = SubEnvironments(env, False, 0).inside
    follow(data.draw(plans(n)), recorder, Seeded([maker] * n, schema, mode))


@pytest.mark.parametrize("mode", [NEXT_STEP, DISABLED])
@examples(8)
@given(plans(2), st.integers(1, 20), st.integers(1, 4))
def test_renders_every_so_many_steps(mode: AutoresetMode, plan: list[Any], max_rows: int, every: int) -> None:
    space = gs.Box(0, 255, (16, 16, 3), np.uint8)
    makers = [lambda: Sampled(space, render_shape=(18, 16, 4), render_mode="rgb_array")] * 2
    env = SyncVectorEnv(makers, copy=False, autoreset_mode=mode)
    schema = run_schema(space, env.single_action_space, "render", every)
    follow(plan, VectorRecorder(env, schema, mode, max_rows=max_rows), Loops(makers, schema, mode))


def test_the_renders_of_ends_are_taken_inside() -> None:
    """Under SAME_STEP the environment has been reset when the step returns."""
    n = 2
    makers = [lambda: Sampled(infos=odd_infos, render_mode="rgb_array", end=0.4)] * n
    env = SyncVectorEnv(
        [lambda i=i: EpisodeSeeding(makers[i](), 11, OFFSET + i, draws=True) for i in range(n)],
        copy=False,
        autoreset_mode=SAME_STEP,
    )
    schema = run_schema(env.single_observation_space, env.single_action_space, "render", 3)
    recorder = VectorRecorder(env, schema, SAME_STEP, max_rows=7)
    recorder.inside = SubEnvironments(env, False, 0).inside
    follow(["step"] * 30, recorder, Seeded(makers, schema, SAME_STEP))
