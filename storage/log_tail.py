"""The log rows of a run as they come, for whoever follows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .layout import PART_SUFFIX, CommitRange
from .queries import common_columns, scan
from .relation import Relation, Select

if TYPE_CHECKING:
    from .runs import Run


class LogTail:
    """Gives each row once. A row is there as soon as its commit is.

    Args:
        run: the run that is followed.
        condition: an SQL condition on the rows; None for all.
    """

    def __init__(self, run: Run, condition: str | None = None) -> None:
        self._run, self._condition = run, condition
        self._seen: set[str] = set()
        self._fragments: set[tuple[Any, ...]] = set()

    def new(self) -> list[dict[str, Any]]:
        """The rows that were committed since the last call, in the order of time; all at the first call."""
        lake = self._run.lake
        fresh = tuple(part for part in lake.listing.parts(self._run.run_id, "logs") if part not in self._seen)
        if not fresh:
            return []
        runs = lake.path / "runs"
        rows = Relation(lake.engine, Select(lambda: scan(fresh, common_columns("logs"), runs)))
        if self._condition is not None:
            rows = rows.filter(self._condition)
        found = rows.order("time").to_dicts()
        self._seen.update(fresh)
        if any(map(_is_range, fresh)):  # a compaction puts rows that were given already into a part of another name
            found = [row for row in found if _brought_by(row) not in self._fragments]
        self._fragments.update(map(_brought_by, found))
        return found


def _brought_by(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What brought a row: the process's stream and its fragment. A program's lines have another stream than its own
    records."""
    return row["host"], row["pid"], row["origin"] == "record", row["fragment"]


def _is_range(part: str) -> bool:
    found = CommitRange.parse(part.rpartition("/")[2], PART_SUFFIX)
    return found is not None and found.first != found.last
