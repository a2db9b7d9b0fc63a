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
    """The rows of `parts`; a marker is read once, and forgotten with its parts when these were compacted or deleted.

    Args:
        listing: which parts exist.
    """

    def __init__(self, listing: LakeListing) -> None:
        self._listing = listing
        self._rows: dict[str, dict[str, dict[str, Any]]] = {}  # by run and path
        self._lock = threading.Lock()

    def rows(self, run_ids: Iterable[str] | None = None) -> Rows:
        """One row an existing part, by run, table, writer and commit."""
        found: list[dict[str, Any]] = []
        there = self._listing.run_ids()
        with self._lock:
            for run_id in self._rows.keys() - set(there):
                del self._rows[run_id]
            for run_id in there if run_ids is None else run_ids:
                found.extend(self._rows_of(run_id))
        return Rows(PARTS_COLUMNS, found)

    def _rows_of(self, run_id: str) -> Iterable[dict[str, Any]]:
        try:
            tables = self._listing.tables(run_id)
        except LakeNotFound:  # deleted a moment ago
            return ()
        known, present = self._rows.get(run_id, {}), {}
        for table, paths in tables.items():
            for path in paths:
                if path not in known:
                    known |= self._read(run_id, table, path)
                if (row := known.get(path)) is not None:
                    present[path] = row
        self._rows[run_id] = present
        return present.values()

    def _read(self, run_id: str, table: str, path: str) -> dict[str, dict[str, Any]]:
        """The rows of all parts of a part's commit, by path; none when it was compacted a moment ago."""
        commits = CommitRange.parse(Path(path).name, PART_SUFFIX)
        assert commits is not None  # the listing has nothing else
        run = self._listing.folder(run_id)
        try:
            parts = read_marker(run, commits, FileOps()).parts
        except FileNotFoundError:
            return {}
        except CorruptRecording:
            parts = (PartEntry(table, f"{table}/{commits.part_name}", 0, 0, ""),)
        return {str(run.path / part.file): _row(run_id, commits, part) for part in parts}


def _row(run_id: str, commits: CommitRange, part: PartEntry) -> dict[str, Any]:
    return {
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
