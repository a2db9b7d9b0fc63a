"""Values of any space through Arrow and Parquet and back, bit for bit, one by one and in batches."""

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces as gs
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given, settings
from hypothesis import strategies as st

from rolltape.schema.errors import SchemaMismatch, UnsupportedSpace
from rolltape.schema.spaces import SpaceCodec
from tests import strategies
from tests.parquet_memory import through_parquet
from tests.sameness import assert_same
from tests.space_catalogue import BOOL, CATALOGUE

ROWS = st.integers(0, 4)
SAMPLED = [name for name in CATALOGUE if name != "box_long_double"]  # Gymnasium cannot sample long doubles


def _round_trip(space: gym.Space[Any], values: list[Any]) -> None:
    """Encode, decode; and the same through Parquet and from a slice."""
    codec = SpaceCodec(space)
    column = codec.encode(values)
    column.validate(full=True)
    assert column.type == codec.arrow_type and len(column) == len(values)
    assert_same(codec.decode(column), values)
    assert_same(codec.decode(column.slice(1)), values[1:])
    field, stored = through_parquet(codec.field("x"), column)
    assert field.type == codec.arrow_type
    assert field.metadata[b"rolltape.signature"].decode() == codec.signature
    assert_same(codec.decode(stored), values)


@st.composite
def _space_and_values(draw: st.DrawFn) -> tuple[gym.Space[Any], list[Any]]:
    space = draw(strategies.spaces())
    return space, draw(st.lists(st.none() | strategies.values(space), max_size=4))


@st.composite
def _space_and_batch(draw: st.DrawFn, fixed: bool) -> tuple[gym.Space[Any], Any, int]:
    space = draw(strategies.fixed_spaces() if fixed else strategies.spaces())
    n = draw(ROWS)
    return space, draw(strategies.batches(space, n)), n


@given(_space_and_values())
def test_values_come_back(example: tuple[gym.Space[Any], list[Any]]) -> None:
    _round_trip(*example)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=10_000)
@given(_space_and_values())
def test_ten_thousand_values_come_back(example: tuple[gym.Space[Any], list[Any]]) -> None:
    _round_trip(*example)


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_come_back(name: str) -> None:
    space = CATALOGUE[name]
    space.seed(0)
    codec = SpaceCodec(space)
    values = [space.sample() for _ in range(5)]
    for value in values:
        codec.check(value)
    found = codec.decode(through_parquet(codec.field("x"), codec.encode([None, *values]))[1])
    assert found[0] is None
    for value, again in zip(values, found[1:], strict=True):
        if isinstance(space, gs.Box) and space.shape == ():
            value = np.asarray(value)
        assert_same(again, value)
        assert space.contains(again) == space.contains(value)


def _check_batch(space: gym.Space[Any], batch: Any, n: int) -> None:
    codec = SpaceCodec(space)
    column = codec.encode_batch(batch, n)
    column.validate(full=True)
    values = codec.decode(column)
    assert len(values) == n
    assert_same(codec.decode(codec.encode(values)), values)
    if n:
        # As Gymnasium's vector environments make a batch of values.
        assert_same(concatenate(space, values, create_empty_array(space, n)), batch)
    if codec.is_fixed:
        leaves = codec.split_batch(batch, n)
        assert [(leaf.dtype, (n, *leaf.shape)) for leaf in codec.leaves] == [(a.dtype, a.shape) for a in leaves]
        assert_same(codec.decode(codec.from_leaves(leaves)), values)
        assert_same(codec.decode_batch(column), batch)
        assert_same(codec.decode_batch(through_parquet(codec.field("x"), column)[1]), batch)
        tail = codec.split_batch(codec.decode_batch(column.slice(1)), max(n - 1, 0))
        assert_same(tail, [leaf[1:] for leaf in leaves])


