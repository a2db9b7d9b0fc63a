"""Observations that are kept for some steps: only of environments that do not write to them again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rolltape.actors.exact_bytes import matching
from rolltape.actors.kept_values import TRIAL_STEPS, KeptValues, RecordedBlocks
from rolltape.schema.space_codec import SpaceCodec

BOX = SpaceCodec(spaces.Box(-np.inf, np.inf, (3,), np.float32))
GRID = SpaceCodec(spaces.Box(0, 255, (2, 2), np.uint8))


def rows(n: int, first: int = 0) -> list[np.ndarray]:
    return [np.full(3, first + i, np.float32) for i in range(n)]


def tried(kept: KeptValues, values: list[Any], codec: SpaceCodec = BOX) -> None:
    same = matching(codec)
    look = kept.trying(same)
    for value in values:
        assert look(value.tobytes(), value)
    kept.judge(same)


def test_an_environment_is_trusted_after_its_trial() -> None:
    kept = KeptValues(BOX)
    assert kept.possible and not kept.trusted
    tried(kept, rows(TRIAL_STEPS - 1))
    assert not kept.trusted
    tried(kept, rows(1))
    assert kept.trusted
    same = matching(BOX)
    assert kept.trying(same) is same, "after the trial nothing is kept for it"


def test_one_that_changes_what_it_returned_is_never_trusted() -> None:
    kept, same = KeptValues(BOX), matching(BOX)
    values = rows(TRIAL_STEPS)
    look = kept.trying(same)
    for value in values:
        assert look(value.tobytes(), value)
    values[7][0] = 99
    kept.judge(same)
    assert not kept.possible and not kept.trusted


def test_one_that_returns_its_buffer_is_never_trusted() -> None:
    buffer = np.zeros(3, np.float32)
    for values in ([buffer] * TRIAL_STEPS, [buffer[:] for _ in range(TRIAL_STEPS)]):
        kept = KeptValues(BOX)
        tried(kept, values)
        assert not kept.possible


@pytest.mark.parametrize(
    "other",
    [
        np.zeros(3, np.float64),
        np.zeros(2, np.float32),
        np.zeros((3, 1), np.float32),
        np.zeros(3, ">f4"),
        [0.0, 0.0, 0.0],
        np.float32(0),
        0.0,
        np.zeros(6, np.float32)[::2],
    ],
)
def test_another_value_is_not_taken_for_one_of_the_space(other: Any) -> None:
    kept = KeptValues(BOX)
    assert kept.together([*rows(2), other]) is None
    assert kept.together([other, other]) is None


def test_arrays_of_any_order_come_in_one() -> None:
    values = [np.asfortranarray(np.arange(4, dtype=np.uint8).reshape(2, 2) + i) for i in range(3)]
    whole = KeptValues(GRID).together(values)
    assert whole is not None
    assert np.array_equal(whole, np.stack(values))
    assert KeptValues(GRID).together([np.zeros((2, 3), np.uint8)] * 1) is None


def test_numbers_come_in_one() -> None:
    kept = KeptValues(SpaceCodec(spaces.Discrete(5)))
    whole = kept.together([1, np.int64(2), 3])
    assert whole is not None and whole.dtype == np.int64 and whole.tolist() == [1, 2, 3]
    assert kept.together([True, 1]) is None and kept.together([1.0]) is None and kept.together([1 << 70]) is None


@pytest.mark.parametrize(
    "space",
    [spaces.Dict({"a": spaces.Discrete(2)}), spaces.Text(3), spaces.Box(0, 1, (100, 100, 3), np.float32)],
)
def test_what_is_large_or_of_parts_is_not_kept(space: Any) -> None:
    assert not KeptValues(SpaceCodec(space)).possible


def test_blocks_are_compared_across_episodes() -> None:
    befores = np.stack(rows(6))
    finals = np.stack(rows(4, 100))
    edges = np.array([0, 2, 2, 5, 6])  # the second episode has no step
    blocks = RecordedBlocks(befores, finals, None, edges)
    afters = np.stack([befores[1], finals[0], befores[3], befores[4], finals[2], finals[3]])
    assert blocks.are(0, afters) and blocks.are(2, afters[2:4]) and blocks.are(5, afters[5:])
    for row in range(6):
        other = afters.copy()
        other[row, 1] = -other[row, 1] if other[row, 1] else -0.0
        assert not blocks.are(0, other), row
    assert blocks.before(0, 0) == befores[0].tobytes() and blocks.before(2, 3) == befores[3].tobytes()


def test_a_last_observation_that_is_not_known_may_be_anything() -> None:
    befores, finals = np.stack(rows(4)), np.stack(rows(2, 100))
    edges = np.array([0, 2, 4])
    afters = np.stack([befores[1], np.full(3, 7, np.float32), befores[3], finals[1]])
    assert RecordedBlocks(befores, finals, np.array([False, True]), edges).are(0, afters)
    assert not RecordedBlocks(befores, finals, np.array([True, True]), edges).are(0, afters)
    assert RecordedBlocks(befores, None, None, edges).are(0, afters)
