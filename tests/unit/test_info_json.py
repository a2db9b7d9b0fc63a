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
from tests.strategies import INFO_KEYS, INFO_VALUES


def bits(value: Any) -> Any:
    """`plain`, and NaN by its sign only: JSON has one NaN."""
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(bits(item) for item in value)
    return "nan" if isinstance(value, float) and value != value else value


@given(st.dictionaries(INFO_KEYS, INFO_VALUES, max_size=4))
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


@given(st.dictionaries(INFO_KEYS, INFO_VALUES, max_size=3))
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
