"""Compaction beside a recording: a process of its own at the lowest priority, started by the writer now and then.

Why a process and not a thread of the writer is measured in docs/decisions/0021-compaction.md.

Rules:
1. One at a time; it ends by itself when it has merged what is due and the grace is over.
2. It has the lowest priority, on the processor and on the disk. Where so much has piled up that this does not suffice,
   it gets more: the number of parts stays bounded.
3. The recording goes on whatever becomes of it. What it says when it fails is logged.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil

from rolltape.schema.errors import RolltapeError

from .compaction import compact_run
from .layout import MARKER_SUFFIX, CommitRange, RunFolder
from .merging import allocate_for_merging

NICE: Final = ((4, 19), (8, 10))
"""Up to so many times the usual number of parts, the niceness; above, that of everybody."""
MODULE: Final = "rolltape.storage.background_compaction"


class BackgroundCompaction:
    """Starts compactions of one run in processes.

    Args:
        run_path: the run's folder.
        every_commits: how many commits are merged at once.
    """

    def __init__(self, run_path: Path, every_commits: int) -> None:
        self._run_path, self._every = run_path, every_commits
        self._commits = 0
        self._process: subprocess.Popen[bytes] | None = None

    def committed(self) -> str | None:
        """Note a commit, and start a compaction when one is due; returns what the last one complained of, once."""
        self._commits += 1
        complaint = self._complaint()
        if self._process is None and self._commits > self._every:
            self._commits = 0
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", MODULE, str(self._run_path), str(self._every)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # it outlives the writer by its grace, so that no part is left twice
                )
            except OSError as error:
                return f"no process could be started: {error}."
        return complaint

    def _complaint(self) -> str | None:
        process = self._process
        if process is None or process.poll() is None:
            return None
        self._process = None
        with process:
            said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
        if process.returncode == 0:
            return None
        return said.splitlines()[-1] if said else f"it ended with {process.returncode}."


def main(arguments: list[str]) -> int:
    """Compact the run in `arguments[0]`, `arguments[1]` commits at once, as one that is being recorded."""
    run, every = RunFolder(Path(arguments[0])), int(arguments[1])
    try:
        _be_nice(run, every)
        allocate_for_merging()
        report = compact_run(run, live=True, singles=every)
    except (RolltapeError, FileNotFoundError) as error:
        if not run.run_json.exists():
            return 0  # the lake was deleted meanwhile
        print(error, file=sys.stderr)
        return 1
    if report.skipped:
        print("; ".join(report.skipped), file=sys.stderr)
    return 1 if report.skipped else 0


def _be_nice(run: RunFolder, every: int) -> None:
    ranges = [CommitRange.parse(name, MARKER_SUFFIX) for name in os.listdir(run.commits)]  # noqa: PTH208
    waiting = sum(1 for commits in ranges if commits is not None and not commits.compacted)
    niceness = next((nice for times, nice in NICE if waiting <= times * every), 0)
    os.nice(niceness)
    if niceness and hasattr(psutil, "IOPRIO_CLASS_IDLE"):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
