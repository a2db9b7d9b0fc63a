"""The synthetic environment: everything follows from its seed, and its pace changes nothing."""

from __future__ import annotations

import zlib
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.refusals import NAMESPACES
from rolltape.actors.synthetic import ENV_ID, Synthetic
from tests.sameness import assert_same


def played(env: gym.Env[Any, Any], seed: int, steps: int = 40) -> list[Any]:
    """All that an environment gives: a seeded reset, the actions 0, 1, 0, …, and resets without a seed at its ends."""
    seen: list[Any] = [env.reset(seed=seed)]
    for t in range(steps):
        seen.append(env.step(np.int64(t % 2)))
        seen.append(env.render())
        if seen[-2][2]:
            seen.append(env.reset())
    return seen


SIZES = st.fixed_dictionaries(
    {
        "observation_bytes": st.integers(1, 200),
        "frame_size": st.none() | st.integers(1, 9) | st.tuples(st.integers(1, 9), st.integers(1, 9)),
        "observes_frames": st.booleans(),
        "episode_length": st.integers(1, 9) | st.tuples(st.integers(1, 5), st.integers(5, 9)),
        "info_keys": st.integers(0, 5),
        "compressibility": st.floats(0, 1),
        "render_mode": st.sampled_from([None, "rgb_array"]),
    }
)


@given(SIZES, st.integers(0, 2**31 - 1))
def test_it_follows_from_its_seed(sizes: dict[str, Any], seed: int) -> None:
    env = Synthetic(**sizes)
    first = played(env, seed)
    assert_same(tuple(map(tuple_of, played(Synthetic(**sizes), seed))), tuple(map(tuple_of, first)))
    assert_same(tuple(map(tuple_of, played(env, seed))), tuple(map(tuple_of, first)))
    assert all(env.observation_space.contains(given[0]) for given in first if isinstance(given, tuple))


def tuple_of(value: Any) -> Any:
    return value if isinstance(value, tuple) else (value,)


def test_actions_change_what_it_gives() -> None:
    left, right = Synthetic(num_actions=3), Synthetic(num_actions=3)
    left.reset(seed=1), right.reset(seed=1)
    assert left.step(np.int64(0))[1] != right.step(np.int64(2))[1]


def test_gymnasium_finds_it_by_its_module_and_is_content() -> None:
    env = gym.make(f"rolltape.actors.synthetic:{ENV_ID}", info_keys=2, render_mode="rgb_array", frame_size=[8, 10])
    check_env(env.unwrapped, skip_render_check=True)
    assert NAMESPACES[ENV_ID.partition("/")[0]] == Synthetic.__module__
    env.reset(seed=0)
    assert env.step(np.int64(1))[4] == {"count": 1, "fact_1": 0.5}
    assert env.render().shape == (8, 10, 3)  # type: ignore[union-attr]


def test_sizes_are_what_was_asked_for() -> None:
    env = Synthetic(observation_bytes=4096, episode_length=(3, 5), info_keys=4)
    observation, info = env.reset(seed=2)
    assert observation.nbytes == 4096 and len(info) == 4
    lengths = set()
    for _ in range(60):
        env.reset()
        steps = 1
        while not env.step(np.int64(0))[2]:
            steps += 1
        lengths.add(steps)
    assert lengths == {3, 4, 5}


def test_compressibility_is_what_stays_the_same() -> None:
    sizes = []
    for share in (0.0, 0.5, 1.0):
        env = Synthetic(observes_frames=True, frame_size=32, compressibility=share)
        pictures = [env.reset(seed=0)[0], *(env.step(np.int64(0))[0] for _ in range(20))]
        sizes.append(len(zlib.compress(b"".join(p.tobytes() for p in pictures), 6)) / (21 * pictures[0].nbytes))
    assert sizes[0] > 0.98 and 0.45 < sizes[1] < 0.6 and sizes[2] < 0.1


def test_it_keeps_its_pace_and_catches_up_one_step_at_most() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    env = Synthetic(step_rate=10, clock=lambda: now[0], sleep=sleep)
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.int64(0))
    assert slept == pytest.approx([0.1, 0.1, 0.1])
    now[0] += 5.0  # a learner's update
    for _ in range(3):
        env.step(np.int64(0))
    assert slept[3:] == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step_rate", -1),
        ("observation_bytes", 0),
        ("frame_size", (0, 4)),
        ("episode_length", (5, 2)),
        ("info_keys", -1),
        ("compressibility", 1.5),
        ("num_actions", 0),
        ("render_mode", "human"),
    ],
)
def test_what_is_not_allowed_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Synthetic(**{name: value})
