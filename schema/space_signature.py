"""The signature of a space: a short hash that is the same on every machine, in every Python and with every
zlib.

It is taken over the canonical JSON of the descriptor, after three things are replaced that do not change a
value:
1. packed arrays by the SHA-256 of their bytes, because another zlib packs the same bytes differently;
2. the character set of a Text by its sorted characters, because a set has no order of its own;
3. `sort_keys` of a Dict by nothing, for the order of the keys themselves counts; and `stands_for` likewise.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import gymnasium as gym

from .space_descriptor import Descriptor, describe_space
from .space_numbers import packed_bytes


def space_signature(space: gym.Space[Any] | Descriptor) -> str:
    """`sp1-` and 16 hexadecimal digits; equal for spaces whose values are stored and read alike.

    Args:
        space: a space, or the descriptor of one (also after a way through any JSON reader and writer).

    Raises:
        UnsupportedSpace: as `describe_space`.
    """
    descriptor = space if isinstance(space, dict) else describe_space(space)
    text = canonical_json(_without_accidents(descriptor))
    return "sp1-" + hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces, ASCII only; refuses NaN and infinities, which a descriptor never
    has."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _without_accidents(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_accidents(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"zlib"}:
        return {"sha256": hashlib.sha256(packed_bytes(value)).hexdigest()}
    kept = {key: _without_accidents(item) for key, item in value.items() if key not in ("sort_keys", "stands_for")}
    if kept.get("type") == "Text":
        kept["charset"] = "".join(sorted(kept["charset"]))
    return kept
