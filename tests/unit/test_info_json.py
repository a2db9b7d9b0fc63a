"""Infos as JSON come back as they were: what JSON has no word for, and what looks like our own words for it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.schema.info_json import decode_info, encode_info, encode_value, join_info
from tests.recorded import plain
from tests.sameness import assert_same

KEYS = st.one_of(st.text(), st.sampled_from(["$float", "$array", "$bytes", "$tuple", "$dict", "$repr", "$", ""]))
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(exclude_categories=())),
        st.binary(max_size=4),
        st.builds(np.float32, st.floats(width=32, allow_nan=False)),
        st.builds(lambda n, shape: np.full(shape, n, ">i2"), st.integers(0, 9), st.sampled_from([(), (0, 2), (2, 1)])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)


def bits(value: Any) -> Any:
    """`plain`, and NaN by its sign only: JSON has one NaN."""
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(bits(item) for item in value)
    return "nan" if isinstance(value, float) and value != value else value


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_comes_back(info: dict[str, Any]) -> None:
    text = encode_info(info)
    assert pa.array([text], pa.string())[0].as_py() == text
    json.loads(text)
    found = decode_info(text)
    # An array without axes comes back as one, though infos count it as a number.
    assert_same(plain(bits(plain(found))), plain(bits(plain(info))))


def test_other_objects_are_named() -> None:
    found = decode_info(encode_info({"x": 1 + 2j, 3: {"y": object}}))
    assert found == {"x": {"$repr": "(1+2j)"}, "3": {"y": {"$repr": "<class 'object'>"}}}


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_joined_from_its_values(info: dict[str, Any]) -> None:
    info = {key: info[key] for key in sorted(info)}
    text = join_info({key: encode_value(value) for key, value in info.items()})
    assert json.loads(text) == json.loads(encode_info(info))
    assert text.encode()


def test_what_holds_itself_is_named_not_followed() -> None:
    info: dict[str, Any] = {"a": 1}
    info["self"] = info
    assert decode_info(encode_info(info))["a"] == 1


@pytest.mark.parametrize("value", [np.longdouble(1) / 3, np.datetime64("2020-01-01"), {1, 2}, np.float16])
def test_odd_values_are_text(value: Any) -> None:
    assert isinstance(encode_info({"x": value}), str)
