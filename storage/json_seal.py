"""A digest that a small JSON file carries of its own content, so that a flipped bit is noticed there too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "digest"
"""The last key of the object: `sha256:<hex>` of the rest as `json.dumps` writes it."""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its digest; one that it had is replaced."""
    rest = {name: value for name, value in content.items() if name != KEY}
    return {**rest, KEY: _digest(rest)}


def seal_of(content: Mapping[str, Any]) -> bool | None:
    """Whether the digest fits the content; None where it carries none."""
    if KEY not in content:
        return None
    return content[KEY] == _digest({name: value for name, value in content.items() if name != KEY})


def _digest(content: Mapping[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(content).encode()).hexdigest()}"
