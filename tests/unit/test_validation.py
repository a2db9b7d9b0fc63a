"""Validation: what is off is found with its place and kind, counted under `warn`, refused under `enforce`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces as gs
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from rolltape.actors.validation import Validator, checked, validator_of, watched
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.mismatches import Mismatch
from rolltape.schema.space_check import SpaceCheck, _part
from rolltape.schema.spaces import SpaceCodec
from tests.fakes import run_schema
from tests.recorders import Recorder, VectorRecorder
from tests.strategies import fixed_spaces, spaces, values

BOX = gs.Box(np.array([-1, -np.inf], np.float32), np.array([1, np.inf], np.float32))


def check_of(space: gym.Space[Any]) -> SpaceCheck:
    return SpaceCheck(space, SpaceCodec(space))


def found(space: gym.Space[Any], *given_values: Any) -> list[tuple[str, str, int, int]]:
    return [(off.kind, off.path, off.count, off.row) for off in check_of(space).values(given_values)]


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_it_says_what_contains_says(data: st.DataObject) -> None:
    space = data.draw(spaces() | fixed_spaces())
    for leaf in SpaceCodec(space).leaves:
        if leaf.dtype.kind not in "biuf" or not leaf.dtype.isnative:
            return
        if leaf.shape == () and not isinstance(_part(space, leaf.path), gs.Discrete):
            return  # Gymnasium wants an array there, and environments give a scalar
    value = data.draw(values(space))
    off = [off for off in check_of(space).one(value) if off.kind != "infinite"]
    try:
        inside = space.contains(value)
    except (ValueError, IndexError, TypeError, OverflowError):
        return  # Gymnasium itself cannot tell
    assert bool(off) == (not inside)


def test_a_start_at_the_lowest_number() -> None:
    space = gs.MultiDiscrete([1, 127], dtype=np.int8, start=[-128, -128])
    assert found(space, np.array([-128, -2], np.int8), np.array([0, -2], np.int8)) == [("outside", "[0]", 1, 1)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_batch_is_its_values(data: st.DataObject) -> None:
    space = data.draw(st.sampled_from([BOX, gs.Discrete(3), gs.Dict({"a": BOX, "b": gs.MultiDiscrete([2, 3])})]))
    rows = data.draw(st.lists(values(space), min_size=1, max_size=4))
    batched = gym.vector.utils.concatenate(
        space, rows, gym.vector.utils.create_empty_array(space, len(rows), fn=np.zeros)
    )
    check = check_of(space)
    together = sorted((off.kind, off.path, off.count) for off in check.batch(batched, len(rows)))
    counts: dict[tuple[str, str], int] = {}
    for value in rows:
        for off in check.one(value):
            counts[off.kind, off.path] = counts.get((off.kind, off.path), 0) + 1
    assert together == sorted((*key, count) for key, count in counts.items())


def test_kinds_and_places() -> None:
    nan, inf = np.float32("nan"), np.float32("inf")
    rows = [np.array(pair, np.float32) for pair in ([0, 0], [2, nan], [nan, inf], [inf, -inf])]
    assert found(BOX, *rows) == [("nan", "[0]", 1, 2), ("nan", "[1]", 1, 1), ("infinite", "[1]", 2, 2),
                                 ("outside", "[0]", 2, 1)]  # fmt: skip
    deep = gs.Dict({"a": gs.Tuple([gs.Discrete(3, start=5), BOX])})
    good = {"a": (np.int64(5), rows[0])}
    assert found(deep, good) == []
    assert found(deep, good, {"a": (np.int64(8), rows[1])}) == [
        ("outside", "['a'][0]", 1, 1), ("nan", "['a'][1][1]", 1, 1), ("outside", "['a'][1][0]", 1, 1)
    ]  # fmt: skip
    text = gs.Dict({"a": gs.Text(3), "b": gs.Sequence(gs.Discrete(2))})
    assert found(text, {"a": "abc", "b": (0,)}) == []
    assert found(text, {"a": "abcd", "b": (0,)}) == [("outside", "['a']", 1, 0)]
    assert found(text, {"a": "a", "b": (0, 2)}) == [("outside", "['b'][1]", 1, 0)]
    large = gs.Box(0, 1, (100, 100), np.float32)
    assert found(large, np.full((100, 100), 2, np.float32)) == [("outside", "", 1, 0)]


def test_what_holds_every_value_is_not_looked_at() -> None:
    assert check_of(gs.Box(0, 255, (8, 8, 3), np.uint8)).trivial
    assert not check_of(gs.Box(0, 254, (8, 8, 3), np.uint8)).trivial
    assert not check_of(gs.Box(-np.inf, np.inf, (2,))).trivial, "NaN is in no Box"


class Wild(gym.Env[Any, Any]):
    """Gives what a test says: observations of a Box from -1 to 1, and rewards."""

    metadata = {}  # noqa: RUF012

    def __init__(self, script: list[tuple[Any, float]] | None = None, start: float = 0.0) -> None:
        self.observation_space = gs.Box(-1, 1, (2,), np.float32)
        self.action_space = gs.Discrete(2)
        self.script, self.start, self.at = script or [], start, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.full(2, self.start, np.float32), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        seen, reward = self.script[self.at] if self.at < len(self.script) else (0.0, 0.0)
        self.at += 1
        return np.array([0, seen], np.float32), reward, False, False, {}


def recorded(env: Wild, mode: Any) -> tuple[Recorder, Validator]:
    recorder = Recorder(env, run_schema(env.observation_space, env.action_space))
    validator = validator_of(recorder.rows._schema, mode, "p0.0")
    assert validator is not None
    recorder.rows = checked(recorder.rows, validator)
    return recorder, validator


SCRIPT = [(0.5, 1.0), (3.0, float("nan")), (float("nan"), float("inf")), (-2.0, 1.0)]


@pytest.mark.usefixtures("either_way")
def test_warn_counts_what_it_records(caplog: pytest.LogCaptureFixture) -> None:
    recorder, validator = recorded(Wild(SCRIPT), "warn")
    recorder.reset()
    for _ in SCRIPT:
        recorder.step(7)
    recorder.close()
    with caplog.at_level(logging.WARNING):
        for batches in recorder.tape.fragments:
            validator.inspect(batches)
            validator.inspect({})
    assert validator.mismatches.frozen() == (
        Mismatch("action_outside", "action", 4),
        Mismatch("observation_nan", "observation[1]", 1),
        Mismatch("observation_outside", "observation[1]", 2),
        Mismatch("reward_infinite", "reward", 1),
        Mismatch("reward_nan", "reward", 1),
    )
    assert recorder.rows.steps == 4, "nothing was refused"
    lines = [record.getMessage() for record in caplog.records]
    assert "action_outside | p0.0 action: found 7, allowed is 0 to 1; 4 so far" in lines
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize(
    ("action", "script", "said"),
    [
        (2, (0.0, 1.0), r"^action: found 2, allowed is 0 to 1 \(action_outside\)"),
        (0, (2.0, 1.0), r"^observation\[1\]: found 2\.0, allowed is -1\.0 to 1\.0 \(observation_outside\)"),
        (0, (float("nan"), 1.0), r"^observation\[1\]: found nan.*\(observation_nan\)"),
        (0, (0.0, float("inf")), r"^reward: found inf, allowed are finite numbers \(reward_infinite\)"),
    ],
)
def test_enforce_refuses_at_the_source(action: int, script: tuple[float, float], said: str) -> None:
    recorder, validator = recorded(Wild([(0.0, 0.0), script]), "enforce")
    recorder.reset()
    recorder.step(0)
    with pytest.raises(SchemaMismatch, match=said):
        recorder.step(action)
    recorder.step(0)  # after the end of an episode: nobody's
    recorder.close()
    assert recorder.rows.steps == 1
    assert validator.mismatches.total == 1
    (batches,) = recorder.tape.fragments
    assert batches["episodes"].column("status").to_pylist() == ["aborted"]


def test_a_first_observation_that_is_refused_opens_nothing() -> None:
    recorder, _ = recorded(Wild(start=9.0), "enforce")
    with pytest.raises(SchemaMismatch, match=r"observation\[0\]: found 9\.0"):
        recorder.reset()
    recorder.close()
    assert recorder.tape.fragments == []


def test_infinities_that_a_space_allows_are_counted_not_refused() -> None:
    env = Wild([(float("inf"), 0.0)])
    env.observation_space = gs.Box(-np.inf, np.inf, (2,), np.float32)
    recorder, validator = recorded(env, "enforce")
    recorder.reset()
    recorder.step(0)
    assert validator.mismatches.frozen() == (Mismatch("observation_infinite", "observation[1]", 1),)
    assert recorder.rows.steps == 1


def test_another_dtype_is_counted() -> None:
    recorder, validator = recorded(Wild(), "warn")
    recorder.rows.reset(np.zeros(2, np.float64), {})
    recorder.rows.step(0, np.zeros(2, np.float64), 0.0, False, False, {})
    assert validator.mismatches.frozen() == (Mismatch("observation_dtype", "observation", 1),)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_vector_steps_are_refused_with_their_sub_environment(mode: AutoresetMode) -> None:
    envs = SyncVectorEnv([Wild, lambda: Wild([(0.0, 0.0), (5.0, 0.0)])], autoreset_mode=mode)
    schema = run_schema(envs.single_observation_space, envs.single_action_space)
    recorder = VectorRecorder(envs, schema, mode)
    validator = Validator(schema, "enforce")
    recorder.rows = checked(recorder.rows, validator, 2)
    recorder.reset()
    recorder.step(np.zeros(2, np.int64))
    with pytest.raises(SchemaMismatch, match=r"observation\[1\] of sub-environment 1: found 5\.0"):
        recorder.step(np.zeros(2, np.int64))
    recorder.step(np.zeros(2, np.int64))
    recorder.close()
    assert recorder.rows.steps == 2, "no later step is taken for one of a new episode"
    statuses = [s for b in recorder.tape.fragments if "episodes" in b for s in b["episodes"]["status"].to_pylist()]
    assert statuses == ["aborted", "aborted"]


@pytest.mark.usefixtures("either_way")
def test_pictures_are_looked_at_where_their_space_is_not_all_bytes() -> None:
    class Dark(gym.Env[Any, Any]):
        observation_space = gs.Box(0, 9, (16, 16, 3), np.uint8)
        action_space = gs.Discrete(2)

        def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
            return np.full((16, 16, 3), 9, np.uint8), {}

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            return np.full((16, 16, 3), 10, np.uint8), 0.0, False, False, {}

    recorder = Recorder(Dark(), run_schema(Dark.observation_space, Dark.action_space))
    validator = Validator(recorder.rows._schema, "warn")
    recorder.reset()
    for _ in range(3):
        recorder.step(0)
    recorder.close()
    for batches in recorder.tape.fragments:
        validator.inspect(batches)
    assert validator.mismatches.frozen() == (Mismatch("observation_outside", "observation", 3),)


@pytest.mark.usefixtures("either_way")
def test_off_looks_at_rewards_alone() -> None:
    env = Wild(SCRIPT)
    recorder = Recorder(env, run_schema(env.observation_space, env.action_space))
    validator = validator_of(recorder.rows._schema, "off", "p0.0")
    assert validator is None
    assert checked(recorder.rows, validator) is recorder.rows
    recorder.reset()
    for _ in SCRIPT:
        recorder.step(7)
    recorder.close()
    watch = watched(validator, recorder.rows._schema, "p0.0")
    for batches in recorder.tape.fragments:
        watch["inspect"](batches)
    assert watch["mismatches"].frozen() == (
        Mismatch("reward_infinite", "reward", 1),
        Mismatch("reward_nan", "reward", 1),
    )


def test_what_goes_on_is_said_again_at_ten_times_as_many(caplog: pytest.LogCaptureFixture) -> None:
    env = Wild(SCRIPT)
    validator = Validator(run_schema(env.observation_space, env.action_space), "warn", "p0.0")
    with caplog.at_level(logging.WARNING):
        for _ in range(1234):
            validator.rewards(np.array([1.0, np.nan]))
    assert [record.getMessage() for record in caplog.records] == [
        f"reward_nan | p0.0 reward; {count} so far" for count in ("1", "10", "100", "1,000")
    ]


@pytest.mark.long
@pytest.mark.parametrize("name", ["FrozenLake-v1", "CartPole-v1", "Pendulum-v1", "text"])
def test_what_it_costs(name: str) -> None:
    """Prints the numbers of docs/schema.md; bounds are generous, for machines that do other things as well."""
    if name == "text":
        observation: gym.Space[Any] = gs.Dict({"t": gs.Text(5), "x": gs.Box(-1, 1, (3,))})
        action: gym.Space[Any] = gs.Discrete(2)
    else:
        env = gym.make(name)
        observation, action = env.observation_space, env.action_space
    schema, rows = run_schema(observation, action), 2_000 if name == "text" else 100_000
    seen, done = [observation.sample() for _ in range(100)], [action.sample() for _ in range(100)]
    if name == "CartPole-v1":  # samples of infinite bounds are not what it gives
        seen = [np.clip(value, -2, 2) * np.float32(0.2) for value in seen]
    columns = [schema.observation.encode(seen * (rows // 100)), schema.action.encode(done * (rows // 100))]
    steps = pa.record_batch([*columns, pa.array(np.ones(rows))], names=["observation", "action", "reward"])
    warn, enforce = Validator(schema, "warn"), Validator(schema, "enforce")
    batches = [
        gym.vector.utils.concatenate(space, values[:64], gym.vector.utils.create_empty_array(space, 64))
        for space, values in ((action, done), (observation, seen))
    ]
    costs = {
        "warn, ns a step": cpu_s(lambda: warn.inspect({"steps": steps})) / rows * 1e9,
        "enforce, us a step": cpu_s(lambda: enforce.check_one(done[0], seen[0], 1.0)) * 1e6,
        "enforce, us a batch of 64": cpu_s(lambda: enforce.check_batch(*batches, np.ones(64), 64)) * 1e6,
    }
    print(name, {key: round(value, 1) for key, value in costs.items()})
    assert warn.mismatches.frozen() == ()
    if name != "text":
        assert costs["warn, ns a step"] < 200 and costs["enforce, us a step"] < 100


def cpu_s(call: Callable[[], Any]) -> float:
    call()
    began, calls = time.process_time(), 0
    while time.process_time() - began < 0.3:
        call()
        calls += 1
    return (time.process_time() - began) / calls
