"""Ages and sizes as a person writes them: `30d`, `12h`, `100GB`."""

from __future__ import annotations

import re

from rolltape.schema.errors import ConfigError

AGES = "such as 45s, 90m, 12h, 30d or 2w"
"""Of an option whose metavar is AGE; `seconds` reads it."""

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BYTES |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}


def seconds(text: str, option: str) -> float:
    """Seconds of `45s`, `90m`, `12h`, `30d` or `2w`. Raises ConfigError, naming the option."""
    return _amount(text, option, SECONDS, f"an age {AGES}")


def size(text: str, option: str) -> int:
    """Bytes of `500MB`, `100GB`, `2TiB` or a plain number. Raises ConfigError, naming the option."""
    return int(_amount(text, option, BYTES, "a size such as 500MB, 100GB or 2TiB"))


def _amount(text: str, option: str, units: dict[str, int], expected: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    unit = "" if match is None else match[2] if match[2] in units else match[2].upper()
    if match is None or unit not in units:
        raise ConfigError(f"{option}: expected {expected}, got {text!r}")
    return float(match[1]) * units[unit]
