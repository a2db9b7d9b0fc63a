"""Observations and actions of any space, of any bits that an environment may return, come back from a recording."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from rolltape.actors.vector_rows import VectorRows
from rolltape.schema.messages import ProducerKey
from rolltape.schema.space_codec import SpaceCodec
from tests import strategies
from tests.examples import examples
from tests.fakes import Agreement, MemoryPage, fragments, run_schema
from tests.recorded import Tape
from tests.recorders import rows_of
from tests.sameness import assert_same

EXAMPLES = examples(25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SPACES = strategies.spaces(4)


@st.composite
def episodes(draw: st.DrawFn) -> tuple[gym.Space[Any], gym.Space[Any], list[tuple[list[Any], list[Any]]]]:
    """Episodes of n actions and n + 1 observations each."""
    observation, action = draw(SPACES), draw(SPACES)
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    return (
        observation,
        action,
        [
            (
                draw(st.lists(strategies.values(observation), min_size=n + 1, max_size=n + 1)),
                draw(st.lists(strategies.values(action), min_size=n, max_size=n)),
            )
            for n in lengths
        ],
    )


@pytest.mark.usefixtures("either_way")
@EXAMPLES
@given(episodes(), st.integers(1, 4))
def test_a_single_environment(
    example: tuple[gym.Space[Any], gym.Space[Any], list[tuple[list[Any], list[Any]]]], max_rows: int
) -> None:
    observation, action, plan = example
    schema = run_schema(observation, action, "none")
    rows = rows_of(schema)(
        schema,
        ProducerKey(0, 0),
        MemoryPage(),  # type: ignore[arg-type]
        fragments(max_rows),
        sub_env=0,
        stride=1,
        agree=Agreement(),
    )
    tape = Tape(schema)
    for seen, done in plan:
        rows.reset(seen[0], {})
        for t, act in enumerate(done):
            if rows.step(act, seen[t + 1], 1.0, t == len(done) - 1, False, {}):
                tape.take(rows)
    rows.abort()
    tape.take(rows)
    if not schema.has_observation_column:  # an image that is not kept
        observation = None  # type: ignore[assignment]
    steps = tape.steps()
    assert_same([s.action for s in steps], [canonical(schema.action, a) for _, done in plan for a in done])
    if observation is not None:
        expected = [canonical(schema.observation, o) for seen, _ in plan for o in seen[:-1]]
        assert_same([s.observation for s in steps], expected)
        finals = [canonical(schema.observation, seen[-1]) for seen, _ in plan]
        assert_same([e.final_observation for e in tape.episodes()], finals)


def canonical(codec: SpaceCodec, value: Any) -> Any:
    return codec.decode(codec.encode([value]))[0]


@st.composite
def batched(draw: st.DrawFn) -> tuple[gym.Space[Any], gym.Space[Any], list[Any], list[Any], np.ndarray]:
    """Observations of k + 1 steps and actions of k for n sub-environments, and which end when."""
    observation, action = draw(SPACES), draw(SPACES)
    n, k = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    ends = draw(st.lists(st.booleans(), min_size=n * k, max_size=n * k))
    return (
        observation,
        action,
        [draw(strategies.batches(observation, n)) for _ in range(k + 1)],
        [draw(strategies.batches(action, n)) for _ in range(k)],
        np.array(ends, bool).reshape(k, n),
    )


@EXAMPLES
@given(batched(), st.integers(1, 6))
def test_a_vector_environment(
    example: tuple[gym.Space[Any], gym.Space[Any], list[Any], list[Any], np.ndarray], max_rows: int
) -> None:
    """Under NEXT_STEP: what follows an end is a reset."""
    observation, action, seen, acted, ends = example
    steps, n = ends.shape if len(acted) else (0, ends.shape[1])
    schema = run_schema(observation, action, "none")
    rows = VectorRows(
        schema,
        ProducerKey(0, 0),
        MemoryPage(n),  # type: ignore[arg-type]
        fragments(max_rows),
        num_envs=n,
        autoreset=AutoresetMode.NEXT_STEP,
        sub_env_offset=0,
        stride=n,
        agree=Agreement(),
    )
    tape = Tape(schema)
    no = np.zeros(n, bool)
    rows.reset(seen[0], {})
    for k in range(steps):
        if rows.step(acted[k], seen[k + 1], np.zeros(n), ends[k], no, {}):
            tape.take(rows)
    rows.abort()
    tape.take(rows)
    actions = [schema.action.decode(schema.action.encode_batch(batch, n)) for batch in acted]
    observations = [schema.observation.decode(schema.observation.encode_batch(batch, n)) for batch in seen]
    expected: list[tuple[Any, Any]] = []
    finals: list[Any] = []
    for i in range(n):
        is_open = True
        for k in range(steps):
            if is_open:
                expected.append((observations[k][i], actions[k][i]))
                if ends[k, i]:
                    finals.append(observations[k + 1][i])
            is_open = not (is_open and ends[k, i])
        if is_open:
            finals.append(observations[steps][i])
    found = tape.steps()
    assert_same([row.action for row in found], [act for _, act in expected])
    if schema.has_observation_column:
        assert_same([row.observation for row in found], [obs for obs, _ in expected])
        assert_same([row.final_observation for row in tape.episodes()], finals)
