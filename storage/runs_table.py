"""The table of all runs of a lake: what the small files of a run say, and what its parts add."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rolltape.schema.errors import CorruptRecording, LakeNotFound, UnreadableNow, UnsupportedFormat

from .queries import Rows, scan
from .summaries import RUNS_COLUMNS, summarize, unreadable_row

if TYPE_CHECKING:
    from .lake import Lake


class Returns(NamedTuple):
    """Of one part: its episodes, how many of them are completed, and the sum of their returns."""

    episodes: int
    completed: int
    total: float


class RunsTable:
    """The rows of `runs`; what a part adds to them is read once, so that a growing run stays cheap, and forgotten with
    the part, so that a long one does."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._returns: dict[str, Returns] = {}
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def rows(self) -> Rows:
        """One row a run, newest last."""
        with self._lock:
            return self._rows()

    def _rows(self) -> Rows:
        listing = self._lake.listing
        rows, episodes = [], {}
        sizes: dict[str, int] = {}
        for run_id in listing.run_ids():
            try:
                row = summarize(listing.folder(run_id)).row()
                tables = listing.tables(run_id)
            except LakeNotFound:  # deleted a moment ago
                continue
            except (CorruptRecording, UnreadableNow, UnsupportedFormat):  # one damaged run must not hide the others
                rows.append(unreadable_row(run_id))
                episodes[run_id] = ()
                continue
            of_run = {path: self._size(path) for parts in tables.values() for path in parts}
            row["bytes"] = sum(of_run.values())
            sizes |= of_run
            episodes[run_id] = tables.get("episodes", ())
            rows.append(row)
        self._sizes = sizes
        present = [path for parts in episodes.values() for path in parts]
        self._read_returns(present)
        self._returns = {path: self._returns[path] for path in present if path in self._returns}
        for row in rows:
            found = [self._returns[p] for p in episodes[row["run_id"]] if p in self._returns]
            completed = sum(part.completed for part in found)
            row["episodes"] = sum(part.episodes for part in found)
            row["mean_return"] = sum(part.total for part in found) / completed if completed else None
        return Rows(RUNS_COLUMNS, rows)

    def _read_returns(self, paths: list[str]) -> None:
        try:
            self._read_fresh(paths)
        except (CorruptRecording, UnreadableNow):  # what the others say is worth knowing; `rolltape verify` names it
            now: list[UnreadableNow] = []
            for path in paths:
                try:
                    self._read_fresh([path])
                except CorruptRecording:
                    self._returns[path] = Returns(0, 0, 0.0)
                except UnreadableNow as error:  # not remembered: it may be whole
                    now.append(error)
            if now and len(now) == len(paths):
                raise now[0] from None

    def _read_fresh(self, paths: list[str]) -> None:
        def new() -> str:
            fresh = [path for path in paths if path not in self._returns and Path(path).exists()]
            columns = {"filename": "VARCHAR", "status": "VARCHAR", "return": "DOUBLE"}
            rows = scan(fresh, columns, self._lake.path / "runs")
            completed = "FILTER (WHERE status = 'completed')"
            return f"""SELECT filename, count(*), count(return) {completed}, sum(return) {completed}
                FROM ({rows}) GROUP BY 1"""

        if any(path not in self._returns for path in paths):
            for path, *counts in self._lake.engine.run(new, (), lambda found: found.fetchall()):
                self._returns[path] = Returns(counts[0], counts[1], counts[2] or 0.0)

    def _size(self, path: str) -> int:
        known = self._sizes.get(path)
        if known:
            return known
        try:
            return Path(path).stat().st_size
        except FileNotFoundError:  # compacted a moment ago
            return 0
