"""Clocks of a run, as its steps and commits tell them. A wrong one is worth a note: nothing is ordered by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from .findings import RunReport
from .layout import CommitRange, WriterId, outermost
from .markers import Marker
from .part_checks import PartCheck
from .summaries import created_at

CLOCK_SLACK_US: Final = 60_000_000
"""How far clocks of two machines may differ before it is worth a note."""


def check_clocks(report: RunReport, checks: Iterable[PartCheck], markers: Mapping[CommitRange, Marker]) -> None:
    """Note steps that were made after their commit or before their run, and commits before the ones before them.

    Args:
        report: of the run; gets the notes.
        checks: of its parts.
        markers: by range; those that lie inside another's are not compared with each other.
    """
    created_us = int(created_at(report.run_id).timestamp() * 1e6)
    for check in checks:
        marker = markers.get(check.commits)
        if marker is None or check.times_us is None:
            continue
        low, high = check.times_us
        if high > marker.time_ns // 1000 + CLOCK_SLACK_US:
            text = f"steps of {_utc(high)} were committed at {_utc(marker.time_ns // 1000)}: a clock was set"
            report.add("note", "clock", f"{check.table}/{check.path.name}", text)
        elif low < created_us - CLOCK_SLACK_US:
            text = f"steps of {_utc(low)} are older than their run, {_utc(created_us)}: a clock was set"
            report.add("note", "clock", f"{check.table}/{check.path.name}", text)
    before: dict[WriterId, int] = {}
    for commits in outermost(markers):
        marker = markers[commits]
        if marker.time_ns < before.get(commits.writer, 0) - CLOCK_SLACK_US * 1000:
            text = f"it is older than the commit before it ({_utc(marker.time_ns // 1000)}): a clock was set back"
            report.add("note", "clock", f"commits/{commits.marker_name}", text)
        before[commits.writer] = marker.time_ns


def _utc(us: int) -> str:
    try:
        return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{us} µs"
