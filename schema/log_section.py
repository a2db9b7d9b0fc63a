"""Summaries as aligned tables: at a run's start, resume and end, and for diagnostics.

Rules:
1. A section has a title and lines `name  value`, aligned; nested values by their path, `commit.max_age_s`.
2. Values that are as their defaults are left out, unless everything is asked for.
3. A section of a title that was shown before shows what changed since, `name  before → after`, and nothing at all where
   nothing did: the same block never appears twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def flattened(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted paths."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{path}{name}.")
        else:
            found[f"{path}{name}"] = value
    return found


@dataclass(slots=True)
class LogSections:
    """The sections of one run, and what they showed last.

    Attributes:
        everything: show values that are as their defaults too.
    """

    everything: bool = False
    _shown: dict[str, dict[str, Any]] = field(default_factory=dict)

    def section(
        self,
        title: str,
        values: Mapping[str, Any],
        *,
        defaults: Mapping[str, Any] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> str:
        """The lines of a section; empty where there is nothing (new) to show.

        Args:
            title: its first line; the same title again shows what changed.
            values: names and values, nested as they are.
            defaults: values that are not worth a line.
            notes: of some names, by their paths, a word that is put behind the value: where it came from.
        """
        flat, usual = flattened(values), flattened(defaults or {})
        before = self._shown.get(title)
        self._shown[title] = flat
        rows: dict[str, str] = {}
        if before is None:
            for name, value in flat.items():
                if self.everything or name not in usual or usual[name] != value:
                    rows[name] = shown(value)
        else:
            for name, value in flat.items():
                if name not in before:
                    rows[name] = shown(value)
                elif before[name] != value:
                    rows[name] = f"{shown(before[name])} → {shown(value)}"
            rows |= {name: f"{shown(value)} → gone" for name, value in before.items() if name not in flat}
        if not rows:
            return ""
        width = max(map(len, rows))
        lines = [title]
        for name, text in rows.items():
            note = f"  [{notes[name]}]" if notes and name in notes else ""
            lines.append(f"  {name:<{width}}  {text}{note}")
        return "\n".join(lines)


def shown(value: Any) -> str:
    """A value as a person reads it, on one line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return " ".join(str(value).split()) or "–"