@given(_space_and_batch(fixed=True))
def test_batches_of_arrays_come_back(example: tuple[gym.Space[Any], Any, int]) -> None:
    _check_batch(*example)


@given(_space_and_batch(fixed=False))
def test_batches_of_any_space_come_back(example: tuple[gym.Space[Any], Any, int]) -> None:
    _check_batch(*example)


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_of_a_batched_space_are_taken(name: str) -> None:
    """What `VectorEnv.action_space.sample()` and Gymnasium's own `iterate` give."""
    space = CATALOGUE[name]
    batched = batch_space(space, 3)
    batched.seed(0)
    sample = batched.sample()
    codec = SpaceCodec(space)
    values = codec.decode(codec.encode_batch(sample, 3))
    assert len(values) == 3
    if len(sample):  # Gymnasium cannot iterate over a batch of empty Dicts or Tuples
        for found, expected in zip(values, iterate(batched, sample), strict=True):
            assert_same(codec.decode(codec.encode([expected])), [found])


@given(st.data())
def test_the_leaves_are_the_value_itself(data: st.DataObject) -> None:
    space = data.draw(strategies.fixed_spaces())
    codec = SpaceCodec(space)
    value = data.draw(strategies.values(space))
    if not codec.is_fixed:
        with pytest.raises(UnsupportedSpace):
            codec.split(value)
        return
    leaves = codec.split(value)
    assert [(leaf.dtype, leaf.shape) for leaf in codec.leaves] == [(a.dtype, a.shape) for a in leaves]
    for leaf, array in zip(codec.leaves, leaves, strict=True):
        inner = value
        for key in leaf.path:
            inner = inner[key]
        assert array is inner or (isinstance(inner, np.generic) and array[()].tobytes() == inner.tobytes())
    rows = [np.stack([array, array]) for array in leaves]
    column = codec.from_leaves(rows, np.array([True, False]))
    assert_same(codec.decode(column), [value, None])
    assert_same(codec.decode(through_parquet(codec.field("x"), column)[1]), [value, None])
    zeros = codec.decode_batch(codec.from_leaves(rows, np.array([False, False])))
    assert not any(array.any() for array in codec.split_batch(zeros, 2))


def test_arrays_are_shared_on_the_way_in_and_out() -> None:
    shared: list[Any] = [gs.Box(-1, 1, (4,)), gs.Box(0, 255, (84, 84), np.uint8), gs.Discrete(3), gs.MultiBinary(9)]
    for space in shared:
        codec = SpaceCodec(space)
        rows = np.zeros((5, *space.shape), space.dtype)
        (leaf,) = codec.split_batch(rows, 5)
        assert leaf is rows
        column = codec.from_leaves([leaf])
        assert np.shares_memory(codec.decode_batch(column), rows)
        assert not codec.decode_batch(column).flags.writeable
        first = codec.decode(column)[0]
        assert not np.shares_memory(first, rows)
        if space.shape:
            assert first.flags.writeable and codec.split(first)[0] is first


def test_the_order_of_leaves_is_that_of_the_space() -> None:
    codec = SpaceCodec(gs.Dict({"b": gs.Tuple([gs.Discrete(2), gs.Box(0, 1, (3,))]), "a": gs.MultiBinary(2)}))
    assert [leaf.path for leaf in codec.leaves] == [("a",), ("b", 0), ("b", 1)]
    assert [leaf.dtype for leaf in codec.leaves] == [np.int8, np.int64, np.float32]


