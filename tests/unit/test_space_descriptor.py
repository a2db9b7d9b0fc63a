"""Descriptors: exact, canonical, small, and the same on every machine."""

import base64
import json
import string
import zlib
from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given

from rolltape.schema.errors import SchemaError, UnsupportedSpace
from rolltape.schema.spaces import canonical_json, describe_space, space_from_descriptor, space_signature
from tests import strategies
from tests.sameness import assert_same_space


@given(strategies.spaces())
def test_a_space_comes_back_from_its_json(space: gym.Space[Any]) -> None:
    descriptor = describe_space(space)
    read = json.loads(canonical_json(descriptor))
    rebuilt = space_from_descriptor(read)
    assert_same_space(rebuilt, space)
    assert describe_space(rebuilt) == descriptor == read
    assert space_signature(rebuilt) == space_signature(space) == space_signature(read)


def test_bits_of_bounds_survive() -> None:
    low = np.array([-0.0, -np.inf, 1e-45, -3.4e38], np.float32)
    box = spaces.Box(low, np.full(4, np.inf, np.float32))
    again = _rebuilt(json.loads(json.dumps(describe_space(box))))
    assert again.low.tobytes() == low.tobytes()
    assert describe_space(box)["low"][:2] == ["-0.0", "-inf"]


@pytest.mark.parametrize("pattern", [0x7FC00000, 0xFFC00000, 0x7FC12345, 0x7F800001])
@pytest.mark.parametrize("shape", [(), (3,), (100,)])
def test_bounds_that_are_nan_survive_with_their_payload(pattern: int, shape: tuple[int, ...]) -> None:
    box = spaces.Box(-1.0, 1.0, shape)
    box.low = np.full(shape, pattern, np.uint32).view(np.float32)
    again = _rebuilt(json.loads(json.dumps(describe_space(box), allow_nan=False)))
    assert again.low.tobytes() == box.low.tobytes()


def test_an_image_is_described_in_one_line() -> None:
    assert describe_space(spaces.Box(0, 255, (210, 160, 3), np.uint8)) == {
        "type": "Box", "dtype": "uint8", "shape": [210, 160, 3], "low": 0, "high": 255,
    }  # fmt: skip


def test_bounds_of_many_numbers_are_packed() -> None:
    low = np.arange(65, dtype=np.float64)
    descriptor = describe_space(spaces.Box(low, low + 1, dtype=np.float64))
    assert set(descriptor["low"]) == {"zlib"}
    assert isinstance(describe_space(spaces.Box(low[:64], low[:64] + 1, dtype=np.float64))["low"], list)


@pytest.mark.parametrize("n", [2**53 - 1, 2**53, 2**63 - 1])
def test_large_integers_are_exact_also_in_a_browser(n: int) -> None:
    space = spaces.Discrete(n, start=-n)
    descriptor = describe_space(space)
    assert descriptor["n"] == (n if n < 2**53 else str(n))
    assert space_from_descriptor(descriptor) == space


def test_infinite_bounds_of_integers_stay_infinite() -> None:
    box = spaces.Box(-np.inf, 7, (2,), np.int64)
    again = _rebuilt(describe_space(box))
    assert not again.bounded_below.any() and again.bounded_above.all()
    assert space_signature(box) != space_signature(spaces.Box(np.iinfo(np.int64).min, 7, (2,), np.int64))


def test_a_dict_keeps_the_order_of_gymnasium() -> None:
    parts = [("b", spaces.Discrete(2)), ("a", spaces.Discrete(3))]
    by_hand = describe_space(spaces.Dict(OrderedDict(parts)))
    assert [key for key, _ in by_hand["spaces"]] == ["b", "a"]
    assert [key for key, _ in describe_space(spaces.Dict(dict(parts)))["spaces"]] == ["a", "b"]
    unsorted = spaces.Dict(dict(parts), sort_keys=False)
    assert describe_space(unsorted) == by_hand | {"sort_keys": False}
    assert space_signature(unsorted) == space_signature(by_hand)


@pytest.mark.parametrize("key", ["x", 3, True, None, 2.5, b"\x00", ("a", (1, None)), 2**70, np.int64(4), np.str_("s")])
def test_keys_of_a_dict_come_back(key: Any) -> None:
    space = spaces.Dict(_ordered(key))
    again = _rebuilt(json.loads(json.dumps(describe_space(space))))
    assert again == space and [type(k) for k in again] == [type(getattr(key, "item", lambda: key)())]


def test_a_key_without_a_json_form_is_refused_by_path() -> None:
    space = spaces.Dict(OrderedDict([("in", spaces.Dict(_ordered(frozenset("a"))))]))
    with pytest.raises(UnsupportedSpace, match=r"value\['in'\] is a Dict with the key frozenset"):
        describe_space(space)


def test_a_foreign_space_is_refused_by_path_and_told_what_to_do() -> None:
    space = spaces.Tuple([spaces.Discrete(2), spaces.Sequence(_Foreign())])
    with pytest.raises(UnsupportedSpace, match=r"value\[1\]\[…\] is a .*_Foreign.*substitute_space"):
        describe_space(space)
    with pytest.raises(UnsupportedSpace, match=r"expected a gymnasium\.Space, found 3"):
        describe_space(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "broken",
    [
        {}, [], {"type": "Cube"}, {"type": "Discrete", "dtype": "int64", "n": 3},
        {"type": "Box", "dtype": "object", "shape": [1], "low": 0, "high": 1},
        {"type": "Box", "dtype": "float32", "shape": [2], "low": [0], "high": 1},
        {"type": "Box", "dtype": "float32", "shape": [2], "low": "high", "high": 1},
        {"type": "Box", "dtype": "uint8", "shape": [2], "low": 0, "high": 300},
        {"type": "Box", "dtype": "uint8", "shape": [2], "low": {"zlib": "eJw="}, "high": 3},
        {"type": "Box", "dtype": "uint8", "shape": [2], "low": {"zlib": "eJxjYGAAAAADAAE="}, "high": 3},
        {"type": "Dict", "spaces": [[{"set": []}, {"type": "Discrete", "dtype": "int64", "n": 3, "start": 0}]]},
    ],
)  # fmt: skip
def test_what_is_no_descriptor_is_refused(broken: Any) -> None:
    with pytest.raises(SchemaError):
        space_from_descriptor(broken)


def test_the_signature_does_not_depend_on_the_order_of_a_set_or_on_zlib() -> None:
    letters = spaces.Text(4, charset=frozenset(string.ascii_letters))
    shuffled = spaces.Text(4, charset=string.ascii_letters[::-1])
    assert space_signature(letters) == space_signature(shuffled)
    descriptor = describe_space(spaces.Box(np.zeros(99), np.arange(99.0), dtype=np.float64))
    other_zlib = descriptor | {"high": {"zlib": _repacked(descriptor["high"]["zlib"])}}
    assert other_zlib != descriptor and space_signature(other_zlib) == space_signature(descriptor)
    assert space_from_descriptor(other_zlib) == space_from_descriptor(descriptor)


def _ordered(key: Any) -> Any:
    return OrderedDict([(key, spaces.Discrete(2))])


def _rebuilt(descriptor: Any) -> Any:
    return space_from_descriptor(descriptor)


def _repacked(text: str) -> str:
    return base64.b64encode(zlib.compress(zlib.decompress(base64.b64decode(text)), 1)).decode()


class _Foreign(gym.Space[Any]):
    """A space that Gymnasium does not know and that declares nothing."""
