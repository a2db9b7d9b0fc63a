"""The space of values that nobody declared: learned from JSON values, one at a time, in memory that does not grow.

Rules:
1. Whole numbers from 0 to `MOST_CHOICES - 1` alone are a Discrete; other whole numbers a Box of int64, numbers with a
   fraction a Box of float64, both without bounds; true and false a Discrete of 2.
2. Arrays of numbers of one shape are a Box of that shape; of several lengths a Sequence; arrays of true and false a
   MultiBinary.
3. Objects that always have the same keys are a Dict, unless a key is empty, which DuckDB cannot name; texts a Text
   with the characters seen.
4. What is none of these, or changes its kind, is a Text that holds the value as JSON: nothing is refused, nothing lost.
"""

from __future__ import annotations

import json
from typing import Any, Final, Self

import gymnasium as gym
import numpy as np
from gymnasium import spaces

MOST_CHOICES: Final = 4096
"""More values than this are a quantity, not a choice."""
DEEPEST: Final = 8
ESCAPED: Final = 3
"""Characters of JSON in ASCII for a byte of UTF-8, at most."""
NO_ROWS: Final = (0,)
"""Shape of `[]`, which has no rows of whatever shape."""
ASCII: Final = "".join(map(chr, range(32, 127)))


class SpaceInference:
    """What is known of the values so far. None is no value.

    Attributes:
        seen: how many values.
    """

    def __init__(self, level: int = 0) -> None:
        self.seen = 0
        self._level = level
        self._kinds: set[str] = set()
        self._low, self._high = 0, 0
        self._shape: tuple[int, ...] | None = None
        self._ragged = False
        self._numbers: set[str] = set()
        self._keys: tuple[str, ...] | None = None
        self._parts: dict[str, Self] = {}
        self._characters: set[str] = set()
        self._longest = self._longest_json = 0

    @property
    def is_json(self) -> bool:
        """Whether values are kept as JSON text, because they have no form of their own (rule 4)."""
        mixed = len(self._kinds) != 1 and self._kinds != {"integer", "number"}
        flags = "b" in self._numbers and (self._ragged or len(self._numbers) > 1)
        return mixed or flags or "other" in self._kinds

    def add(self, value: Any, nbytes: int) -> None:
        """Look at one value; its JSON text took at most `nbytes` bytes of UTF-8."""
        if value is None:
            return
        self.seen += 1
        self._longest_json = max(self._longest_json, nbytes)
        kind = self._kind_of(value)
        self._kinds.add(kind)
        if kind == "integer":
            self._low, self._high = min(self._low, value), max(self._high, value)
        elif kind == "object":
            for key, item in value.items():
                self._parts[key].add(item, nbytes)
        elif kind == "text":
            self._characters.update(value)
            self._longest = max(self._longest, len(value))

    def space(self) -> gym.Space[Any]:
        """The space that has all values seen."""
        if self.is_json:
            return spaces.Text(ESCAPED * max(1, self._longest_json), min_length=0, charset=ASCII)
        kind = "number" if "number" in self._kinds else next(iter(self._kinds))
        if kind == "boolean":
            return spaces.Discrete(2)
        if kind == "integer":
            if self._low >= 0 and self._high < MOST_CHOICES:
                return spaces.Discrete(self._high + 1)
            return _box(np.int64, ())
        if kind == "number":
            return _box(np.float64, ())
        if kind == "text":
            return spaces.Text(max(1, self._longest), min_length=0, charset="".join(sorted(self._characters)) or ASCII)
        if kind == "object":
            return spaces.Dict({key: part.space() for key, part in self._parts.items()})
        if "b" in self._numbers:
            return spaces.MultiBinary(self._shape or ())
        dtype = np.float64 if "f" in self._numbers else np.int64
        if self._ragged:
            return spaces.Sequence(_box(dtype, (self._shape or ())[1:]))
        return _box(dtype, self._shape or ())

    def to_value(self, value: Any) -> Any:
        """A value as its space takes it from JSON: the value, or its JSON text where there is no form."""
        if value is None:
            return None
        if self.is_json:
            return json.dumps(value, separators=(",", ":"))
        if "object" in self._kinds:
            return {key: self._parts[key].to_value(item) for key, item in value.items()}
        return int(value) if isinstance(value, bool) else value

    def _kind_of(self, value: Any) -> str:
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, int):
            return "integer" if -(1 << 63) <= value < 1 << 63 else "other"
        if isinstance(value, float):
            return "number"
        if isinstance(value, str):
            return "text" if _is_utf8(value) else "other"
        if isinstance(value, dict):
            return self._object_kind(value)
        return self._array_kind(value)

    def _object_kind(self, value: dict[str, Any]) -> str:
        keys = tuple(sorted(value))
        if self._keys is None and keys and all(keys) and self._level < DEEPEST and None not in value.values():
            self._keys = keys
            self._parts = {key: type(self)(self._level + 1) for key in keys}
        return "object" if keys == self._keys and None not in value.values() else "other"

    def _array_kind(self, value: list[Any]) -> str:
        try:
            array = np.asarray(value)
        except ValueError:
            return "other"
        kind = array.dtype.kind
        if array.size and (kind not in "bif" or (kind != "b" and _has_boolean(value))):
            return "other"
        if array.size:
            self._numbers.add(kind)
        if self._shape is None:
            self._shape = array.shape
        elif array.shape != self._shape:
            if NO_ROWS not in (array.shape, self._shape) and array.shape[1:] != self._shape[1:]:
                return "other"
            self._ragged = True
            if self._shape == NO_ROWS:
                self._shape = array.shape
        return "array"


def _has_boolean(value: list[Any]) -> bool:
    return any(isinstance(item, bool) or (isinstance(item, list) and _has_boolean(item)) for item in value)


def _box(dtype: type, shape: tuple[int, ...]) -> spaces.Box:
    if dtype is np.int64:
        limits = np.iinfo(np.int64)
        return spaces.Box(limits.min, limits.max, shape, np.int64)
    return spaces.Box(-np.inf, np.inf, shape, np.float64)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
