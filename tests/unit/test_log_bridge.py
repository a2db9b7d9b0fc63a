"""Lines become rows: what is structured is parsed, everything else is kept, nothing raises and nothing is lost."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolltape.schema.log_bridge import MAX_LINE_BYTES, LineSplitter, LogBridge, Piece
from rolltape.schema.log_codes import CATALOGUE, PROGRAM_LINE, LogCatalogue
from rolltape.schema.log_rows import SCHEMA, LineRows, line_batch

RUN = "01K00000000000000000000000"
BRIDGE = LogBridge()


def rows(*lines: bytes, bridge: LogBridge = BRIDGE) -> list[dict[str, object]]:
    """What the table `logs` has of these lines."""
    into = LineRows()
    bridge.parse(lines, "stdout", 1_790_000_000_000_000, into)
    batch = line_batch(into, RUN, 7, "train.py", 99)
    assert batch.schema == SCHEMA
    batch.validate(full=True)
    return batch.to_pylist()


def test_a_structured_line() -> None:
    (row,) = rows(b'LOG2002 | worker died | extra={"lost": 3, "who": "p0"}')
    known = CATALOGUE.by_code("LOG2002")
    assert known is not None
    assert row.pop("time").timestamp() == 1_790_000_000  # type: ignore[attr-defined]
    assert row.pop("host")
    assert row == {
        "run_id": RUN, "agent_id": "agent_0", "worker": None, "incarnation": None, "fragment": 7, "sub_env": None,
        "episode": None, "level": "warning", "severity": 30, "code": "LOG2002", "component": "worker",
        "subcomponent": "lifecycle", "message": "worker died", "data": '{"lost": 3, "who": "p0"}', "origin": "stdout",
        "env_id": "train.py", "pid": 99,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message", "data"),
    [
        ("LOG1003 |  | extra={}", "", {}),
        ("LOG1003 | extra={}", "", {}),
        ("LOG1003 | a | b | extra={}", "a | b", {}),
        ("LOG1003 | a | extra=no | extra={}", "a | extra=no", {}),
        ('LOG1003 | a | extra={"b": " | extra={}"}', "a", {"b": " | extra={}"}),
        ('LOG1003 | a | extra={"loss": NaN, "I": -Infinity}\r', "a", {"loss": "NaN", "I": "-Infinity"}),
        ('LOG1003 | é | extra={"ü": "\\ud800"}', "é", {"ü": "\ud800"}),
    ],
)
def test_structured_lines(line: str, message: str, data: dict[str, object]) -> None:
    (row,) = rows(line.encode())
    assert (row["code"], row["component"], row["level"], row["message"]) == ("LOG1003", "run", "info", message)
    assert json.loads(str(row["data"])) == data


@pytest.mark.parametrize(
    "line",
    [
        "", " ", "loss 0.5", "LOG", "LOG1003", "LOG1003|a|extra={}", "LOG1003 | a", "LOG1003 | a | extra=",
        "LOG1003 | a | extra=[1]", "LOG1003 | a | extra={", 'LOG1003 | a | extra={"b": }', "LOG1003 | a | extra={}}",
        "LOG999 | unknown | extra={}", "LOG01003 | a | extra={}", "log1003 | a | extra={}", " LOG1003 | a | extra={}",
        "LOG१ | a | extra={}", "LOG1003 | a | extra=" + "[" * 5000, "LOG1003 | a | extra={\"a\":" * 5000,
        'LOG1003 | a | extra={"a": ' + "9" * 5000 + "}", "LOG1003 | a" + " | extra={" * 5000,
    ],
)  # fmt: skip
def test_other_lines_are_kept_as_they_are(line: str) -> None:
    (row,) = rows(line.encode())
    assert (row["level"], row["code"], row["component"], row["subcomponent"]) == (
        "debug",
        "LOG5001",
        "program",
        "output",
    )
    assert (row["message"], row["data"]) == (line, None)


def test_what_is_not_utf8() -> None:
    fine, bad, structured = rows(b"fine", b"caf\xe9 \x00", b"LOG1003 | \xff | extra={}")
    assert fine["message"] == "fine"
    assert bad["message"] == "caf\\xe9 \x00"
    assert base64.b64decode(json.loads(str(bad["data"]))["bytes_base64"]) == b"caf\xe9 \x00"
    assert (structured["code"], structured["level"]) == ("LOG5001", "debug")


def test_codes_of_plug_ins() -> None:
    mine = LogCatalogue()
    line = b"LOG90001 | moved | extra={}"
    assert rows(line, bridge=LogBridge(mine))[0]["code"] == "LOG5001"
    mine.declare("LOG90001", "error", "robots", "arm", "moved", "Nothing.")
    (row,) = rows(line, bridge=LogBridge(mine))
    assert (row["code"], row["component"], row["subcomponent"], row["level"]) == ("LOG90001", "robots", "arm", "error")


# ---- lines out of bytes ----


def test_a_line_of_a_megabyte_in_small_pieces() -> None:
    splitter, line = LineSplitter(), b"x" * (1 << 20)
    found = [one for at in range(0, 1 << 20, 4096) for one in splitter.feed(line[at : at + 4096])]
    assert found == []
    assert splitter.feed(b"\nnext") == [line]
    assert splitter.end() == [b"next"]
    assert splitter.end() == []
    (row,) = rows(b'LOG1003 | big | extra={"a": "' + line + b'"}')
    assert row["code"] == "LOG1003"
    assert len(str(row["data"])) > 1 << 20


def test_a_line_without_end_comes_in_pieces() -> None:
    splitter = LineSplitter(10)
    found = [*splitter.feed(b"0123456789012"), *splitter.feed(b"3456789012"), *splitter.feed(b"3\nshort\n")]
    assert found == [b"0123456789", b"0123456789", b"0123", b"short"]
    assert [one.number for one in found if isinstance(one, Piece)] == [0, 1, 2]
    told = rows(*found)
    assert [row["data"] for row in told] == ['{"piece": 0}', '{"piece": 1}', '{"piece": 2}', None]
    assert MAX_LINE_BYTES > 1 << 20


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b"a\nb", b"\n\n\n", b"\r\n", b""]), max_size=20),
    st.integers(1, 30),
)
def test_lines_are_the_same_however_they_come(chunks: list[bytes], most: int) -> None:
    splitter = LineSplitter(most)
    found = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.end()
    whole = b"".join(chunks)
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    joined: list[bytes] = []
    for line in found:
        assert len(line) <= most
        if isinstance(line, Piece) and line.number > 0:
            joined[-1] += line
        else:
            joined.append(bytes(line))
    assert joined == expected


PARTS = st.sampled_from(
    ["LOG", "LOG1003", "LOG5001", " | ", "|", "extra=", " | extra=", "{", "}", '"', "NaN", "\\ud800", "\\", ":", ",", "[",
     "]", "1e999", "\r", "\x00", "é", "\ufeff", "\u2028", "null", "-", "0"]
)  # fmt: skip
LINES = st.one_of(
    st.binary(max_size=60),
    st.lists(PARTS, max_size=12).map(lambda parts: "".join(parts).encode()),
    st.tuples(
        st.sampled_from(["LOG1003", "LOG2002", "LOG999", "LOGX"]),
        st.text(max_size=20),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=6,
        ),
    ).map(lambda t: f"{t[0]} | {t[1]} | extra={json.dumps(t[2])}".encode(errors="surrogatepass")),
).map(lambda line: line.replace(b"\n", b" "))


@settings(max_examples=300)
@given(st.lists(LINES, max_size=12))
def test_nothing_raises_and_nothing_is_lost(lines: list[bytes]) -> None:
    """Every line is found again: its text, its bytes, or its message and data."""
    told = rows(*lines)
    assert len(told) == len(lines)
    for line, row in zip(lines, told, strict=True):
        message, data = str(row["message"]), row["data"]
        if row["code"] == PROGRAM_LINE.code and (row["data"] is None):
            assert line.decode() in (message, message + "\r")
        elif data is not None and '"bytes_base64"' in str(data) and row["code"] == PROGRAM_LINE.code:
            assert base64.b64decode(json.loads(str(data))["bytes_base64"]) == line
        else:
            assert line.decode().startswith(f"{row['code']} | ")
            assert message in line.decode()
            assert isinstance(json.loads(str(data)), dict)
