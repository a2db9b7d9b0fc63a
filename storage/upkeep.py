"""What keeps a lake tidy, as functions over a whole lake: compact, retain, vacuum.

Rules:
1. Whatever deletes shows first what it would delete: `dry_run` is the default.
2. A run that is being recorded is never retired, and nothing is deleted before the grace is over in which a reader may
   use what it has listed.
3. A run is retired by a small file, from which moment it is not listed any more; after the grace its folder is moved to
   `.trash` of the lake, in one step, and then deleted. Until then it comes back when that file is deleted.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rolltape.schema.errors import ConfigError, CorruptRecording, LakeNotFound, RolltapeError

from .catalog import CATALOG_NAME, LOCK_NAME
from .compaction import CompactionReport, compact_run
from .compaction_groups import Level
from .compactor import GRACE_S, Compactor
from .files import FileOps, folder_bytes, storage_errors
from .lake import Lake, opened
from .layout import RETIRED_NAME, RunFolder, is_run_id, list_runs
from .summaries import created_at, newest_markers, summarize

TRASH_NAME: Final = ".trash"
LEVELS: Final = ("normal", "archive")


@dataclass(frozen=True, slots=True)
class Removal:
    """Something that is deleted, or would be.

    Attributes:
        path: relative to the lake.
        why: what it is and why it goes.
        bytes: what it takes on the disk.
        waits_s: seconds until its grace is over; 0: it goes now.
    """

    path: str
    why: str
    bytes: int
    waits_s: float = 0.0


def compact(
    lake: Lake | str | os.PathLike[str],
    run: object | None = None,
    *,
    level: Level = "normal",
    grace_s: float = GRACE_S,
    wait: bool = True,
) -> list[CompactionReport]:
    """Merge the small parts of a run, or of all runs, into few large ones; nothing that is recorded changes.

    Readers and the writer of a run go on meanwhile: by our readers and by `parts` a row is there exactly once at every
    moment. Other readers may go on with a list of parts that they have for `grace_s`; a plain glob sees rows twice
    until then.

    Args:
        lake: a lake or its folder.
        run: which run, as `Lake.run` takes it; None: all.
        level: `"normal"` encodes like the writer; `"archive"` tries encodings and keeps the smallest, which takes ten
            times as long.
        grace_s: how long replaced parts stay, in seconds. 0 where nobody reads.
        wait: wait for the end of the grace; otherwise `vacuum`, or the next compaction, deletes what was replaced.

    Returns:
        A report a run; what could not be compacted is in its `skipped`.

    Raises:
        LakeNotFound, LakeNotWritable, DiskFull, StorageError.
    """
    if level not in LEVELS:
        raise ConfigError(f"level: must be one of {', '.join(LEVELS)} (got {level!r}).")
    with opened(lake) as found:
        listing = found.listing
        ids = listing.run_ids() if run is None else [found.resolve(run)]
    reports = [compact_run(listing.folder(r), level=level, grace_s=grace_s, wait=False) for r in ids]
    if wait and any(report.waiting for report in reports):
        time.sleep(grace_s)  # asked for by `wait`: readers may hold what was replaced until then
        for report in reports:
            if report.waiting:
                with Compactor.begun(listing.folder(report.run_id)) as compactor:
                    if compactor is not None:
                        compactor.remove_superseded(grace_s)
    return reports


def retain(
    lake: Lake | str | os.PathLike[str],
    *,
    keep_last: int | None = None,
    max_age_s: float | None = None,
    max_size_bytes: int | None = None,
    dry_run: bool = True,
    grace_s: float = GRACE_S,
    wait: bool = True,
    wall_s: Callable[[], float] = time.time,
) -> list[Removal]:
    """Delete old runs.

    Args:
        lake: a lake or its folder.
        keep_last: the newest so many runs are kept in any case. Given alone, all others go.
        max_age_s: runs that ended longer ago go.
        max_size_bytes: the oldest go until all runs together take at most so much on the disk.
        dry_run: only say what would go.
        grace_s: how long runs stay readable after they are no longer listed.
        wait: wait for the end of the grace and delete; otherwise `vacuum` does.
        wall_s: UTC time in seconds.

    Returns:
        The runs that go, oldest first. Runs that are being recorded never do.

    Raises:
        ConfigError: no rule was given, or a value is not allowed.
        LakeNotFound, LakeNotWritable, StorageError.
    """
    if keep_last is None and max_age_s is None and max_size_bytes is None:
        raise ConfigError("retain: give keep_last, max_age_s or max_size_bytes; without a rule nothing goes.")
    for name, value in (("keep_last", keep_last), ("max_age_s", max_age_s), ("max_size_bytes", max_size_bytes)):
        if value is not None and value < 0:
            raise ConfigError(f"{name}: must be 0 or more (got {value}).")
    path = _path(lake)
    runs = list_runs(path)
    sizes = {run.run_id: folder_bytes(run.path) for run in runs}
    total = sum(sizes.values())
    going: list[tuple[RunFolder, str]] = []
    safe = {run.run_id for run in runs[-keep_last:]} if keep_last else set()
    for run in runs:
        if run.run_id in safe or _is_live(run):
            continue
        age_s = wall_s() - _ended_s(run)
        if max_age_s is not None and age_s > max_age_s:
            why = f"ended {age_s / 86400:.1f} days ago"
        elif max_size_bytes is not None and total > max_size_bytes:
            why = f"all runs take {total:,} bytes"
        elif max_age_s is None and max_size_bytes is None:
            why = f"not among the newest {keep_last}"
        else:
            continue
        total -= sizes[run.run_id]
        going.append((run, why))
    found = [Removal(f"runs/{run.run_id}", why, sizes[run.run_id], grace_s) for run, why in going]
    if dry_run or not going:
        return found
    files = FileOps()
    for run, _ in going:
        with storage_errors(files, run.path):
            (run.path / RETIRED_NAME).write_text(json.dumps({"retired_ns": int(wall_s() * 1e9)}) + "\n")
    if wait:
        if grace_s > 0:
            time.sleep(grace_s)  # asked for by `wait`, as above
        for run, _ in going:
            _delete_run(path, run)
    return found


def vacuum(
    lake: Lake | str | os.PathLike[str],
    *,
    dry_run: bool = True,
    grace_s: float = GRACE_S,
    quarantine_age_s: float | None = None,
    wall_s: Callable[[], float] = time.time,
) -> list[Removal]:
    """Delete what nobody needs any more: replaced parts and retired runs after their grace, and what processes that
    were killed left half-written.

    Args:
        lake: a lake or its folder.
        dry_run: only say what would go.
        grace_s: how long replaced parts and retired runs stay; other leftovers as well.
        quarantine_age_s: also delete what lies in quarantine for so long; None: never. It may be all that is left of a
            damaged part.
        wall_s: UTC time in seconds.

    Returns:
        What goes, and what waits for the end of its grace.

    Raises:
        LakeNotFound, LakeNotWritable, StorageError.
    """
    path = _path(lake)
    found: list[Removal] = []
    now = wall_s()
    files = FileOps()

    def leftover(left: Path, why: str, after_s: float) -> None:
        age = now - _modified_s(left)
        found.append(Removal(str(left.relative_to(path)), why, folder_bytes(left), max(0.0, after_s - age)))
        if not dry_run and age >= after_s:
            with storage_errors(files, left):
                _remove(left)

    with storage_errors(files, path):
        with _nobody_publishes(path, files, dry_run) as sure:
            for left in sorted(path.glob(f".{CATALOG_NAME}.*")) if sure else ():
                leftover(left, "a catalog that was never published", grace_s)
        for left in sorted((path / TRASH_NAME).glob("*")):
            leftover(left, "a run that was retired", 0.0)
    for run in _all_runs(path):
        retired = run.path / RETIRED_NAME
        if retired.exists():
            waits = max(0.0, grace_s - (now - _modified_s(retired)))
            found.append(Removal(f"runs/{run.run_id}", "a run that was retired", folder_bytes(run.path), waits))
            if not dry_run and not waits:
                _delete_run(path, run)
            continue
        with storage_errors(files, run.path):
            found += _replaced(path, run, now, grace_s)
            if not dry_run:
                with Compactor.begun(run, wall_s=wall_s) as compactor:
                    if compactor is not None:
                        compactor.remove_superseded(grace_s)
            for left in sorted(run.path.glob(".*.json.*")):
                leftover(left, "a file that was never finished", grace_s)
            if not _is_live(run):
                for left in sorted(run.staging.glob("*")):
                    leftover(left, "what a writer or a compaction had not published", grace_s)
            for left in sorted(run.quarantine.glob("*")) if quarantine_age_s is not None else ():
                leftover(left, "in quarantine", quarantine_age_s or 0.0)
    return found


# ---- inside ----


@contextmanager
def _nobody_publishes(path: Path, files: FileOps, dry_run: bool) -> Iterator[bool]:
    """Whether what looks like a catalog's leftover is one: a large catalog may take longer than any grace.

    A dry run deletes nothing, so that it needs no lock, and works where nothing may be written.
    """
    if dry_run:
        yield True
        return
    with files.locked(path / LOCK_NAME, wait=False) as mine:
        yield mine


def _path(lake: Lake | str | os.PathLike[str]) -> Path:
    with opened(lake) as found:
        return found.path


def _all_runs(path: Path) -> Iterator[RunFolder]:
    """Runs, retired ones too."""
    for name in sorted(os.listdir(path / "runs")):  # noqa: PTH208
        run = RunFolder(path / "runs" / name)
        if is_run_id(name) and run.run_json.is_file():
            yield run


def _is_live(run: RunFolder) -> bool:
    """Whether it is being recorded, or nobody can say."""
    try:
        return summarize(run).status == "running"
    except (CorruptRecording, LakeNotFound):
        return False
    except RolltapeError:
        return True


def _ended_s(run: RunFolder) -> float:
    """UTC seconds of its end, else of its newest commit, else of its creation."""
    try:
        end = summarize(run).end or {}
    except RolltapeError:
        end = {}
    marks = newest_markers(run)
    times = [int(end.get("ended_ns") or 0), *(marker.time_ns for marker in marks)]
    return max(times) / 1e9 if max(times) else created_at(run.run_id).timestamp()


def _replaced(path: Path, run: RunFolder, now: float, grace_s: float) -> list[Removal]:
    found = []
    compactor = Compactor.looking(run)
    for cover, names in compactor.replaced():
        waits = max(0.0, grace_s - (now - _modified_s(cover)))
        size = sum(folder_bytes(name) for name in names)
        what = f"{len(names)} files replaced by {cover.name}"
        found.append(Removal(str(run.path.relative_to(path)), what, size, waits))
    return found


def _delete_run(path: Path, run: RunFolder) -> None:
    """Out of sight in one step, then away."""
    files = FileOps()
    with storage_errors(files, run.path):
        if not (run.path / RETIRED_NAME).exists() or _is_live(run):
            return  # somebody took it back, or goes on with it
        trash = path / TRASH_NAME
        trash.mkdir(exist_ok=True)
        files.rename(run.path, trash / run.run_id)
        shutil.rmtree(trash / run.run_id)


def _remove(left: Path) -> None:
    if left.is_dir():
        shutil.rmtree(left)
    else:
        left.unlink(missing_ok=True)


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
