"""Whether each episode of a run has its row once, and its steps and pictures from the first to the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .episode_coverage import first_incomplete, in_order, stored_twice
from .findings import RunReport
from .part_checks import PartCheck

WHOLE: Final = pa.array(["completed", "aborted"])
"""Episodes with one of these have all their steps."""


def check_episodes(
    report: RunReport, checks: Sequence[PartCheck], *, lacks: Callable[[str], bool], all_pictures: bool
) -> None:
    """Report episodes that have two rows, or not all their steps and pictures.

    Args:
        report: of the run; gets the findings.
        checks: of its parts.
        lacks: whether rows of a table are known to be missing: then nothing more is said of those.
        all_pictures: whether every observation was to be kept as a picture.
    """
    steps = _segments(checks, "steps")
    twice = stored_twice(steps)
    if len(twice):
        text = f"episode {twice[0]} and {len(twice) - 1:,} more" if len(twice) > 1 else f"episode {twice[0]}"
        report.add("damage", "steps_twice", "", f"steps of {text} are stored twice")
    tables = [check.episodes for check in checks if check.episodes is not None and not check.faults]
    if not tables:
        return
    rows = pa.concat_tables(tables, promote_options="permissive")
    number = rows["episode"].to_numpy()
    ordered = np.sort(number)
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(again):
        report.add("damage", "episode_twice", "", f"{len(again):,} episodes have two rows, such as {again[0]}")
    length = rows["length"].fill_null(-1).to_numpy()
    whole = pc.call_function("is_in", [rows["status"].cast("string")], pc.SetLookupOptions(WHOLE)).to_numpy()
    known = whole & (length >= 0)
    thinned = np.empty(0, np.int64)
    if "skipped" in rows.column_names:
        skipped = rows["skipped"].fill_null(0).to_numpy()
        thinned = number[skipped > 0]
        length = length - skipped
    if not lacks("steps"):
        _check_whole(report, "steps", steps, number[known], length[known], thinned)
    if all_pictures and not lacks("frames"):
        _check_whole(report, "frames", _segments(checks, "frames"), number[known], length[known] + 1, thinned)


def _check_whole(
    report: RunReport,
    table: str,
    segments: np.ndarray,
    number: np.ndarray,
    expected: np.ndarray,
    thinned: np.ndarray,
) -> None:
    """Each episode has `expected` rows, from t = 0 without a hole, but for those that were thinned on purpose."""
    found = first_incomplete(segments, number, expected, thinned)
    if found is not None:
        more = f" (and {found.others:,} more episodes)" if found.others else ""
        text = (
            f"episode {found.episode} should have {found.expected:,} rows of {table}, {found.rows:,} are "
            f"there{', with a hole' if found.holed else ''}{more}"
        )
        report.add("damage", "episode_incomplete", "", text)


def _segments(checks: Sequence[PartCheck], table: str) -> np.ndarray:
    return in_order([check.segments for check in checks if check.table == table])
