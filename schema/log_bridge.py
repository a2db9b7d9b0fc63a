"""The bridge: what a program prints becomes rows of the table `logs`.

Rules:
1. A line `LOG<digits> | message | extra={json}` of a known code and with a JSON object becomes a record of that code,
   with level, component and subcomponent of the catalogue, the message as it is, the object as its data.
2. Any other line is kept as it is: level debug, code LOG5001. So is one whose code nobody knows, whose JSON is none, or
   that is not quite of that form.
3. Nothing is lost: a line that is not UTF-8 is kept with `\\xff` for what is none, and its bytes in base64 in its data;
   one longer than `MAX_LINE_BYTES` is kept in pieces, each with its number; blank lines count.
4. Nothing raises, whatever comes.
5. Lines are parsed many at a time and never pass a logging handler: they do not appear twice, and cost microseconds.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Final

from .log_codes import CATALOGUE, PROGRAM_LINE, LogCatalogue, LogCode
from .log_rows import LineRows

MAX_LINE_BYTES: Final = 4 << 20
HEAD: Final = re.compile(r"(LOG[0-9]{1,9}) \| ", re.ASCII)
EXTRA: Final = " | extra="
ATTEMPTS: Final = 8
"""How many places in a line are tried for where its data begins: a message may hold ` | extra=` itself."""


class LineSplitter:
    """Bytes of one stream in, whole lines out; what has no newline yet is kept.

    Args:
        max_bytes: a line that grows longer is given out in pieces.
    """

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_bytes
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._piece = 0

    def feed(self, data: bytes) -> list[bytes | Piece]:
        """The lines that `data` completes, without their newlines, in order."""
        lines: list[bytes | Piece] = []
        head, newline, rest = data.partition(b"\n")
        if newline:
            self._keep(head, lines)
            lines.append(self._take())
            more = rest.split(b"\n")
            head = more.pop()
            if max(map(len, more), default=0) > self._max:
                for line in more:
                    self._keep(line, lines)
                    lines.append(self._take())
            else:
                lines += more
        self._keep(head, lines)
        return lines

    def end(self) -> list[bytes | Piece]:
        """The stream has ended: its last line, where that had no newline."""
        return [self._take()] if self._kept_bytes or self._piece else []

    def _keep(self, data: bytes, lines: list[bytes | Piece]) -> None:
        while self._kept_bytes + len(data) > self._max:
            room = self._max - self._kept_bytes
            self._kept.append(data[:room])
            data = data[room:]
            lines.append(Piece(b"".join(self._kept), self._piece))
            self._piece += 1
            self._kept, self._kept_bytes = [], 0
        if data:
            self._kept.append(data)
            self._kept_bytes += len(data)

    def _take(self) -> bytes | Piece:
        line = b"".join(self._kept)
        found = Piece(line, self._piece) if self._piece else line
        self._kept, self._kept_bytes, self._piece = [], 0, 0
        return found


class Piece(bytes):
    """Part of a line that was too long; `number` counts from 0."""

    number: int

    def __new__(cls, data: bytes, number: int) -> Piece:
        """Bytes that know their place."""
        made = super().__new__(cls, data)
        made.number = number
        return made


class LogBridge:
    """Parses lines by one catalogue."""

    def __init__(self, catalogue: LogCatalogue = CATALOGUE) -> None:
        self._catalogue = catalogue

    def parse(self, lines: Sequence[bytes | Piece], origin: str, time_us: int, into: LineRows) -> None:
        """Append a row a line to `into`."""
        n = len(lines)
        texts = _decoded(lines)
        into.time_us += [time_us] * n
        into.origins += [origin] * n
        codes, messages, data = into.codes, into.messages, into.data
        for at in range(n):
            text = texts[at]
            if text is None:
                message, facts = _undecodable(lines[at])
            elif text.startswith("LOG") and (found := self.structured(text)) is not None:
                code, message, extra = found
                codes.append(code)
                messages.append(message)
                data.append(extra)
                continue
            else:
                message = text[:-1] if text.endswith("\r") else text
                facts = None
            if isinstance(line := lines[at], Piece):
                facts = {**(facts or {}), "piece": line.number}
            codes.append(PROGRAM_LINE)
            messages.append(message)
            data.append(json.dumps(facts) if facts else None)

    def structured(self, text: str) -> tuple[LogCode, str, str] | None:
        """Code, message and data of a line of the form of rule 1; None for any other."""
        head = HEAD.match(text)
        if head is None:
            return None
        code = self._catalogue.by_code(head[1])
        if code is None:
            return None
        at = head.end() - len(" | ")  # an empty message: `LOG1 |  | extra={}` and `LOG1 | extra={}` both have one
        for _ in range(ATTEMPTS):
            at = text.find(EXTRA, at)
            if at < 0:
                return None
            extra = _object(text[at + len(EXTRA) :].strip())
            if extra is not None:
                return code, text[head.end() : at] if at >= head.end() else "", extra
            at += 1
        return None


def _decoded(lines: Sequence[bytes]) -> list[str | None]:
    """The lines as text, all at once where they are UTF-8; None for one that is not."""
    try:
        texts: list[str | None] = [*b"\n".join(lines).decode().split("\n")]
        if len(texts) == len(lines):
            return texts
    except UnicodeDecodeError:
        pass  # at least one is not
    return [_text(line) for line in lines]


def _text(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def _undecodable(line: bytes) -> tuple[str, dict[str, object]]:
    return line.decode(errors="backslashreplace"), {"bytes_base64": base64.b64encode(line).decode("ascii")}


def _object(text: str) -> str | None:
    """`text` where it is a JSON object, otherwise None. Python's NaN and Infinity are no JSON and become text."""
    if not text.startswith("{"):
        return None
    odd: list[str] = []

    def constant(name: str) -> str:
        odd.append(name)
        return name

    try:
        value = _plain_loads(text) if "N" not in text and "I" not in text else json.loads(text, parse_constant=constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return json.dumps(value) if odd else text


_plain_loads = json.JSONDecoder().decode
