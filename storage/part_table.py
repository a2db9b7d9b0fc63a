"""The table of parts: what each commit wrote, from the markers, which never change."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from rolltape.schema.errors import CorruptRecording, LakeNotFound

from .files import FileOps
from .layout import PART_SUFFIX, CommitRange
from .listing import LakeListing
from .markers import PartEntry, read_marker
from .queries import Rows

PARTS_COLUMNS: Final = {
    "run_id": "VARCHAR",
    "table_name": "VARCHAR",
    "writer": "VARCHAR",
    "first": "BIGINT",
    "last": "BIGINT",
    "file": "VARCHAR",
    "rows": "BIGINT",
    "bytes": "BIGINT",
    "digest": "VARCHAR",
}
"""Columns of the `parts` table; `file` is relative to the lake, `bytes` and `digest` are the file's."""


class PartTable:
    """The rows of `parts`; a marker is read once.

    Args:
        listing: which parts exist.
    """

    def __init__(self, listing: LakeListing) -> None:
        self._listing = listing
        self._rows: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def rows(self, run_ids: Iterable[str] | None = None) -> Rows:
        """One row an existing part, by run, table, writer and commit."""
        found: list[dict[str, Any]] = []
        for run_id in self._listing.run_ids() if run_ids is None else run_ids:
            try:
                tables = self._listing.tables(run_id)
            except LakeNotFound:  # deleted a moment ago
                continue
            with self._lock:
                for table, paths in tables.items():
                    found.extend(row for path in paths if (row := self._row(run_id, table, path)))
        return Rows(PARTS_COLUMNS, found)

    def _row(self, run_id: str, table: str, path: str) -> dict[str, Any] | None:
        row = self._rows.get(path)
        if row is None:
            commits = CommitRange.parse(Path(path).name, PART_SUFFIX)
            assert commits is not None  # the listing has nothing else
            try:
                marker = read_marker(self._listing.folder(run_id), commits, FileOps())
            except FileNotFoundError:  # compacted a moment ago
                return None
            except CorruptRecording:
                self._remember(run_id, commits, PartEntry(table, f"{table}/{commits.part_name}", 0, 0, ""))
                return self._rows[path]
            for part in marker.parts:
                self._remember(run_id, commits, part)
            row = self._rows.get(path)
        return row

    def _remember(self, run_id: str, commits: CommitRange, part: PartEntry) -> None:
        self._rows[str(self._listing.folder(run_id).path / part.file)] = {
            "run_id": run_id,
            "table_name": part.table,
            "writer": str(commits.writer),
            "first": commits.first,
            "last": commits.last,
            "file": f"runs/{run_id}/{part.file}",
            "rows": part.rows,
            "bytes": part.bytes,
            "digest": part.digest,
        }
