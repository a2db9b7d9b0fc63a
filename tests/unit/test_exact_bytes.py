"""Observations are compared by their bytes, one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces

from rolltape.actors.exact_bytes import ColumnBytes, column_bytes, matching, same_signs
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.space_codec import SpaceCodec

SPACES = {
    "box": spaces.Box(-np.inf, np.inf, (2, 3), np.float32),
    "number": spaces.Box(-1.0, 1.0, (), np.float64),
    "discrete": spaces.Discrete(4, start=-2),
    "bits": spaces.MultiBinary(5),
    "dict": spaces.Dict(
        {"b": spaces.Box(0, 255, (3,), np.uint8), "a": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2)))}
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_value_matches_itself_and_no_other(name: str) -> None:
    space = SPACES[name]
    space.seed(7)
    codec = SpaceCodec(space)
    values = [space.sample() for _ in range(40)]
    rows = column_bytes(codec, codec.encode(values))
    same = matching(codec)
    assert all(same(row, value) for row, value in zip(rows, values, strict=True))
    told = [[same(row, value) for value in values] for row in rows]
    assert told == [[repr(a) == repr(b) for b in values] for a in values]


def test_bits_count_and_not_what_they_mean() -> None:
    codec = SpaceCodec(spaces.Box(-np.inf, np.inf, (2,), np.float32))
    same = matching(codec)
    (zero, nan) = column_bytes(codec, codec.encode([np.float32([0, 1]), np.float32([np.nan, 1])]))
    assert same(zero, np.float32([0, 1])) and not same(zero, np.float32([-0.0, 1]))
    assert same(nan, np.float32([np.nan, 1]))
    other = np.uint32([0x7FC00001, 0x3F800000]).view(np.float32)
    assert np.isnan(other[0]) and not same(nan, other)
    with pytest.raises(SchemaMismatch):
        same(zero, np.float32([0, 1, 2]))
    with pytest.raises(SchemaMismatch):
        same(zero, np.array([[0, 1]], np.float32))


def test_plain_numbers_are_taken() -> None:
    codec = SpaceCodec(SPACES["discrete"])
    (row,) = column_bytes(codec, codec.encode([np.int64(-1)]))
    same = matching(codec)
    assert same(row, -1) and same(row, np.int64(-1)) and same(row, np.int32(-1)) and not same(row, 0)


def test_rows_of_a_column_come_in_any_order() -> None:
    codec = SpaceCodec(SPACES["box"])
    values = np.arange(6 * 9000, dtype=np.float32).reshape(-1, 2, 3)
    column = pa.chunked_array([codec.from_leaves([values[:5000]]), codec.from_leaves([values[5000:]])])
    rows = ColumnBytes(codec, column)
    for start, stop in ((0, 3), (4990, 5010), (0, 9000), (8999, 9000), (20, 20), (4095, 4097)):
        assert rows.of(start, stop) == [value.tobytes() for value in values[start:stop]]


@pytest.mark.parametrize(
    ("kind", "a", "b"),
    [
        (pa.float64(), [0.0, None, 1.0], [-0.0, None, 1.0]),
        (pa.list_(pa.float32()), [[1.0], [0.0]], [[1.0], [-0.0]]),
        (pa.struct({"x": pa.int8(), "y": pa.float32()}), [{"x": 1, "y": 0.0}], [{"x": 1, "y": -0.0}]),
    ],
)
def test_a_negative_zero_is_another_one(kind: Any, a: list[Any], b: list[Any]) -> None:
    one, other = pa.array(a, kind), pa.array(b, kind)
    assert one.equals(other)
    assert same_signs(one, pa.array(a, kind)) and not same_signs(one, other)
    assert same_signs(one.slice(len(a)), other.slice(len(a)))
