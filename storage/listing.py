"""Which parts a lake has right now, asked again only when a folder changed.

Rules:
1. What exists is decided by `layout.list_tables`; nothing here knows better.
2. All tables of a run come from one listing, so a commit is in all of them or in none.
3. A listing is used again while the modification times of the folders are the same and were already
   `SETTLED_S` old when it was made: file systems stamp in steps of milliseconds, so a younger stamp may
   hide a later change.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import LakeNotFound

from .layout import RunFolder, list_runs, list_tables

SETTLED_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Seen:
    stamp: tuple[int, ...] = ()
    settled: bool = False
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)


class LakeListing:
    """The runs of a lake and the exact part lists of each, from the directories.

    Args:
        path: the lake's folder.
        wall_s: UTC time in seconds, on the clock of the file system.
    """

    def __init__(self, path: Path, wall_s: Callable[[], float] = time.time) -> None:
        self.path = path
        self._wall_s = wall_s
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def folder(self, run_id: str) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.path / "runs" / run_id)

    def run_ids(self) -> list[str]:
        """The ids of all runs, oldest first. Raises LakeNotFound when the lake is gone."""
        return [run.run_id for run in list_runs(self.path)]

    def parts(self, run_id: str, table: str) -> tuple[str, ...]:
        """Paths of one table's parts, by writer and commit. Raises LakeNotFound when the run is gone."""
        return self.tables(run_id).get(table, ())

    def tables(self, run_id: str) -> dict[str, tuple[str, ...]]:
        """Paths of the parts of all tables as of one moment. Raises LakeNotFound when the run is gone."""
        run = self.folder(run_id)
        with self._lock:
            seen = self._seen.get(run_id, _Seen())
            stamp = tuple(_modified_ns(f) for f in (run.commits, *(run.table(name) for name in TABLES)))
            if stamp != seen.stamp or not seen.settled:
                settled = max(stamp) < (self._wall_s() - SETTLED_S) * 1e9
                listed = {name: tuple(map(str, parts)) for name, parts in list_tables(run).items()}
                self._seen[run_id] = seen = _Seen(stamp, settled, listed)
            return seen.parts

    def all_parts(self, table: str, run_ids: list[str] | None = None) -> tuple[str, ...]:
        """Paths of one table's parts in several runs (all where None), oldest run first."""
        return self.all_tables(run_ids).get(table, ())

    def all_tables(self, run_ids: list[str] | None = None) -> dict[str, tuple[str, ...]]:
        """Paths of the parts of all tables in several runs (all where None), oldest run first; one moment a run."""
        found: dict[str, list[str]] = {}
        for run_id in self.run_ids() if run_ids is None else run_ids:
            try:
                for table, parts in self.tables(run_id).items():
                    found.setdefault(table, []).extend(parts)
            except LakeNotFound:  # deleted a moment ago
                continue
        return {table: tuple(parts) for table, parts in found.items()}

    def forget(self) -> None:
        """List anew when next asked, whatever the folders' times say."""
        with self._lock:
            self._seen.clear()


def _modified_ns(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - Path.stat costs several times as much
    except OSError:
        return -1
