"""A writer's commits: fragments in, parts and a marker out, and only then an acknowledgement.

Rules:
1. A fragment is taken in the order of its producer key (sequences.py) and kept in memory until it is durable.
2. A commit takes what is pending in the order in which it came: everything, or what first reaches `max_bytes`, so that
   a slow disk acknowledges often. A fence is taken with everything that came before it. A commit's number is one more
   than the writer's last: numbers have no holes.
3. Parts are written to staging, one a table that has rows, and made durable. A reader never sees any of that.
4. Then each part is linked to its final name, in the order of TABLES: episodes last, so that even a plain
   glob never sees an episode before its steps. A link fails when the name exists: nothing is ever
   overwritten. Folders are synced.
5. Then the marker is written, made durable, linked, and its folder synced. The link is the commit: before it
   none of the parts exists, after it all do.
6. Only then watermarks advance and acknowledgements are due.
7. An episode row is committed only when its producer's watermark covers the fragment that brought it. As a
   fragment carries an episode's last step no later than its row, all its steps and frames are then durable.
8. A commit that fails before its marker is linked has not happened: its fragments go back to the head of what
   is pending, what it left is removed before the number is used again, and nothing is acknowledged.
9. A failure at or after the marker's link leaves open whether the commit exists. Then this writer is broken
   and its successor reads the answer from the disk. (A failed fsync is not tried again either: Linux reports
   it once.)
10. A writer that finds its staging folder or a file in it gone was replaced (fencing.py) and stops with
    `Fenced`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Self

import pyarrow as pa

from rolltape.schema.columns import TABLES
from rolltape.schema.config import CommitConfig
from rolltape.schema.errors import Fenced, LakeNotFound, SchemaMismatch, StorageError
from rolltape.schema.messages import FragmentHeader, ProducerKey, Watermark

from .fencing import Recovery, claim, fence_predecessors, recover
from .files import FileOps, storage_errors
from .fragment_check import FragmentCheck
from .layout import CommitRange, RunFolder
from .markers import Marker, PartEntry
from .parts import OUTLINES, encode_part
from .pending import Batch, PendingFragment
from .sequences import Accepted, Answer, Sequences
from .staging import Staging


@dataclass(frozen=True, slots=True)
class CommitReport:
    """What a commit made durable.

    Attributes:
        marker: name of its marker; None when there was nothing to commit.
        watermarks: the keys that advanced, and how far.
        fragments: how many fragments.
        rows: rows by table.
        bytes: bytes of the parts by table.
        seconds: how long `commit` took.
        oldest_s: seconds from the coming of its oldest fragment to the end of the commit.
    """

    marker: str | None = None
    watermarks: Mapping[ProducerKey, Watermark] = field(default_factory=dict)
    fragments: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    oldest_s: float = 0.0


class CommitLog:
    """The commits of one writer, which owns it. Made by `open`.

    `commit` blocks and may run in a thread while the owner's thread goes on with `offer` and `take`; one at a
    time. Nothing here bounds what is pending: the producers' budgets do, and the owner when it commits
    whenever `due`.

    Attributes:
        run: the run's folder.
        writer_id: `w<slot>.<incarnation>`.
        recovery: what was found at the start.
    """

    def __init__(
        self,
        staging: Staging,
        recovery: Recovery,
        config: CommitConfig,
        *,
        clock: Callable[[], float],
        wall_ns: Callable[[], int],
        files: FileOps,
    ) -> None:
        self.run = staging.run
        self.writer_id = str(staging.writer)
        self.recovery = recovery
        self._staging = staging
        self._config = config
        self._clock = clock
        self._wall_ns = wall_ns
        self._files = files
        self._check = FragmentCheck()
        self._last = 0  # the newest commit
        self._dirty = False  # a failed attempt may have left files under the number after it
        self._broken: StorageError | None = None
        self._lock = threading.Lock()  # of the following, between the owner's thread and the one that commits
        self._sequences = Sequences(recovery.watermarks, recovery.fenced)
        self._fenced_durable = recovery.fenced
        self._pending: list[PendingFragment] = []
        self._pending_bytes = 0
        self._taken: Batch | None = None

    @classmethod
    def open(
        cls,
        run: RunFolder,
        slot: int,
        config: CommitConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        files: FileOps | None = None,
    ) -> Self:
        """Claim a writer id in `slot`, fence the slot's older writers, and go on from what is durable in the
        run.

        Raises LakeNotWritable, DiskFull, LakeNotFound or StorageError; Fenced when a newer writer came
        meanwhile.
        """
        files = files or FileOps()
        config = config or CommitConfig()
        durable = config.durability == "machine"
        try:
            with storage_errors(files, run.path):
                staging = claim(run, slot, files, durable=durable, wall_ns=wall_ns)
                fence_predecessors(run, staging.writer, files)
                recovery = recover(run, staging.writer, files, durable=durable)
        except FileNotFoundError as error:
            raise LakeNotFound(f"The run's folder {run.path} cannot be opened: {error.filename} is gone.") from error
        return cls(staging, recovery, config, clock=clock, wall_ns=wall_ns, files=files)

    # ---- what the owner sees ----

    @property
    def broken(self) -> StorageError | None:
        """Why this writer has to be replaced (Fenced, or a commit that may exist): trying again is of no use."""
        return self._broken

    @property
    def watermarks(self) -> dict[ProducerKey, Watermark]:
        """What is durable: over all writers of the run as of the start, and by this writer since. A copy."""
        with self._lock:
            return dict(self._sequences.durable)

    @property
    def pending_bytes(self) -> int:
        """Arrow bytes of accepted fragments that no commit has taken."""
        with self._lock:
            return self._pending_bytes

    @property
    def held_bytes(self) -> int:
        """Arrow bytes of all fragments that are not durable: pending and being committed."""
        with self._lock:
            taken = self._taken.fragments if self._taken else ()
            return self._pending_bytes + sum(fragment.nbytes for fragment in taken)

    @property
    def oldest_pending_age_s(self) -> float:
        """Age of the oldest pending row in seconds; 0 when nothing is pending.

        From when it came and how long its producer had held it by then: no two machines' clocks are compared.
        """
        with self._lock:
            return self._clock() - min((f.opened_s for f in self._pending), default=self._clock())

    def due_in_s(self) -> float | None:
        """Seconds until what is pending should be committed by its age, 0 when it should be now, by bytes or by age;
        None when nothing is pending."""
        if not self._pending:
            return None
        if self.pending_bytes >= self._config.max_bytes:
            return 0.0
        return max(0.0, self._config.max_age_s - self.oldest_pending_age_s)

    def due(self) -> bool:
        """Whether what is pending should be committed now, by bytes or by age."""
        return self.due_in_s() == 0.0

    # ---- fragments in ----

    def offer(self, header: FragmentHeader, batches: Mapping[str, pa.RecordBatch]) -> Answer:
        """Take a fragment if it is the next of its key. The batches are kept until durable and must not
        change.

        Raises SchemaMismatch when the rows are not what the header says or have not the run's columns; the
        fragment is not taken. Raises the error that ended this writer once it is broken or fenced.
        """
        self._raise_if_broken()
        with self._lock:
            answer = self._sequences.judge(header)
        if not isinstance(answer, Accepted):
            return answer
        self._check(header, batches, self._sequences.received)
        nbytes = sum(batch.get_total_buffer_size() for batch in batches.values())
        with self._lock:
            self._sequences.accept(header)
            came_s = self._clock()
            held_s = max(0, header.closed_ns - header.opened_ns) / 1e9
            self._pending.append(PendingFragment(header, dict(batches), nbytes, came_s, came_s - held_s))
            self._pending_bytes += nbytes
        return answer

    def fence_producer(self, key: ProducerKey) -> Watermark:
        """Answer everything from `key` with FencedKey from now on, because its replacement has registered.

        Returns what was received of it. That is durable after the next commit, and so is the fence: no later
        than anything that is offered after this call.
        """
        with self._lock:
            return self._sequences.fence(key)

    # ---- commits out ----

    def take(self) -> Batch:
        """What the next commit takes of what is pending (rule 2), for `commit`; offers go on.

        Raises RuntimeError when the last batch is still out.
        """
        with self._lock:
            if self._taken is not None:
                raise RuntimeError("take() was called while a commit is in progress")
            fenced = frozenset(self._sequences.fenced)
            n = self._enough() if fenced <= self._fenced_durable else len(self._pending)
            self._taken = Batch(tuple(self._pending[:n]), fenced)
            del self._pending[:n]
            self._pending_bytes -= sum(fragment.nbytes for fragment in self._taken.fragments)
            return self._taken

    def commit(self, batch: Batch) -> CommitReport:
        """Make the batch of the last `take` durable; returns when it is.

        Raises DiskFull, LakeNotWritable or StorageError: nothing of it is acknowledged, and the next `take`
        holds it again. Raises Fenced when this writer was replaced. After Fenced, or where it cannot be said
        whether the commit exists, every further call raises the same: the successor goes on.
        """
        started_s = self._clock()
        try:
            self._raise_if_broken()
            if not batch.fragments and batch.fenced <= self._fenced_durable:
                marker = None
            else:
                marker = self._publish(batch)
        except BaseException:
            self._give_back(batch)  # rule 8
            raise
        with self._lock:
            self._taken = None
        ended_s = self._clock()
        if marker is None:
            return CommitReport()
        return CommitReport(
            marker=marker.commits.marker_name,
            watermarks={key: marker.watermarks[key] for key in {f.header.key for f in batch.fragments}},
            fragments=len(batch.fragments),
            rows={part.table: part.rows for part in marker.parts},
            bytes={part.table: part.bytes for part in marker.parts},
            seconds=ended_s - started_s,
            oldest_s=ended_s - batch.fragments[0].came_s if batch.fragments else 0.0,
        )

    def close(self) -> None:
        """Remove the staging folder, at the end of a run. What is pending is dropped: commit it first."""
        try:
            self._staging.remove()
        except StorageError:
            pass  # the next writer of the slot does it

    # ---- inside ----

    def _enough(self) -> int:
        """How many pending fragments, the oldest first, reach `max_bytes`; all where they do not."""
        sizes = accumulate(fragment.nbytes for fragment in self._pending)
        return next((n for n, size in enumerate(sizes, 1) if size >= self._config.max_bytes), len(self._pending))

    def _publish(self, batch: Batch) -> Marker:
        commits = CommitRange(self._staging.writer, self._last + 1, self._last + 1)  # rule 2
        fragments, advanced = batch.continued(self._sequences.durable)  # rule 7
        try:
            if self._dirty:
                self._clear(commits)  # rule 8
            self._dirty = True
            watermarks = self._sequences.durable | advanced
            marker = Marker(commits, self._wall_ns(), (), fragments, watermarks, batch.fenced)
            parts = tuple(self._write_parts(marker, batch))
            for part in parts:  # rule 4
                self._staging.publish(part.table, self.run.path / part.file)
            for part in parts:
                self._staging.sync_folder(self.run.table(part.table))
            marker = replace(marker, parts=parts, time_ns=self._wall_ns())
            self._staging.put("marker", marker.to_bytes())  # rule 5
            self._link_marker(commits)
        except Fenced as error:
            self._broken = error  # rule 10
            raise
        except Exception:
            self._try_to_clear(commits)
            raise
        self._last, self._dirty = commits.last, False
        with self._lock:  # rule 6
            self._sequences.committed(advanced)
            self._fenced_durable = batch.fenced
        try:
            self._staging.clear()
        except StorageError:
            self._dirty = True  # the commit stands; what is left is removed before the next
        return marker

    def _write_parts(self, marker: Marker, batch: Batch) -> Iterable[PartEntry]:
        """The parts of a commit; the first two say what the marker will say, so that it can be made again."""
        commits = marker.commits
        by_table = {table: [f.batches[table] for f in batch.fragments if table in f.batches] for table in TABLES}
        rows = {table: n for table, some in by_table.items() if (n := sum(b.num_rows for b in some))}
        outline = marker.outline(rows)
        for number, table in enumerate(rows):
            batches = [b for b in by_table[table] if b.num_rows]
            level = self._config.frames_level if table == "frames" else self._config.steps_level
            try:
                part = encode_part(
                    table,
                    batches,
                    run_id=self.run.run_id,
                    commits=commits,
                    level=level,
                    group_bytes=self._config.frames_group_bytes,
                    outline=outline if number < OUTLINES else "",
                )
            except pa.ArrowException as error:
                raise SchemaMismatch(f"The {table} of this run cannot be stored as Parquet: {error}") from error
            self._staging.put(table, part.data)  # rule 3
            yield PartEntry(table, f"{table}/{commits.part_name}", part.rows, len(part.data), part.digest)

    def _link_marker(self, commits: CommitRange) -> None:
        target = self.run.commits / commits.marker_name
        try:
            self._staging.publish("marker", target)
            self._staging.sync_folder(self.run.commits)
        except StorageError as error:
            if not self._surely_absent(target):  # rule 9
                self._broken = StorageError(
                    f"It cannot be said whether commit {commits.stem} is durable, so this writer has to be "
                    f"replaced: {error}"
                )
                raise self._broken from error
            raise

    def _surely_absent(self, target: Path) -> bool:
        try:
            return not self._files.exists(target)
        except OSError:
            return False

    def _clear(self, commits: CommitRange) -> None:
        for table in reversed(TABLES):  # episodes first: a glob never sees them without their steps
            self._staging.withdraw(table, self.run.table(table) / commits.part_name)
        self._staging.clear()
        self._dirty = False

    def _try_to_clear(self, commits: CommitRange) -> None:
        """At once, because a full disk needs the room; what fails is done before the next attempt."""
        if self._broken is None:
            try:
                self._clear(commits)
            except StorageError:
                pass

    def _give_back(self, batch: Batch) -> None:
        with self._lock:
            if self._taken is batch:
                self._taken = None
                self._pending[:0] = batch.fragments
                self._pending_bytes += sum(fragment.nbytes for fragment in batch.fragments)

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken
