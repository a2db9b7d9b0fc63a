"""Which payload versions producers speak, over all runs of a lake, and what did not fit: from the newest markers alone.

Rules:
1. A step counts under the version in which its producer spoke, whatever it is stored as.
2. Only what is durable counts: the watermarks of the newest marker of each writer. No Parquet file is opened.
3. What an ended run says is read once; every other run is read each time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from rolltape.schema.errors import CorruptRecording, LakeNotFound, UnreadableNow
from rolltape.schema.messages import Watermark

from .markers import merged
from .queries import Rows
from .summaries import newest_markers

if TYPE_CHECKING:
    from .lake import Lake

PAYLOADS_COLUMNS: Final = {
    "run_id": "VARCHAR",
    "payload_version": "INTEGER",
    "producers": "BIGINT",
    "steps": "BIGINT",
    "episodes": "BIGINT",
    "mismatches": "BIGINT",
}
"""Columns of `payloads`: one row for each run and version that its producers speak."""
MISMATCHES_COLUMNS: Final = {
    "run_id": "VARCHAR",
    "payload_version": "INTEGER",
    "code": "VARCHAR",
    "field": "VARCHAR",
    "count": "BIGINT",
}
"""Columns of `mismatches`: what did not fit, by run, version, code and path to the field."""
ADOPTION_COLUMNS: Final = {
    "payload_version": "INTEGER",
    "runs": "BIGINT",
    "run_share": "DOUBLE",
    "steps": "BIGINT",
    "step_share": "DOUBLE",
    "episodes": "BIGINT",
    "mismatches": "BIGINT",
}
"""Columns of `adoption`: one row a version. A run with producers of two versions counts for both, so that shares of
runs may sum to more than 1."""

Row = dict[str, Any]


class AdoptionTables:
    """The rows of `payloads`, `mismatches` and `adoption`."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._ended: dict[str, tuple[Watermark, ...]] = {}
        self._lock = threading.Lock()

    def payloads(self) -> Rows:
        """One row a run and version."""
        return Rows(PAYLOADS_COLUMNS, [row for run_id, marks in self._runs() for row in self._spoken(run_id, marks)])

    def mismatches(self) -> Rows:
        """One row a run, version, code and field."""
        return Rows(MISMATCHES_COLUMNS, [row for run_id, marks in self._runs() for row in _unfit(run_id, marks)])

    def adoption(self) -> Rows:
        """One row a version."""
        return Rows(ADOPTION_COLUMNS, adoption_of(self.payloads().values))

    def _runs(self) -> list[tuple[str, tuple[Watermark, ...]]]:
        found = []
        with self._lock:
            for run_id in self._lake.listing.run_ids():
                marks = self._ended.get(run_id)
                if marks is None:
                    folder = self._lake.listing.folder(run_id)
                    ended = folder.end_json.exists()  # before its markers: what comes after it is no more than that
                    marks = tuple(merged(marker.watermarks for marker in newest_markers(folder)).values())
                    if ended:
                        self._ended[run_id] = marks
                found.append((run_id, marks))
        return found

    def _spoken(self, run_id: str, marks: tuple[Watermark, ...]) -> list[Row]:
        if not marks:
            try:
                version = self._lake.run_info(run_id).get("payload_version", 1)
            except (LakeNotFound, CorruptRecording, UnreadableNow):  # deleted a moment ago, or damaged: verify says so
                return []
            return [_row(run_id, version, ())]
        # Who brought no step said nothing: the one who settles what others left behind, for example.
        marks = tuple(mark for mark in marks if mark.steps or mark.mismatches) or marks
        versions = sorted({mark.payload_version for mark in marks})
        return [_row(run_id, v, [mark for mark in marks if mark.payload_version == v]) for v in versions]


def adoption_of(payloads: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows of `adoption`, from those of `payloads`, by version."""
    rows = list(payloads)
    runs, steps = len({row["run_id"] for row in rows}), sum(row["steps"] for row in rows)
    found = []
    for version in sorted({row["payload_version"] for row in rows}):
        own = [row for row in rows if row["payload_version"] == version]
        own_steps = sum(row["steps"] for row in own)
        found.append(
            {
                "payload_version": version,
                "runs": len(own),
                "run_share": len(own) / runs,
                "steps": own_steps,
                "step_share": own_steps / steps if steps else None,
                "episodes": sum(row["episodes"] for row in own),
                "mismatches": sum(row["mismatches"] for row in own),
            }
        )
    return found


def _row(run_id: str, version: int, marks: Iterable[Watermark]) -> Row:
    marks = list(marks)
    return {
        "run_id": run_id,
        "payload_version": version,
        "producers": len(marks),
        "steps": sum(mark.steps for mark in marks),
        "episodes": sum(mark.episodes for mark in marks),
        "mismatches": sum(mismatch.count for mark in marks for mismatch in mark.mismatches),
    }


def _unfit(run_id: str, marks: tuple[Watermark, ...]) -> list[Row]:
    counts: dict[tuple[int, str, str], int] = {}
    for mark in marks:
        for code, field, count in mark.mismatches:
            key = mark.payload_version, code, field
            counts[key] = counts.get(key, 0) + count
    names = tuple(MISMATCHES_COLUMNS)
    return [dict(zip(names, (run_id, *key, count), strict=True)) for key, count in sorted(counts.items())]
