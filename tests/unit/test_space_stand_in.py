"""Spaces that are not Gymnasium's own."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gs

from rolltape.schema.spaces import SpaceCodec, describe_space, space_from_descriptor, space_signature, substitute_space
from tests.sameness import assert_same


class Sentences(gym.Space[str]):
    """As MiniGrid has them for its missions."""

    def __init__(self) -> None:
        super().__init__(dtype=str)  # type: ignore[arg-type]


class Unit(gym.Space[np.ndarray]):
    """Arrays of a declared dtype and shape."""

    def __init__(self, dtype: Any) -> None:
        super().__init__((2,), dtype)


def test_a_space_that_declares_strings_is_text() -> None:
    space = gs.Dict({"mission": Sentences(), "image": gs.Box(0, 9, (2,), np.uint8)}, sort_keys=False)
    value = {"mission": "go to the red door\n", "image": np.zeros(2, np.uint8)}
    codec = SpaceCodec(space)
    assert_same(codec.decode(codec.encode([value])), [value])
    described = codec.descriptor["spaces"][0][1]
    assert described["stands_for"].endswith(".Sentences")
    rebuilt = space_from_descriptor(described)
    assert value["mission"] in rebuilt and space_signature(rebuilt) == space_signature(Sentences())


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint64, bool])
def test_a_space_that_declares_an_array_is_a_box(dtype: Any) -> None:
    value = np.ones(2, dtype)
    codec = SpaceCodec(Unit(dtype))
    assert codec.is_fixed and codec.split(value)[0] is value
    assert value in space_from_descriptor(codec.descriptor)


def test_a_substitute_is_taken_for_subclasses_too() -> None:
    class Family(Sentences):
        """A class of one's own."""

    class Child(Family):
        """A subclass of it."""

    substitute_space(Family, lambda space: gs.Text(7))
    assert describe_space(Child())["max_length"] == 7
    assert describe_space(Sentences())["max_length"] > 7


def test_a_subclass_of_a_space_of_gymnasium_is_that_space() -> None:
    class Picture(gs.Box):
        """A Box with a name."""

    assert describe_space(Picture(0, 255, (2,), np.uint8)) == describe_space(gs.Box(0, 255, (2,), np.uint8))


def test_minigrid_is_recorded() -> None:
    pytest.importorskip("minigrid")
    env = gym.make("MiniGrid-Empty-5x5-v0")
    codec = SpaceCodec(env.observation_space)
    observation, _ = env.reset(seed=1)
    (found,) = codec.decode(codec.encode([observation]))
    assert found["mission"] == observation["mission"] and found["image"].tobytes() == observation["image"].tobytes()
    env.close()
