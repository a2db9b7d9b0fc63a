"""Compaction: many small parts of a writer become few large ones, while readers and the writer go on.

Which parts are merged says `compaction_groups`; how they are, and what is then deleted when, `compactor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rolltape.schema.errors import CorruptRecording, UnreadableNow

from .compaction_groups import PART_BYTES, SINGLES, Level, all_groups, live_groups, range_of
from .compactor import GRACE_S, Compactor
from .files import FileOps
from .layout import CommitRange, RunFolder
from .markers import Marker
from .summaries import summarize


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction of one run did.

    Attributes:
        merged: markers that it wrote.
        parts_before, parts_after: parts that exist, over all tables.
        bytes_before, bytes_after: their bytes.
        rows: rows that were written anew.
        seconds: time that it took, without the grace.
        waiting: replaced files whose grace is not over.
        skipped: what was left alone, and why.
    """

    run_id: str
    merged: int = 0
    parts_before: int = 0
    parts_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    rows: int = 0
    seconds: float = 0.0
    waiting: int = 0
    skipped: tuple[str, ...] = ()


def compact_run(
    run: RunFolder,
    *,
    level: Level = "normal",
    grace_s: float = GRACE_S,
    wait: bool = True,
    live: bool = False,
    singles: int = SINGLES,
    part_bytes: int = PART_BYTES,
    files: FileOps | None = None,
    wall_s: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> CompactionReport:
    """Compact one run. Readers and its writer may go on meanwhile.

    Args:
        run: its folder.
        level: `archive` looks for the smallest encoding of every column, and takes its time.
        grace_s: how long parts that were replaced stay.
        wait: wait for the end of the grace and delete them; otherwise the next compaction or vacuum does.
        live, singles: the run is being recorded: leave what is young, see `live_groups`.
        part_bytes: no part is made larger, as far as its sources tell.
        files, wall_s, sleep: file operations and clocks.

    Returns:
        What was done; nothing with the reason in `skipped` where another compaction is at work.

    Raises:
        LakeNotFound, LakeNotWritable, DiskFull, Fenced, StorageError.
    """
    began = time.monotonic()
    with Compactor.begun(run, files=files, wall_s=wall_s) as compactor:
        if compactor is None:
            return CompactionReport(run.run_id, skipped=("another compaction is at work on it",))
        alive = live or _is_alive(run)
        before = compactor.counts()
        waiting = compactor.remove_superseded(grace_s)
        skipped: list[str] = []
        done: list[Marker] = []
        # Merged parts may be enough for a larger merge; a group that failed is not tried twice.
        failed: set[CommitRange] = set()
        while True:
            pieces = compactor.pieces()
            if live:
                groups = live_groups(pieces, part_bytes, singles=singles)
            else:
                groups = all_groups(pieces, level, alive=alive, part_bytes=part_bytes)
            groups = [group for group in groups if range_of(group) not in failed]
            if not groups:
                break
            for group in groups:
                try:
                    done.append(compactor.merge(group, level))
                except CorruptRecording as error:
                    failed.add(range_of(group))
                    skipped.append(str(error))
        seconds = time.monotonic() - began
        if done or waiting:
            waiting = compactor.remove_superseded(grace_s)
            if waiting and wait:
                sleep(grace_s)
                waiting = compactor.remove_superseded(grace_s)
        after = compactor.counts()
    return CompactionReport(
        run_id=run.run_id,
        merged=len(done),
        parts_before=before[0],
        parts_after=after[0],
        bytes_before=before[1],
        bytes_after=after[1],
        rows=sum(part.rows for marker in done for part in marker.parts),
        seconds=seconds,
        waiting=waiting,
        skipped=tuple(skipped),
    )


def _is_alive(run: RunFolder) -> bool:
    try:
        return summarize(run).status == "running"
    except (CorruptRecording, UnreadableNow):
        return True