@pytest.mark.parametrize(
    ("space", "value", "stored"),
    [
        (gs.Discrete(3), 2, 2),
        (gs.Discrete(3), True, 1),
        (gs.Discrete(3), np.array(2, np.uint8), 2),
        (gs.Discrete(3), 2.0, 2),
        (gs.Discrete(2**63, start=1, dtype=np.uint64), 2**64 - 1, 2**64 - 1),
        (gs.Box(-1, 1, (2,)), [0.5, -1], [0.5, -1.0]),
        (gs.Box(-1, 1, (2,)), np.array([0.5, np.nan]), [0.5, np.nan]),
        (gs.Box(-1, 1, (2,)), np.array([np.inf, 2.0**-149]), [np.inf, 2.0**-149]),
        (gs.Box(0, 255, (2,), np.uint8), np.array([0, 255]), [0, 255]),
        (gs.Box(0, 9, (2,), np.uint64), [2**63, 1], [2**63, 1]),
        (gs.Box(0, 9, (2,), np.int64), np.array([3.0, -4.0]), [3, -4]),
        (gs.Box(0, 1, (2,), BOOL), [0, 1.0], [False, True]),
        (gs.Box(0, 1, (2,), np.float64), [2**53, 1], [2.0**53, 1.0]),
        (gs.MultiBinary(2), [True, False], [1, 0]),
        (gs.MultiDiscrete([3, 3]), (1, 2), [1, 2]),
    ],
)  # fmt: skip
def test_what_environments_return_is_converted_when_nothing_is_lost(space: Any, value: Any, stored: Any) -> None:
    codec = SpaceCodec(space)
    expected = np.array(stored, space.dtype)
    (leaf,) = codec.split(value)
    assert_same(leaf, expected)
    assert_same(np.asarray(codec.decode(codec.encode([value, value]))[1]), expected)


