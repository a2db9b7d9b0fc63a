"""The wire between gateway and viewers, version 1: bytes and messages, and nothing of what they mean.

docs/decisions/0023-live-path.md has it in full; tests/golden/live_wire_v1.json has bytes that TypeScript reads too.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

PROTOCOL: Final = 1
HEADER: Final = struct.Struct("<BBHIdHHI")
NO_STREAM: Final = 65535
PICTURE, MOSAIC, PAYLOAD, STEP = 1, 2, 3, 4
RAW, JPEG, PNG, JSON = 0, 1, 2, 3
KINDS: Final = (PICTURE, MOSAIC, PAYLOAD, STEP)
CODECS: Final = (RAW, JPEG, PNG, JSON)
CHANNELS: Final = 3

CLOSE_NORMAL, CLOSE_PROTOCOL, CLOSE_NOT_LIVE = 1000, 4400, 4404
CLOSE_REPLACED: Final = 4409

DEPTHS: Final = (2, 16)
SIZES: Final = (16, 1024)
RATES: Final = (0.2, 60.0)
MOST_STEPS: Final = 8
MOST_STREAMS: Final = 4096
"""Streams that one viewer may subscribe at once."""
MOST_TEXT: Final = 256 << 10
"""Bytes of a message of a viewer."""

Mode = Literal["tiles", "mosaic", "auto"]


class WireError(ValueError):
    """What came is not of this protocol; the text says what and what was expected."""


class Record(NamedTuple):
    """One binary record; see the table of kinds for what `stream` and `payload` are."""

    kind: int
    codec: int
    stream: int
    sequence: int
    time: float
    width: int
    height: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Wish:
    """What a viewer wants; a message changes only what it names.

    Attributes:
        sub: streams in view.
        depth: pictures under way for each, 2 to 16; None: by latency.
        size: longer side of pictures in pixels; 0 for their own.
        mode: pictures one by one, composed, or composed where there are many.
        lossless: PNG instead of JPEG.
        hz: pictures a second of each stream; None: as configured.
        steps: streams of which the values of steps are wanted too.
    """

    sub: tuple[int, ...] = ()
    depth: int | None = None
    size: int = 160
    mode: Mode = "auto"
    lossless: bool = False
    hz: float | None = None
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What a viewer said: changes of its wish, what it has drawn, and whether it looks."""

    wish: Mapping[str, Any]
    rendered: tuple[tuple[int, int], ...] = ()
    mosaics: int | None = None
    hidden: bool | None = None


def pack(record: Record) -> bytes:
    """A record as bytes. Raises WireError where a number does not fit."""
    try:
        return HEADER.pack(*record[:7], len(record.payload)) + record.payload
    except struct.error as error:
        raise WireError(f"not a record: {record[:7]}: {error}") from None


def unpack(frame: bytes) -> Iterator[Record]:
    """The records of a binary frame; those of unknown kind or codec are left out. Raises WireError for what is cut."""
    at = 0
    while at < len(frame):
        if len(frame) - at < HEADER.size:
            raise WireError(f"cut header: {len(frame) - at} of {HEADER.size} bytes")
        *head, length = HEADER.unpack_from(frame, at)
        at += HEADER.size
        if len(frame) - at < length:
            raise WireError(f"cut payload: {len(frame) - at} of {length} bytes")
        record = Record._make([*head, frame[at : at + length]])
        at += length
        if record.kind not in KINDS or record.codec not in CODECS:
            continue
        if record.codec == RAW and length != record.width * record.height * CHANNELS:
            raise WireError(f"raw picture of {record.width} x {record.height}: {length} bytes")
        yield record


def text(message: Mapping[str, Any]) -> str:
    """A message of the gateway as JSON. Raises ValueError for a number that is not finite, which JSON does not have."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def heard(raw: str | bytes) -> Message:
    """What a viewer said. Raises WireError with what was wrong, which value, and what is allowed."""
    if isinstance(raw, bytes):
        raise WireError("a viewer sends text, this was a binary frame")
    if len(raw) > MOST_TEXT:
        raise WireError(f"a message has at most {MOST_TEXT:,} characters, this one {len(raw):,}")
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {str(error)[:80]}") from None
    if not isinstance(said, dict):
        raise WireError(f"expected an object, got {_short(said)}")
    unknown = sorted(set(said) - set(_WISHES) - {"rendered", "mosaics", "hidden"})
    if unknown:
        raise WireError(
            f"unknown key {_short(unknown[0])}; there are {', '.join((*_WISHES, 'rendered', 'mosaics', 'hidden'))}"
        )
    return Message(
        wish={name: _WISHES[name](name, said[name]) for name in _WISHES if name in said},
        rendered=_pairs(said.get("rendered", [])),
        mosaics=_whole("mosaics", said["mosaics"], 0, 2**32 - 1) if "mosaics" in said else None,
        hidden=_flag("hidden", said["hidden"]) if "hidden" in said else None,
    )


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:40] + "…"


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise WireError(f"{name}: expected a whole number from {least} to {most}, got {_short(value)}")
    return value


def _flag(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise WireError(f"{name}: expected true or false, got {_short(value)}")
    return value


def _streams(most: int) -> Callable[[str, Any], tuple[int, ...]]:
    def check(name: str, value: Any) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise WireError(f"{name}: expected a list of at most {most} streams, got {_short(value)}")
        return tuple(dict.fromkeys(_whole(name, stream, 0, NO_STREAM - 1) for stream in value))

    return check


def _depth(name: str, value: Any) -> int | None:
    return None if value is None else _whole(name, value, *DEPTHS)


def _size(name: str, value: Any) -> int:
    return 0 if value == 0 and type(value) is int else _whole(name, value, *SIZES)


def _rate(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not RATES[0] <= value <= RATES[1]:
        raise WireError(f"{name}: expected a number from {RATES[0]:g} to {RATES[1]:g}, got {_short(value)}")
    return float(value)


def _mode(name: str, value: Any) -> str:
    if value not in ("tiles", "mosaic", "auto"):
        raise WireError(f"{name}: expected tiles, mosaic or auto, got {_short(value)}")
    return value


def _pairs(value: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list):
        raise WireError(f"rendered: expected a list of [stream, seq], got {_short(value)}")
    pairs = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise WireError(f"rendered: expected [stream, seq], got {_short(pair)}")
        pairs.append((_whole("stream", pair[0], 0, NO_STREAM - 1), _whole("seq", pair[1], 0, 2**32 - 1)))
    return tuple(pairs)


_WISHES: Final[dict[str, Callable[[str, Any], Any]]] = {
    "sub": _streams(MOST_STREAMS),
    "depth": _depth,
    "size": _size,
    "mode": _mode,
    "lossless": _flag,
    "hz": _rate,
    "steps": _streams(MOST_STEPS),
}
