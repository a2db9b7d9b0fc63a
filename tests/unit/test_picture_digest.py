"""Digests of pictures: which changes they see, and that rows of any kind keep them in place of pictures."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.digesting import SingleDigests, VectorDigests
from rolltape.actors.synthetic import Synthetic
from rolltape.schema.config import FramesConfig
from rolltape.schema.picture_digest import picture_digest, picture_digests
from rolltape.schema.run_schema import RunSchema
from tests.fakes import run_schema
from tests.recorded import taken
from tests.recorders import Recorder

PICTURE = gym.spaces.Box(0, 255, (32, 30, 3), np.uint8)


def test_it_is_what_the_format_says() -> None:
    picture = np.arange(90, dtype=np.uint8).reshape(6, 5, 3)
    words = np.frombuffer(picture.tobytes() + bytes(6), "<u8")
    multipliers = np.random.PCG64(0x526F6C6C74617065).random_raw(12) | np.uint64(1)
    assert int(picture_digest(picture)) == sum(map(lambda w, m: int(w) * int(m), words, multipliers)) % 2**64
    assert int(picture_digest(picture)) == 16819777851943154832


@given(st.integers(0, 89), st.integers(1, 255), st.integers(0, 2**32 - 1))
def test_one_changed_byte_changes_it(at: int, by: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    other = picture.copy()
    other.reshape(-1)[at] ^= np.uint8(by)
    assert picture_digest(picture) != picture_digest(other)
    assert picture_digest(picture) == picture_digest(picture.copy(order="F"))
    assert picture_digests([picture, other]).tolist() == [int(picture_digest(p)) for p in (picture, other)]


def schema(policy: Any) -> RunSchema:
    return RunSchema(
        "01K00000000000000000000000", "Test-v0", PICTURE, gym.spaces.Discrete(2), FramesConfig(policy=policy)
    )


def test_only_pictures_that_are_drawn_again_are_digested() -> None:
    assert schema("replay").digests
    assert not schema("observation").digests and not schema("none").digests
    kept = schema("replay").of_rows()
    assert kept.arrow("steps").field("observation_digest").type == pa.uint64()
    assert kept.arrow("episodes").field("final_observation_digest").type == pa.uint64()
    assert "observation" not in kept.arrow("steps").names
    for policy in ("observation", "none"):
        assert schema(policy).of_rows().arrow("steps").names == schema(policy).arrow("steps").names
        assert "observation_digest" not in schema(policy).arrow("steps").names


class Seen:
    """Rows that keep what they are given."""

    steps = 7

    def __init__(self) -> None:
        self.given: list[Any] = []

    def step(self, *values: Any, **rest: Any) -> bool:
        self.given.append((values, rest))
        return True


def test_vectors_have_digests_of_final_observations_too() -> None:
    rows: Any = Seen()
    pictures = np.stack([PICTURE.sample() for _ in range(2)])
    last = np.array([None, None], object)
    last[1] = PICTURE.sample()
    infos = {"final_obs": last, "other": 1}
    digests = VectorDigests(rows)
    flags = np.zeros(2, bool)
    assert digests.step(np.zeros(2), pictures, np.zeros(2), flags, flags, infos, inside=None)
    values, rest = rows.given[0]
    assert values[1].tolist() == picture_digests(pictures).tolist()
    assert list(values[5]["final_obs"]) == [None, picture_digest(last[1])]
    assert values[5]["other"] == 1 and infos["final_obs"] is last and rest == {"inside": None}
    assert digests.steps == 7


def test_a_recorded_environment_has_a_digest_of_every_picture_it_showed() -> None:
    env = Synthetic(observes_frames=True, frame_size=32, episode_length=4)
    schema = run_schema(env.observation_space, env.action_space, "replay")
    assert schema.digests
    recorder = Recorder(env, schema.of_rows())
    rows = SingleDigests(recorder.rows)
    seen = [env.reset(seed=5)[0]]
    rows.reset(seen[0], {}, 5, None, None)
    for action in (0, 1, 1, 0):
        observation, *rest = env.step(np.int64(action))
        rows.step(np.int64(action), observation, *rest, None)
        seen.append(observation)
    batches = taken(recorder.rows, 1)
    assert sorted(batches) == ["episodes", "steps"]
    assert batches["steps"]["observation_digest"].to_pylist() == picture_digests(seen[:-1]).tolist()
    assert batches["episodes"]["final_observation_digest"].to_pylist() == [int(picture_digest(seen[-1]))]
