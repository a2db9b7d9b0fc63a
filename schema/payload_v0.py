"""Payload version 0, as it was before Rolltape: one flat JSON object a step. The table of its keys, and their check.

Rules:
1. A step has every required key, each value of its key's type. What has not is refused with the key that is wrong.
2. Keys that are not in the table are no error: they are counted, and kept in info.
3. `observation` is what the step returned. A line whose `action` is null is the reset of its episode: its observation
   is the first one. Files that wrote what was seen *before* the action are read with `observation="before"`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from .mismatches import KEY_MISSING, KEY_TYPE, VERSION_WRONG, Kind


@dataclass(frozen=True, slots=True)
class LegacyKey:
    """One key of a v0 step.

    Attributes:
        types: JSON types of its values.
        becomes: where it stands in v1.
    """

    name: str
    types: tuple[str, ...]
    required: bool
    meaning: str
    becomes: str
    unit: str = ""


_ANY: Final = ("null", "boolean", "number", "string", "array", "object")

STEP_V0: Final = (
    LegacyKey("episode_id", ("string", "integer"), True, "name of the episode, unique in the file",
              "episode: a number in the order of appearance; the name in reset_info['episode_id']"),
    LegacyKey("step_index", ("integer",), True, "index of the step in its episode, from 0 or 1; 0 or more",
              "t, from 0", "steps"),
    LegacyKey("action", _ANY, True, "the action; null in the line of a reset", "action"),
    LegacyKey("observation", _ANY, True, "what the step returned", "observation of the step after; final_observation"),
    LegacyKey("reward", ("number",), True, "reward returned by the step", "reward"),
    LegacyKey("terminated", ("boolean",), True, "the environment reached a terminal state", "terminated"),
    LegacyKey("truncated", ("boolean",), True, "the episode was cut off", "truncated"),
    LegacyKey("info", ("object", "null"), False, "info returned by the step", "info and info_json"),
    LegacyKey("render_payload", _ANY, False, "what a viewer drew: a picture as nested lists, a grid, a text",
              "info['render_payload']"),
    LegacyKey("timestamp", ("number", "string", "null"), False, "when: seconds since 1970, or ISO 8601; UTC where no "
              "zone is said", "time", "seconds"),
    LegacyKey("agent_id", ("string", "integer", "null"), False, "agent within the environment", "agent_id"),
    LegacyKey("payload_version", ("integer",), False, "0", "counted as version 0"),
)  # fmt: skip
"""All keys, in the order in which they were written."""

KEYS_V0: Final = {key.name: key for key in STEP_V0}
_REQUIRED: Final = tuple(key.name for key in STEP_V0 if key.required)


class Problem(NamedTuple):
    """What is wrong with a step: the kind, the path to the field, and a sentence with the value and what is allowed."""

    kind: Kind
    field: str
    message: str


_PYTHON: Final[Mapping[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_TYPES: Final = {
    key.name: frozenset(kind for name in key.types for kind in _PYTHON[name]) for key in STEP_V0 if key.types != _ANY
}
_NOTHING: Final = object()


def check_step(step: Mapping[str, Any]) -> Problem | None:
    """The first thing that is wrong with a v0 step; None where it is as the table says."""
    for name in _REQUIRED:
        if name not in step:
            return Problem(KEY_MISSING, name, f"{name}: missing")
    for name, types in _TYPES.items():
        value = step.get(name, _NOTHING)
        if type(value) not in types and value is not _NOTHING:
            if "integer" in KEYS_V0[name].types and isinstance(value, float) and value.is_integer():
                continue  # JSON knows one kind of number
            if name == "reward" and value is None and step["action"] is None:
                continue  # a reset has none
            return Problem(KEY_TYPE, name, f"{name}: expected {' or '.join(KEYS_V0[name].types)}, got {_short(value)}")
    if step["step_index"] < 0 or step["step_index"] > (1 << 31) - 2:
        return Problem(KEY_TYPE, "step_index", f"step_index: expected 0 or more, got {step['step_index']}")
    version = step.get("payload_version", 0)
    if version != 0:
        return Problem(VERSION_WRONG, "payload_version", f"payload_version: expected 0 or none, got {version}")
    if step.get("timestamp") is not None and microseconds(step["timestamp"]) is None:
        said = _short(step["timestamp"])
        return Problem(KEY_TYPE, "timestamp", f"timestamp: expected seconds since 1970 or ISO 8601, got {said}")
    return None


def microseconds(timestamp: float | str) -> int | None:
    """A v0 timestamp as UTC microseconds since 1970; None for what is none."""
    if isinstance(timestamp, str):
        try:
            when = datetime.fromisoformat(timestamp)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        since = when - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not math.isfinite(timestamp) or abs(timestamp) > 1e11:
        return None
    return round(timestamp * 1e6)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
