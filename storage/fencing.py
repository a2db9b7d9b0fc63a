"""Writer ids: how one is claimed, how its predecessors are shut out, and what they left is put aside.

Rules:
1. A writer id is a slot and an incarnation. It is taken by creating its staging folder and claimed by publishing
   `writers/<writer>.json` out of it; both fail when the name exists, so an id is never used twice.
2. Who has claimed an id looks for a newer one and, if there is one, takes the next. Each writer creates its folder
   before it looks for others (here, and in rule 3): of two that start at once, one at least sees the other, so two
   never go on side by side, however long one of them is stopped in between.
3. Whatever a writer publishes (claim, part, marker) is a hard link to a file in its own staging folder (staging.py).
   Its successor in the slot removes every file in that folder, then the folder. From then on the predecessor can
   publish nothing, also when it was only stopped and wakes up between two instructions: the file to link, or the folder
   to create one in, is gone (ENOENT), and it ends with `Fenced`. Nothing is lost by that: what lay in staging was not
   acknowledged, and its producers send it again.
4. Removing a file and linking it exclude each other in the kernel, and on NFS both name the file and not a path.
   Renaming the folder away instead would let a link that was resolved before the rename succeed after it.
5. Only predecessors in the own slot are fenced: writers of other slots are alive.
6. After that, parts of those predecessors without a marker are moved to quarantine. The parts are listed before the
   markers. Only single commits, and none that a compaction has covered: those are its own to remove (compactor.py).
7. A newest marker that cannot be read is made again from the parts of its commit (rebuilding.py). Where that cannot be
   done (a power cut with `durability="process"`) it does not count: it is moved to quarantine before rule 6, so that
   its parts follow it.
8. A marker that is read is made durable first: its writer may have died between link and fsync.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rolltape.schema.columns import TABLES
from rolltape.schema.messages import ProducerKey, Watermark

from .files import FileOps, make_folder
from .layout import FORMAT, MARKER_SUFFIX, PART_SUFFIX, CommitRange, RunFolder, WriterId
from .markers import merged, read_newest
from .rebuilding import mend
from .staging import Staging


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a starting writer found.

    Attributes:
        watermarks: what is durable, over all writers of the run.
        fenced: producer keys that were replaced.
        quarantined: names in `quarantine/` of what was moved there now.
        unreadable: markers that could not be read; those of the own slot are among `rebuilt` or `quarantined`.
        rebuilt: those that were made again from the parts of their commits.
    """

    watermarks: Mapping[ProducerKey, Watermark]
    fenced: frozenset[ProducerKey]
    quarantined: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    rebuilt: tuple[str, ...] = ()


def claim(run: RunFolder, slot: int, files: FileOps, *, durable: bool, wall_ns: Callable[[], int]) -> Staging:
    """Take the next writer id of a slot (rules 1 and 2). Raises Fenced when a successor came meanwhile."""
    for folder in run.folders():
        make_folder(files, folder, durable=durable)
    content = {"format": FORMAT, "host": socket.gethostname(), "pid": os.getpid(), "time_ns": wall_ns()}
    while True:
        writer = WriterId(slot, _newest(run, slot, files) + 1)
        path = run.writers / f"{writer}{MARKER_SUFFIX}"
        staging = Staging(run, writer, files, durable=durable)
        try:
            files.mkdir(staging.folder)
        except FileExistsError:
            continue  # another one starts at this moment
        if not files.exists(path):
            staging.put("claim", (json.dumps({**content, "writer": str(writer)}) + "\n").encode())
            staging.publish("claim", path)
            staging.sync_folder(run.writers)
            staging.clear()
            if _newest(run, slot, files) == writer.incarnation:
                return staging
        staging.remove()


def _newest(run: RunFolder, slot: int, files: FileOps) -> int:
    """The newest incarnation that a slot has had, -1 for none."""
    taken = [name.removesuffix(MARKER_SUFFIX) for name in files.names(run.writers)] + files.names(run.staging)
    taken += [name.partition("-")[0] for name in files.names(run.commits)]  # a claim that somebody deleted
    return max((writer.incarnation for writer in _of_slot(taken, slot)), default=-1)


def fence_predecessors(run: RunFolder, writer: WriterId, files: FileOps) -> None:
    """Make it impossible for older writers of the slot to publish anything more (rule 3)."""
    for older in _of_slot(files.names(run.staging), writer.slot):
        if older.incarnation < writer.incarnation:
            _remove_staging(run, older, files)


def recover(run: RunFolder, writer: WriterId, files: FileOps, *, durable: bool) -> Recovery:
    """Put aside what fenced predecessors left (rules 6 and 7), read how far the run is durable (rule 8)."""
    parts = {table: files.names(run.table(table)) for table in TABLES}
    markers, newest, unreadable = read_newest(run, files)
    if durable:
        files.sync(run.commits)
    torn = [commits for commits in unreadable if _precedes(commits.writer, writer)]
    mended = [one.marker for one in mend(run, torn, durable=durable, files=files)]
    newest += mended
    torn = [commits for commits in torn if commits not in {marker.commits for marker in mended}]
    for commits in torn:
        _put_aside(run, "commits", commits.marker_name, files)
    quarantined = [f"commits.{commits.marker_name}" for commits in torn]
    exists = {CommitRange.parse(name, MARKER_SUFFIX) for name in markers}.difference(torn)
    for table, names in reversed(parts.items()):  # episodes first: a glob never sees them without their steps
        for name in names:
            part = CommitRange.parse(name, PART_SUFFIX)
            if not part or part.compacted or part in exists or not _precedes(part.writer, writer):
                continue
            if not any(part.inside(other) for other in exists if other is not None and other.compacted):
                _put_aside(run, table, name, files)
                quarantined.append(f"{table}.{name}")
    return Recovery(
        watermarks=merged(marker.watermarks for marker in newest),
        fenced=frozenset().union(*(marker.fenced for marker in newest)),
        quarantined=tuple(quarantined),
        unreadable=tuple(commits.marker_name for commits in unreadable),
        rebuilt=tuple(marker.commits.marker_name for marker in mended),
    )


def _of_slot(names: Iterable[str], slot: int) -> list[WriterId]:
    found = []
    for name in names:
        try:
            writer = WriterId.parse(name)
        except ValueError:
            continue
        if writer.slot == slot:
            found.append(writer)
    return sorted(found)


def _precedes(older: WriterId, writer: WriterId) -> bool:
    return older.slot == writer.slot and older.incarnation < writer.incarnation


def _remove_staging(run: RunFolder, older: WriterId, files: FileOps) -> None:
    folder = run.staging / str(older)
    while True:
        try:
            for name in files.names(folder):
                _unlink_if_there(folder / name, files)
            files.rmdir(folder)
            return
        except FileNotFoundError:
            return
        except OSError:
            if not files.names(folder):
                raise
            # The predecessor lives and created another file between the two calls.


def _put_aside(run: RunFolder, folder: str, name: str, files: FileOps) -> None:
    """Move a name to quarantine as `<folder>.<name>`."""
    try:
        files.rename(run.path / folder / name, run.quarantine / f"{folder}.{name}")
    except FileNotFoundError:
        pass  # another successor was faster


def _unlink_if_there(path: Path, files: FileOps) -> None:
    try:
        files.unlink(path)
    except FileNotFoundError:
        pass  # its owner, or another successor, was faster
