"""What a replay is compared with, without an environment."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from rolltape.actors.differences import magnitude
from rolltape.actors.recorded_steps import RecordedSteps
from rolltape.schema.picture_digest import picture_digest


def test_a_black_picture_at_the_end_is_compared_too() -> None:
    """Its digest is 0, which was taken for a digest that is not known."""
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert picture_digest(black) == 0
    recorded = RecordedSteps.__new__(RecordedSteps)
    recorded.rows = [{"length": 7}, {"length": 9}]
    recorded._finals = pa.chunked_array([pa.array([0, None], pa.uint64())])
    assert list(recorded._last_digests([(0, black), (1, white)])) == []
    ((place, _, found),) = recorded._last_digests([(0, white)])
    assert (place, found.t, found.field) == (0, 7, "observation")


@pytest.mark.parametrize("pair", [(10**400, 1), (1, -(10**400)), ("a", 1), (None, None), (True, False), ([], [])])
def test_what_has_no_difference_in_numbers_has_no_magnitude(pair: tuple[object, object]) -> None:
    """A whole number beyond floats ended the replay."""
    assert magnitude(*pair) is None


def test_the_largest_difference_is_the_magnitude() -> None:
    assert magnitude([1, 2], np.array([1.5, -1])) == 3
