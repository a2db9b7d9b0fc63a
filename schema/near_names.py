"""Names that somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> list[str]:
    """At most three of `known` that look like `name`, the likeliest first: by their whole, or by their last part."""
    names = list(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    found = [by_lower[hit] for hit in difflib.get_close_matches(name.lower(), by_lower, 3, 0.75)]
    last = name.rpartition(".")[2].lower()
    ends: dict[str, list[str]] = {}
    for candidate in names:
        ends.setdefault(candidate.rpartition(".")[2].lower(), []).append(candidate)
    for hit in difflib.get_close_matches(last, ends, 3, 0.75):
        found += [candidate for candidate in ends[hit] if candidate not in found]
    return found[:3]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean a or b?`, or nothing."""
    found = near(name, known)
    return f" Did you mean {' or '.join(found)}?" if found else ""