@pytest.mark.parametrize(
    ("space", "value", "message"),
    [
        (gs.Box(-1, 1, (2,)), np.array([0.5, 0.1]), r"value: expected float32\[2\], found float64\[2\] with 0.1,"),
        (gs.Box(-1, 1, (2,)), np.array([0.5, 1e300]), "with 1e\\+300"),
        (gs.Box(-1, 1, (2,)), [1, 2, 3], r"found int64\[3\]"),
        (gs.Box(-1, 1, (2,)), 0.5, r"found float64\[\]"),
        (gs.Box(-1, 1, ()), np.array([0.5], np.float32), r"float32\[\], found float32\[1\]"),
        (gs.Box(-1, 1, (2,)), [[1], [1, 2]], "found a list"),
        (gs.Box(-1, 1, (2,)), "ab", "found a str: 'ab'"),
        (gs.Box(-1, 1, (1,)), np.array([1j]), "found a ndarray"),
        (gs.Box(0, 255, (1,), np.uint8), np.array([256]), "with 256, which uint8"),
        (gs.Box(0, 255, (1,), np.uint8), np.array([-1.0]), "with -1.0, which uint8"),
        (gs.Box(0, 255, (1,), np.int64), np.array([2.0**63]), "which int64"),
        (gs.Box(0, 255, (1,), np.int64), np.array([-np.inf], np.float16), "with -inf, which int64"),
        (gs.Box(0, 255, (1,), np.int64), np.array([np.nan]), "with nan, which int64"),
        (gs.Box(0, 255, (1,), np.int64), np.array([2**63], np.uint64), "which int64"),
        (gs.Box(0, 255, (1,), np.uint64), np.array([-1]), "with -1, which uint64"),
        (gs.Box(0, 1, (1,), np.float64), np.array([2**53 + 1]), "which float64"),
        (gs.Box(0, 1, (1,), np.float64), np.array([2**63 - 1]), "which float64"),
        (gs.Box(0, 1, (1,), np.float16), np.array([70000]), "with 70000, which float16"),
        (gs.Box(0, 1, (2,), np.float64), [2**53 + 1, 0.5], "found a list"),
        (gs.Box(0, 1, (2,), np.uint64), [2**63, -1], "found a list"),
        (gs.Box(0, 1, (1,), BOOL), [2], "with 2, which bool"),
        (gs.Discrete(3), np.array([1]), r"int64\[\], found int64\[1\]"),
        (gs.Discrete(3), 2**70, "found a int"),
        (gs.Discrete(3, dtype=np.int8), 200, "with 200, which int8"),
        (gs.Dict(a=gs.Discrete(2), b=gs.Discrete(2)), {"a": 1, "c": 1}, "found no 'b' and an unknown 'c'"),
        (gs.Dict(a=gs.Discrete(2)), [1], "expected a dict with 'a', found a list"),
        (gs.Dict(a=gs.Tuple([gs.Discrete(2)])), {"a": (0.5,)}, r"value\['a'\]\[0\]: expected int64\[\]"),
        (gs.Tuple([gs.Discrete(2)]), (1, 2), "expected a tuple of 1, found a tuple of 2"),
        (gs.Tuple([gs.Discrete(2)]), 1, "expected a tuple of 1, found a int"),
        (gs.Text(3), b"abc", "expected a str, found a bytes"),
        (gs.Text(3), "\ud800", "expected a str that UTF-8 can write"),
        (gs.Sequence(gs.Text(3)), "abc", "expected a tuple of any length, found a str"),
        (gs.Sequence(gs.Box(0, 1, (2,))), ([0.1, 1],), r"value\[…\]: expected float32\[2\]"),
        (gs.Sequence(gs.Box(0, 1, (2,)), stack=True), 3, r"value\[…\]: expected a batch, found a int"),
        (gs.Sequence(gs.Box(0, 1, (2,)), stack=True), np.zeros((3, 1), np.float32), r"expected float32\[3, 2\]"),
        (gs.Graph(gs.Discrete(2), None), [1, 2], "expected a GraphInstance"),
        (gs.Graph(gs.Discrete(2), None), (None, None, None), "found nodes=None"),
        (gs.Graph(gs.Discrete(2), None), (np.zeros(1, int), np.zeros(1, int), None), "no edge space"),
        (gs.Graph(gs.Discrete(2), None), (np.zeros(1, int), None, np.zeros((2, 3), int)), r"int64\[2, 2\]"),
        (gs.Graph(gs.Discrete(2), None), (np.zeros(1, int), None, np.zeros((1, 2))), "edge_links of integers"),
        (gs.Graph(gs.Box(0, 1, (1,)), None), ([[0.1]], None, None), r"value\['nodes'\]\[…\]: expected"),
        (gs.OneOf([gs.Discrete(2)]), (1, 0), "expected an index from 0 to 0, found 1"),
        (gs.OneOf([gs.Discrete(2)]), (0.0, 0), "expected an index"),
        (gs.OneOf([gs.Discrete(2)]), (), r"expected a tuple \(index, value\)"),
        (gs.OneOf([gs.Text(2), gs.Discrete(2)]), (1, "a"), r"value\[1\]: expected int64"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_path(space: Any, value: Any, message: str) -> None:
    codec = SpaceCodec(space)
    with pytest.raises(SchemaMismatch, match=message):
        codec.check(value)
    with pytest.raises(SchemaMismatch, match=message):
        codec.encode([None, value])


@pytest.mark.parametrize(
    ("space", "batch"),
    [
        (gs.Discrete(3), [1, 2]),
        (gs.Discrete(3), (np.int64(1), 2)),
        (gs.Box(-1, 1, (2,)), [np.zeros(2, np.float32), np.ones(2, np.float32)]),
        (gs.Dict(a=gs.Discrete(3)), ({"a": 1}, {"a": 2})),
        (gs.Dict(a=gs.Discrete(3), t=gs.Text(2)), [{"a": 1, "t": "x"}, {"a": 2, "t": "y"}]),
        (gs.Dict(a=gs.Discrete(3), t=gs.Text(2)), {"t": np.array(["x", "y"]), "a": [1, 2]}),
        (gs.Tuple([gs.Discrete(3), gs.Discrete(3), gs.Discrete(9)]), ((1, 2, 3), (4, 5, 6))),
        (gs.Tuple([gs.Discrete(3), gs.Discrete(3)]), ((1, 2), (3, 4))),
        (gs.Tuple([gs.Discrete(3), gs.Text(3)]), ((1, "a"), (3, "b"))),
    ],
)  # fmt: skip
def test_a_batch_may_also_be_a_sequence_of_values(space: gym.Space[Any], batch: Any) -> None:
    codec = SpaceCodec(space)
    as_objects = batch
    if not isinstance(batch, dict):
        as_objects = np.empty(2, object)
        as_objects[:] = batch if isinstance(space, gs.Discrete) else list(batch)
    expected = codec.encode([{"a": 1, "t": "x"}, {"a": 2, "t": "y"}] if isinstance(batch, dict) else list(batch))
    assert codec.encode_batch(batch, 2).equals(expected)
    assert codec.encode_batch(as_objects, 2).equals(expected)
    with pytest.raises(SchemaMismatch):
        codec.encode_batch(batch, 3)


def test_a_tuple_that_could_be_either_is_read_as_gymnasium_gives_it() -> None:
    codec = SpaceCodec(gs.Tuple([gs.Text(2), gs.Text(2)]))
    assert codec.decode(codec.encode_batch((("a", "b"), ("c", "d")), 2)) == [("a", "c"), ("b", "d")]


def test_leaves_of_another_form_are_refused() -> None:
    codec = SpaceCodec(gs.Tuple([gs.Discrete(2), gs.Box(0, 1, (2,))]))
    with pytest.raises(SchemaMismatch, match="Expected 2 leaf arrays, found 1"):
        codec.from_leaves([np.zeros(3, np.int64)])
    with pytest.raises(
        SchemaMismatch, match=r"value\[1\]: expected float32\[3, 2\] as its leaf, found float32\[4, 2\]"
    ):
        codec.from_leaves([np.zeros(3, np.int64), np.zeros((4, 2), np.float32)])


def test_a_column_of_another_space_is_refused() -> None:
    codec = SpaceCodec(gs.Box(0, 1, (2,)))
    with pytest.raises(SchemaMismatch, match="Expected a column of fixed_size_list"):
        codec.decode(pa.array(["a"]))
    image = SpaceCodec(gs.Box(0, 255, (70, 70), np.uint8))
    with pytest.raises(SchemaMismatch, match=r"Row 1 of the column holds 3 bytes; uint8\[70, 70\] needs 4900"):
        image.decode(pa.array([bytes(4900), b"abc"]))


def test_more_than_two_gigabytes_of_pictures_are_refused_not_wrapped() -> None:
    codec = SpaceCodec(gs.Box(0, 255, (5000,), np.uint8))
    rows = np.broadcast_to(np.zeros((1, 5000), np.uint8), (430_000, 5000))
    with pytest.raises(SchemaMismatch, match="Encode fewer rows at a time"):
        codec.from_leaves([rows])


def test_metadata_says_how_a_column_lies_and_what_it_is() -> None:
    codec = SpaceCodec(CATALOGUE["dict_keys"])
    field = codec.field("observation")
    assert b'"Dict"' in field.metadata[b"rolltape.space"]
    assert [f.name for f in field.type] == ["a", "A", "1_", "1", "a.b\\0"]
    image = SpaceCodec(CATALOGUE["tuple"]).field("x").type.field(1)
    assert image.metadata == {
        b"rolltape.shape": b"[70, 70]",
        b"rolltape.dtype": b"uint8",
        b"rolltape.storage": b"raw bytes, C order, little-endian",
    }
    large = SpaceCodec(gs.Text(3, charset="".join(map(chr, range(256, 3000))))).field("x")
    assert set(large.metadata) == {b"rolltape.signature"}


def test_a_codec_can_be_sent() -> None:
    codec = SpaceCodec(CATALOGUE["nested"])
    again = pickle.loads(pickle.dumps(codec))
    assert again.signature == codec.signature and again.arrow_type == codec.arrow_type
