"""The one compaction that works on a run: it merges a group of parts into one, and deletes what that replaces.

Rules:
1. What is merged is a *group*: consecutive markers of one writer, so that the result is a range of its commits. All
   tables are merged over the same range. While a run is recorded, the newest marker of a writer is left alone.
2. The order is that of a commit: parts are written to staging, one a table that has rows, made durable, linked to their
   final names; then the marker of the range, durable and linked last. Its link is the swap: from then on what lies
   inside the range is ignored by the rule of layout.py.
3. Everything is synced, whatever the run's durability, because what is replaced is deleted.
4. After a grace, in which a reader may use the list of parts that it has, the markers inside the range are deleted,
   the oldest first (so that the newest, which says up to where all is durable, is the last to go), then their parts.
   Nothing is deleted whose replacement is not there in full length.
5. One compaction a run at a time: a lock on one machine says so politely. Where locks do not hold (another machine),
   the later one removes the staging folder of the earlier, which then cannot link anything more, as among writers
   (fencing.py).
6. What one that was killed left is removed by the next: parts of a range without a marker whose commits are all there.
   Others, whose marker was lost, are put into quarantine.
7. Memory is bounded (merging.py), and so is the size of a part. Where the disk has no room for a second copy, nothing
   is begun.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import CorruptRecording, DiskFull, LakeNotFound, StorageError

from .compaction_groups import Level, Piece, range_of
from .encodings import choose_encoding
from .files import FileOps, make_folder, storage_errors
from .layout import MARKER_SUFFIX, PART_SUFFIX, CommitRange, RunFolder, missing_commits, outermost
from .markers import UNKNOWN_DIGEST, FragmentRange, Marker, PartEntry, merged, read_marker
from .merging import Encoding, PartReader, merge_parts
from .parts import OUTLINES
from .run_info import read_json
from .staging import StagingFolder

GRACE_S: Final = 60.0
"""How long replaced parts stay for readers that have listed them."""
ROOM_BYTES: Final = 256 << 20
"""What must be free beside the copy: the recording needs it."""
PREFIX: Final = "compaction-"
"""How the staging folders of compactions begin."""


class Compactor:
    """The one compaction that works on a run. Made by `begun`.

    Args:
        run: the run's folder.
        files: file operations.
        wall_s: UTC time in seconds, on the clock of the file system.
    """

    def __init__(self, run: RunFolder, staging: StagingFolder, files: FileOps, wall_s: Callable[[], float]) -> None:
        self.run, self._staging, self._files, self._wall_s = run, staging, files, wall_s

    @classmethod
    @contextmanager
    def begun(
        cls, run: RunFolder, *, files: FileOps | None = None, wall_s: Callable[[], float] = time.time
    ) -> Iterator[Compactor | None]:
        """Begin: hold the lock, shut out others, remove what they left. Yields None where another one is at work.

        Raises LakeNotFound, LakeNotWritable, DiskFull, StorageError.
        """
        files = files or FileOps()
        if not files.exists(run.run_json):
            raise LakeNotFound(f"No run at {run.path}: there is no {run.run_json.name}.")
        with storage_errors(files, run.path), files.locked(run.compaction_lock, wait=False) as mine:
            if not mine:
                yield None
                return
            for folder in run.folders():  # what copies a run may leave empty ones out
                make_folder(files, folder, durable=True)
            staging = _staging(run, f"{PREFIX}{secrets.token_hex(8)}", files)
            files.mkdir(staging.folder)
            remove_other_compactions(run, files, keep=staging.folder.name)
            compactor = cls(run, staging, files, wall_s)
            try:
                compactor._tidy()
                yield compactor
            finally:
                try:
                    staging.remove()
                except StorageError:
                    pass  # another one has removed it, or will

    @classmethod
    def looking(cls, run: RunFolder, files: FileOps | None = None) -> Compactor:
        """One that only looks: it changes nothing, and must not be asked to merge or remove."""
        files = files or FileOps()
        return cls(run, _staging(run, PREFIX, files), files, time.time)

    def replaced(self) -> list[tuple[Path, list[Path]]]:
        """Markers that cover others, each with the files that it replaces and that are still there."""
        found = []
        for cover, inside in self._covered():
            names = [self.run.commits / commits.marker_name for commits in inside]
            for table in TABLES:
                mine = {commits.part_name for commits in inside}.intersection(self._files.names(self.run.table(table)))
                names += [self.run.table(table) / name for name in mine]
            found.append((self.run.commits / cover.marker_name, names))
        return found

    def pieces(self) -> list[Piece]:
        """What can be merged, by writer and commit. Markers that cannot be read are left out."""
        found = []
        for commits in self._outermost():
            try:
                marker = read_marker(self.run, commits, self._files)
            except (FileNotFoundError, CorruptRecording):
                continue
            found.append(Piece(commits, max((p.bytes for p in marker.parts), default=0), marker.level))
        return found

    def merge(self, group: Sequence[Piece], level: Level = "normal") -> Marker:
        """Write the parts and the marker that cover a group; readers see them from the end of this call on.

        Raises:
            CorruptRecording: a part of the group is damaged or missing; nothing was changed.
            DiskFull: there is no room for a second copy.
            Fenced: another compaction has begun.
            LakeNotWritable, StorageError.
        """
        markers = [read_marker(self.run, piece.commits, self._files) for piece in group]
        commits = range_of(group)
        by_table = {t: [p for m in markers for p in m.parts if p.table == t] for t in TABLES}
        needed = sum(p.bytes for parts in by_table.values() for p in parts)
        free = self._files.free_bytes(self.run.path)
        if free < needed + ROOM_BYTES:
            raise DiskFull(
                f"No room to compact {self.run.path}: {needed + ROOM_BYTES:,} bytes are needed for a second copy and "
                f"{free:,} are free. Nothing was changed; free some space."
            )
        try:
            marker = Marker(
                commits,
                max(m.time_ns for m in markers),
                (),
                _joined_ranges(f for m in markers for f in m.fragments),
                merged(m.watermarks for m in markers),
                frozenset().union(*(m.fenced for m in markers)),
                level,
            )
            outline = marker.outline({t: sum(e.rows for e in entries) for t, entries in by_table.items() if entries})
            parts: list[PartEntry] = []
            for table, entries in by_table.items():
                if entries:
                    said = outline if len(parts) < OUTLINES else ""
                    parts.append(self._write(table, entries, commits, level, said))
            marker = replace(marker, parts=tuple(parts))
            for part in parts:
                self._staging.publish(part.table, self.run.path / part.file)
            for part in parts:
                self._staging.sync_folder(self.run.table(part.table))
            self._staging.put("marker", marker.to_bytes())
            self._staging.publish("marker", self.run.commits / commits.marker_name)
            self._staging.sync_folder(self.run.commits)
        finally:
            self._clear_staging()
        return marker

    def remove_superseded(self, grace_s: float = GRACE_S) -> int:
        """Delete what lies inside a range that was linked `grace_s` ago; how many files wait for the end of theirs.

        Raises StorageError and the like.
        """
        waiting = 0
        with storage_errors(self._files, self.run.path):
            for cover, inside in self._covered():
                if self._wall_s() - self._files.modified_s(self.run.commits / cover.marker_name) < grace_s:
                    waiting += len(inside) + self._count_parts(inside)
                    continue
                if not self._is_whole(cover):
                    continue
                for commits in sorted(inside, key=lambda c: (c.last, c.again)):
                    self._unlink(self.run.commits / commits.marker_name)
                self._files.sync(self.run.commits)
            self._remove_unmarked()
        return waiting

    def counts(self) -> tuple[int, int]:
        """Parts that exist and their bytes, over all tables."""
        count = size = 0
        for piece in self.pieces():
            marker = read_marker(self.run, piece.commits, self._files)
            count, size = count + len(marker.parts), size + sum(p.bytes for p in marker.parts)
        return count, size

    # ---- inside ----

    def _write(
        self, table: str, entries: list[PartEntry], commits: CommitRange, level: Level, outline: str
    ) -> PartEntry:
        reader = PartReader(self.run, entries, self._files)
        reader.check()
        schemas = reader.schemas()
        if any(schema != schemas[0] for schema in schemas):
            raise CorruptRecording(
                f"The parts of {table} from {entries[0].file} to {entries[-1].file} have not all the same columns; "
                f"they were left as they are."
            )
        asked = self._frames_group_bytes() if table == "frames" else 0
        encoding = Encoding(frame_group_bytes=asked)
        if level == "archive":
            encoding = choose_encoding(reader, schemas[0], table, asked)
        try:
            with self._staging.fill(table) as sink:
                entry = merge_parts(reader, schemas[0], sink, table, self.run.run_id, commits, encoding, outline)
        except pa.ArrowException as error:
            raise CorruptRecording(f"The parts of {commits.stem} in {table} cannot be merged: {error}") from error
        rows = sum(e.rows for e in entries)
        if entry.rows != rows:
            raise CorruptRecording(
                f"The parts of {commits.stem} in {table} hold {entry.rows:,} rows, their markers say {rows:,}; they "
                f"were left as they are. `rolltape verify` says more."
            )
        return entry

    def _frames_group_bytes(self) -> int:
        """What the run was recorded with (`commit.frames_group_bytes`); 0: by the size of the pictures."""
        try:
            info = read_json(self.run.run_json, files=self._files) or {}
            asked = info["config"]["commit"]["frames_group_bytes"]
        except (CorruptRecording, KeyError, TypeError):
            return 0  # a run of long ago, or damaged: then verify says so
        return asked if isinstance(asked, int) else 0

    def _ranges(self) -> set[CommitRange]:
        names = self._files.names(self.run.commits)
        return {r for name in names if (r := CommitRange.parse(name, MARKER_SUFFIX)) is not None}

    def _outermost(self) -> list[CommitRange]:
        return outermost(self._ranges())

    def _covered(self) -> list[tuple[CommitRange, list[CommitRange]]]:
        """Each outermost range with those that lie inside it."""
        ranges = self._ranges()
        found = []
        for cover in outermost(ranges):
            inside = [r for r in ranges if r.inside(cover)]
            if inside:
                found.append((cover, inside))
        return found

    def _is_whole(self, commits: CommitRange) -> bool:
        """Whether a marker can be read and its parts are there in full length."""
        try:
            marker = read_marker(self.run, commits, self._files)
            if any(part.digest == UNKNOWN_DIGEST for part in marker.parts):
                return False
            return all(self._files.size(self.run.path / part.file) == part.bytes for part in marker.parts)
        except (FileNotFoundError, CorruptRecording):
            return False

    def _count_parts(self, inside: Sequence[CommitRange]) -> int:
        names = {commits.part_name for commits in inside}
        return sum(len(names.intersection(self._files.names(self.run.table(table)))) for table in TABLES)

    def _remove_unmarked(self) -> None:
        """Delete parts without a marker that lie inside a range which is whole: their grace was over."""
        ranges = self._ranges()
        covers = [cover for cover in outermost(ranges) if cover.compacted]
        whole: dict[CommitRange, bool] = {}
        for table in reversed(TABLES):
            for name in self._files.names(self.run.table(table)):
                part = CommitRange.parse(name, PART_SUFFIX)
                if part is None or part in ranges:
                    continue
                for cover in covers:
                    if part.inside(cover) and whole.setdefault(cover, self._is_whole(cover)):
                        self._unlink(self.run.table(table) / name)
                        break

    def _tidy(self) -> None:
        """Remove parts that a compaction published and whose marker it could not (rule 6)."""
        ranges = self._ranges()
        holes = missing_commits(r.marker_name for r in ranges)
        newest = {r.writer: max(o.last for o in ranges if o.writer == r.writer) for r in ranges}
        for table in reversed(TABLES):
            for name in self._files.names(self.run.table(table)):
                part = CommitRange.parse(name, PART_SUFFIX)
                if part is None or not part.compacted or part in ranges or any(part.inside(r) for r in ranges):
                    continue
                torn = any(w == part.writer and a <= part.last and part.first <= b for w, a, b in holes)
                if torn or newest.get(part.writer, 0) < part.last:
                    self._files.rename(self.run.table(table) / name, self.run.quarantine / f"{table}.{name}")
                else:
                    self._unlink(self.run.table(table) / name)

    def _clear_staging(self) -> None:
        try:
            self._staging.clear()
        except StorageError:
            pass  # fenced, or the disk fails: the next one removes it

    def _unlink(self, path: Path) -> None:
        try:
            self._files.unlink(path)
        except FileNotFoundError:
            pass  # another one was faster


def _staging(run: RunFolder, name: str, files: FileOps) -> StagingFolder:
    replaced = f"Another compaction of {run.path} has begun and goes on instead of this one."
    return StagingFolder(run, name, files, durable=True, replaced=replaced)


def remove_other_compactions(run: RunFolder, files: FileOps, *, keep: str | None) -> None:
    """Remove the staging folders of other compactions, which can publish nothing more then (rule 5)."""
    for name in files.names(run.staging):
        if name.startswith(PREFIX) and name != keep:
            folder = run.staging / name
            try:
                while left := files.names(folder):
                    for file in left:
                        try:
                            files.unlink(folder / file)
                        except FileNotFoundError:
                            continue
                files.rmdir(folder)
            except FileNotFoundError:
                continue


def _joined_ranges(ranges: Iterator[FragmentRange]) -> tuple[FragmentRange, ...]:
    joined: list[FragmentRange] = []
    for one in sorted(ranges):
        last = joined[-1] if joined else None
        if last is not None and last[:2] == one[:2] and last.last + 1 == one.first:
            joined[-1] = last._replace(last=one.last)
        else:
            joined.append(one)
    return tuple(joined)
