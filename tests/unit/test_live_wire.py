"""The wire of version 1, by bytes that other languages read too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.dashboards import wire
from rolltape.dashboards.wire import Record, WireError

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "live_wire_v1.json").read_text())


def record_of(case: dict[str, Any]) -> Record:
    names = ("kind", "codec", "stream", "seq", "time", "width", "height")
    return Record(*(case[name] for name in names), bytes.fromhex(case["payload"]))


def test_the_version() -> None:
    assert (GOLDEN["protocol"], GOLDEN["header"], GOLDEN["header_bytes"]) == (
        wire.PROTOCOL,
        wire.HEADER.format,
        wire.HEADER.size,
    )


@pytest.mark.parametrize("case", GOLDEN["binary"], ids=lambda case: case["name"])
def test_golden_bytes(case: dict[str, Any]) -> None:
    records = [record_of(found) for found in case["records"]]
    assert b"".join(map(wire.pack, records)).hex() == case["hex"]
    known = [found for found in records if found.kind in wire.KINDS]
    assert list(wire.unpack(bytes.fromhex(case["hex"]))) == known


@pytest.mark.parametrize("case", GOLDEN["refused_binary"], ids=lambda case: case["name"])
def test_what_is_cut_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        list(wire.unpack(bytes.fromhex(case["hex"])))


@pytest.mark.parametrize("said", GOLDEN["text"]["viewer"])
def test_what_a_viewer_says(said: dict[str, Any]) -> None:
    message = wire.heard(json.dumps(said))
    back = {name: list(value) if isinstance(value, tuple) else value for name, value in message.wish.items()}
    if message.rendered:
        back["rendered"] = [list(pair) for pair in message.rendered]
    back |= {name: value for name in ("mosaics", "hidden") if (value := getattr(message, name)) is not None}
    assert back == said
    wire.Wish(**message.wish)


@pytest.mark.parametrize("said", GOLDEN["text"]["refused"], ids=str)
def test_what_no_viewer_says(said: Any) -> None:
    with pytest.raises(WireError):
        wire.heard(json.dumps(said))


@pytest.mark.parametrize("raw", ["", "{", "[" * 100_000, b"{}", '{"hz": NaN}', " " * (wire.MOST_TEXT + 1)])
def test_what_is_no_message(raw: str | bytes) -> None:
    with pytest.raises(WireError):
        wire.heard(raw)


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(WireError, match=r"depth: expected a whole number from 2 to 16, got 99"):
        wire.heard('{"depth": 99}')


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["sub", "hz", "rendered", "size"]), x),
    )
)
def test_nothing_but_a_refusal_comes_of_nonsense(said: Any) -> None:
    try:
        wire.heard(json.dumps(said))
    except WireError as refused:
        assert len(str(refused)) < 300


@given(st.binary(max_size=200))
def test_nothing_but_a_refusal_comes_of_noise(noise: bytes) -> None:
    try:
        assert sum(len(found.payload) + wire.HEADER.size for found in wire.unpack(noise)) <= len(noise)
    except WireError:
        pass


def test_json_has_no_infinite_numbers() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        wire.text({"return": math.inf})
