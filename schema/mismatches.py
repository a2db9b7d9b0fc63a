"""What of a payload may not fit its contract: one code a kind, counted by code and field in every recording.

Rules:
1. A mismatch is counted under the version in which its producer speaks, by its code and the path to the field.
2. `refused` says what `validation="enforce"` does with it; `warn` records the value as it came and counts.
3. What cannot be stored at all (another shape, a text for a number) is refused under every setting, as SchemaMismatch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

MOST_FIELDS: Final = 256
"""Different (code, field) that are counted one by one for a producer; more of them are counted under the field `…`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of mismatch.

    Attributes:
        code: how it is counted and logged; never used for another thing.
        meaning: what is wrong.
        versions: the payload versions in which it can happen.
        refused: whether `enforce` refuses it.
    """

    code: str
    meaning: str
    versions: tuple[int, ...] = (0, 1)
    refused: bool = True


OBSERVATION_OUTSIDE: Final = Kind("observation_outside", "an observation outside the bounds of its space")
OBSERVATION_NAN: Final = Kind("observation_nan", "NaN in an observation")
OBSERVATION_INFINITE: Final = Kind(
    "observation_infinite", "an infinity in an observation whose space allows it", refused=False
)
OBSERVATION_DTYPE: Final = Kind(
    "observation_dtype", "an observation of another dtype, converted without loss", (1,), refused=False
)
ACTION_OUTSIDE: Final = Kind("action_outside", "an action outside the action space (NaN too)")
REWARD_NAN: Final = Kind("reward_nan", "a reward that is NaN")
REWARD_INFINITE: Final = Kind("reward_infinite", "a reward that is infinite")
LINE_UNREADABLE: Final = Kind("line_unreadable", "a line that is no JSON object", (0,))
KEY_MISSING: Final = Kind("key_missing", "a required key is missing", (0,))
KEY_TYPE: Final = Kind("key_type", "a value of another type than its key has", (0,))
KEY_UNKNOWN: Final = Kind("key_unknown", "a key that v0 does not have; kept in info", (0,), refused=False)
VERSION_WRONG: Final = Kind("version_wrong", "a step that says it is of another payload version", (0,))
VALUE_UNFIT: Final = Kind("value_unfit", "an observation or action that its space cannot hold", (0,))
STEP_ORDER: Final = Kind("step_order", "a step_index that was there before, or after the end of its episode", (0,))
STEP_GAP: Final = Kind("step_gap", "steps of an episode are missing before this one", (0,), refused=False)

KINDS: Final[dict[str, Kind]] = {kind.code: kind for kind in list(vars().values()) if isinstance(kind, Kind)}
"""All kinds by their codes."""

OTHER_FIELDS: Final = "…"


class Mismatch(NamedTuple):
    """So many mismatches of one kind at one field, such as `observation['position'][0]`."""

    code: str
    field: str
    count: int


class MismatchCounts:
    """Counts by code and field; bounded, and cheap while nothing is wrong."""

    def __init__(self, known: Iterable[Mismatch] = ()) -> None:
        self._counts: dict[tuple[str, str], int] = {(code, field): count for code, field, count in known}

    def add(self, kind: Kind, field: str, count: int = 1) -> bool:
        """Count; whether it is worth saying: the first of its kind at its field, and whenever there are ten times as
        many."""
        key = (kind.code, field)
        known = self._counts.get(key)
        if known is None and len(self._counts) >= MOST_FIELDS:
            key = (kind.code, OTHER_FIELDS)
            known = self._counts.get(key)
        self._counts[key] = now = (known or 0) + count
        return known is None or len(str(now)) > len(str(known))

    def count(self, kind: Kind, field: str) -> int:
        """So many so far."""
        return self._counts.get((kind.code, field), 0) or self._counts.get((kind.code, OTHER_FIELDS), 0)

    @property
    def total(self) -> int:
        """All together."""
        return sum(self._counts.values())

    def by_code(self) -> Mapping[str, int]:
        """Sums over the fields, by code, in the order of the codes."""
        sums: dict[str, int] = {}
        for (code, _), count in sorted(self._counts.items()):
            sums[code] = sums.get(code, 0) + count
        return sums

    def frozen(self) -> tuple[Mismatch, ...]:
        """All counts in the order of code and field."""
        return tuple(self)

    def __iter__(self) -> Iterator[Mismatch]:
        for (code, field), count in sorted(self._counts.items()):
            yield Mismatch(code, field, count)

    def __bool__(self) -> bool:
        return bool(self._counts)
