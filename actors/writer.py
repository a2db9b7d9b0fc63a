"""The writer's process: takes fragments in, commits them in a thread, acknowledges what is durable.

Rules:
1. `append` answers after the commit that made the fragment durable; until then the call is pending, and the producer's
   window counts it.
2. Calls overtake each other on their way, because an async actor runs them in any order. A fragment that comes early
   waits a moment for those before it and is refused only then: a refusal makes its producer send everything again.
3. One commit at a time, when the log says that it is due or a producer that waits asks for it.
4. A commit that fails for want of room or rights is tried again every second, for `give_up_s`; then all pending calls
   fail with that error, and so do later ones. Nothing that was acknowledged is touched. A log that cannot be opened,
   because the writer was restarted meanwhile, is tried again as long.
5. A run's folder that is gone, and rows that cannot be stored, are not tried again.
6. A writer that was replaced, or cannot say whether its last commit exists, leaves: its process ends, and the one that
   is started in its place reads from the disk what is durable.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from rolltape.schema import log_codes
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.errors import LakeNotFound, RolltapeError, StorageError
from rolltape.schema.log_policy import configure_logging
from rolltape.schema.log_source import LogSource
from rolltape.schema.messages import Ack, FragmentHeader, ProducerKey, Watermark
from rolltape.storage.background_compaction import BackgroundCompaction
from rolltape.storage.commits import CommitLog, CommitReport
from rolltape.storage.fencing import Recovery
from rolltape.storage.layout import RunFolder
from rolltape.storage.pending import Batch
from rolltape.storage.sequences import Accepted, Duplicate, FencedKey, Refused

from .log_stream import LogStream
from .own_link import OwnLink
from .run_sampler import Control, Counts, RunSampler
from .writer_statistics import WriterStatistics

POLL_S = 0.02
RETRY_S = 1.0
EARLY_S = 0.25
"""How long a fragment that came early waits for the one before it."""
CATALOG_EVERY_S = 10.0
DRAIN_S = 5.0
"""How long a flush waits for this process's own log records."""


class Writer:
    """One writer of a run, to be run on an event loop.

    Args:
        run_path: the run's folder.
        slot: which writer of the run it is; a restart takes the slot's next id.
        config: the run's configuration.
        publish: called in a thread at most every 10 s after commits, to refresh the catalog.
        leave: ends the process, to be replaced; None: then what rule 6 speaks of fails the writer like rule 5.
        counts: asks the hub for its counts, for the table `metrics`; None: no metrics are recorded.
        control: asks the hub for transitions behind a position of one of its lives, for the table `control`.
        env_id: the run's environment, for log records.
        logs: the policy of an actor's own process, whose records of this run are kept; None: the process is not ours.

    Attributes:
        catalog_every_s: at most how often the catalog is published, in seconds.
    """

    catalog_every_s = CATALOG_EVERY_S

    def __init__(
        self,
        run_path: str,
        slot: int,
        config: RecordConfig,
        publish: Callable[[Path], None] | None = None,
        leave: Callable[[], None] | None = None,
        counts: Counts | None = None,
        *,
        control: Control | None = None,
        env_id: str = "unknown",
        logs: LoggingConfig | None = None,
    ) -> None:
        # Nothing here can fail: what a constructor raises, Ray reports as the death of the actor, and that is for good.
        self._config = config
        self._run = RunFolder(Path(run_path))
        self._slot = slot
        self._source = LogSource(self._run.run_id, env_id)
        self._logs = logs
        self._stream: LogStream | None = None
        self._publish = publish
        self._leave = leave
        policy = logs or LoggingConfig()
        self._sampler = None if counts is None else RunSampler(self._run, self._source, counts, control, policy)
        self._waiting: dict[ProducerKey, deque[tuple[int, asyncio.Future[Ack]]]] = {}
        self._early: dict[tuple[ProducerKey, int], asyncio.Event] = {}
        self._waited_for: dict[ProducerKey, int] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._catalog_thread = ThreadPoolExecutor(1, thread_name_prefix="catalog")
        self._hurried = self._fencing = False
        self._called = asyncio.Event()
        self._failed: RolltapeError | None = None
        self._trouble_since: float | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._published_at = time.monotonic()
        self._publishing: asyncio.Future[None] | None = None
        every = config.compaction.every_commits if config.compaction.while_recording else 0
        self._compaction = BackgroundCompaction(self._run.path, every) if every else None
        self.statistics = WriterStatistics()
        self._opened = asyncio.Event()
        self._not_open: RolltapeError | None = None
        self._log: CommitLog | None = None
        try:
            self._open()
        except RolltapeError as error:
            self._not_open = error

    async def append(self, header: FragmentHeader, tables: tuple[str, ...], *batches: pa.RecordBatch) -> Ack:
        """Take one fragment, its record batches in the order of `tables`; answers when it is durable, or at once
        when it is not the one expected. Raises StorageError when this writer cannot write.
        """
        log = await self._ready()
        key, sequence = header.key, header.sequence
        held = dict(zip(tables, batches, strict=True))
        answer = log.offer(header, held)
        if isinstance(answer, Refused):
            await self._turn(key, sequence)
            if self._failed is not None:
                raise self._failed
            answer = log.offer(header, held)
        if isinstance(answer, Accepted) and (after := self._early.get((key, sequence + 1))) is not None:
            after.set()
        if isinstance(answer, FencedKey):
            return Ack("fenced", key, sequence)
        if isinstance(answer, Refused):
            return Ack("refused", key, sequence, expected=answer.expected)
        if isinstance(answer, Duplicate) and answer.durable:
            return Ack("durable", key, sequence)
        self.statistics.held_high_bytes = max(self.statistics.held_high_bytes, log.held_bytes)
        if sequence <= self._waited_for.get(key, 0):
            self._hurry()
        else:
            self._called.set()
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append((sequence, future))
        return await future

    async def _turn(self, key: ProducerKey, sequence: int) -> None:
        """Wait until the fragment before this one has come, but not for long."""
        event = self._early.setdefault((key, sequence), asyncio.Event())
        try:
            await asyncio.wait_for(event.wait(), EARLY_S)
        except TimeoutError:
            pass  # the one before was lost: this one is refused
        finally:
            self._early.pop((key, sequence), None)

    async def hurry(self, key: ProducerKey, sequence: int) -> None:
        """A producer waits for what it sent up to `sequence`: commit what is here without waiting for more, and the
        rest when it comes (rule 2)."""
        self._waited_for[key] = sequence
        self._hurry()
        self._ensure_loop()

    def _hurry(self) -> None:
        self._hurried = True
        self._called.set()

    async def fence(self, key: ProducerKey) -> Watermark:
        """Take nothing more from a producer that was replaced; answers what of it is durable."""
        log = await self._ready()
        received = log.fence_producer(key)
        self._fencing = True
        self._called.set()
        while log.watermarks.get(key, Watermark()).sequence < received.sequence:
            if self._failed is not None:
                raise self._failed
            await asyncio.sleep(POLL_S)
        return received

    async def flush(self) -> dict[ProducerKey, Watermark]:
        """Commit everything received so far; answers what is durable."""
        log = await self._ready()
        if self._stream is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._stream.drain, DRAIN_S)
        if self._sampler is not None:
            await self._sampler.hear_control()
            self._sampler.bring(log)
        while log.held_bytes:
            if self._failed is not None:
                raise self._failed
            self._hurry()
            await asyncio.sleep(POLL_S)
        return log.watermarks

    async def report(self) -> WriterStatistics:
        """What this writer did so far. Raises what keeps it from opening its log, without waiting."""
        if self._log is None and self._not_open is not None:
            raise self._not_open
        self.statistics.cpu_s = time.process_time()
        return self.statistics

    def _open(self) -> None:
        if not self._run.run_json.exists():
            raise LakeNotFound(
                f"The writer on {socket.gethostname()} does not see {self._run.path}. It was moved or deleted, or does "
                f"not lie in a folder that the driver and all nodes share."
            )
        log = CommitLog.open(self._run, self._slot, self._config.commit)
        self.statistics.writer_id = log.writer_id
        self._log, self._not_open = log, None

    async def _ready(self) -> CommitLog:
        """The log, when it is open. Raises what ended this writer."""
        self._ensure_loop()
        if self._log is None and self._failed is None:
            await self._opened.wait()
        if self._failed is not None:
            raise self._failed
        assert self._log is not None
        return self._log

    def _ensure_loop(self) -> None:
        if self._loop_task is None:
            loop = asyncio.get_running_loop()
            self._loop_task = loop.create_task(self._run_loop())
            if self._logs is not None:
                configure_logging(self._logs, "actor")
                link, budget = OwnLink(self, loop), self._config.budget
                self._stream = LogStream(self._source, link, self._logs, budget)
                self._stream.start()

    async def _run_loop(self) -> None:
        try:
            await self._open_in_time()
            if self._log is not None:
                self._say_damage(self._log.recovery)
                await self._commit_loop(self._log)
        except Exception as error:  # a defect: without this loop every call would wait for ever
            self._fail(StorageError(f"The writer of {self._run.path} broke: {type(error).__name__}: {error}"))
            raise
        finally:
            self._opened.set()

    def _say_damage(self, found: Recovery) -> None:
        """Which of the newest markers could not be read, and what became of them."""
        if found.rebuilt:
            self._source.emit(log_codes.MARKERS_REBUILT, markers=", ".join(found.rebuilt))
        if aside := [name for name in found.unreadable if f"commits.{name}" in found.quarantined]:
            self._source.emit(log_codes.COMMITS_SET_ASIDE, markers=", ".join(aside))

    async def _open_in_time(self) -> None:
        loop = asyncio.get_running_loop()
        while self._log is None:
            try:
                await loop.run_in_executor(self._thread, self._open)
            except RolltapeError as error:
                self._not_open = error
                if not self._has_patience(error):
                    self._fail(error)
                    return
                await asyncio.sleep(RETRY_S)
        self._opened.set()

    async def _commit_loop(self, log: CommitLog) -> None:
        loop = asyncio.get_running_loop()
        if self._sampler is not None:
            self._sampler.start(log, self.statistics, lambda: sum(map(len, self._waiting.values())))
        while True:
            self._called.clear()
            if not (self._fencing or log.due() or (self._hurried and log.pending_bytes)):
                await self._until_called(log.due_in_s())
                continue
            hurried, self._hurried, self._fencing = self._hurried, False, False
            if self._sampler is not None and self._sampler.due:
                self._sampler.bring(log)
            batch = log.take()
            if log.pending_bytes:  # more than a commit takes
                self._hurried = hurried
            try:
                report = await loop.run_in_executor(self._thread, self._commit, log, batch)
            except RolltapeError as error:
                if log.broken is not None and self._leave is not None:
                    self._source.emit(log_codes.WRITER_REPLACED, error=str(error))
                    self._leave()
                if log.broken is not None or not self._has_patience(error):
                    self._fail(error)
                    return
                await asyncio.sleep(RETRY_S)
                continue
            if self._trouble_since is not None:
                seconds = time.monotonic() - self._trouble_since
                self._source.emit(log_codes.WRITER_RECOVERED, seconds=seconds)
                self._trouble_since = None
            self._acknowledge(report)
            self._maybe_publish(loop)
            self._maybe_compact()

    async def _until_called(self, at_most_s: float | None) -> None:
        """Wait for a fragment, a hurry or a fence, or until what is pending is old enough: no look every few
        milliseconds, which would take from the thread that steps on the same core."""
        try:
            await asyncio.wait_for(self._called.wait(), at_most_s)
        except TimeoutError:
            pass  # it is due now

    def _commit(self, log: CommitLog, batch: Batch) -> CommitReport:
        return log.commit(batch)

    def _has_patience(self, error: RolltapeError) -> bool:
        """Whether what failed is to be tried again (rules 4 and 5); says so when trouble begins."""
        if isinstance(error, LakeNotFound) or not isinstance(error, StorageError):
            return False
        now = time.monotonic()
        if self._trouble_since is None:
            self._trouble_since = now
            give_up_s = self._config.budget.give_up_s
            self._source.emit(log_codes.WRITER_RETRIES, error=str(error), give_up_s=give_up_s)
        return now - self._trouble_since <= self._config.budget.give_up_s

    def _acknowledge(self, report: CommitReport) -> None:
        for key, watermark in report.watermarks.items():
            queue = self._waiting.get(key, deque())
            while queue and queue[0][0] <= watermark.sequence:
                sequence, future = queue.popleft()
                if not future.done():
                    future.set_result(Ack("durable", key, sequence, commit_s=report.oldest_s))
        self.statistics.add(report)

    def _fail(self, error: RolltapeError) -> None:
        self._failed = error
        if self._sampler is not None:
            self._sampler.stop()
        self._source.emit(log_codes.WRITER_FAILED, error=str(error))
        for queue in self._waiting.values():
            for _, future in queue:
                if not future.done():
                    future.set_exception(error)
        self._waiting.clear()

    def _maybe_publish(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        if self._publish is None or now - self._published_at < self.catalog_every_s:
            return
        if self._publishing is not None and not self._publishing.done():
            return
        self._published_at = now
        self._publishing = loop.run_in_executor(self._catalog_thread, self._publish, self._run.path.parent.parent)
        self._publishing.add_done_callback(self._note_failure)

    def _maybe_compact(self) -> None:
        if self._compaction is not None and (complaint := self._compaction.committed()) is not None:
            self._source.emit(log_codes.PARTS_NOT_MERGED, error=str(complaint))

    def _note_failure(self, publishing: asyncio.Future[None]) -> None:
        """The catalog is a convenience: without it the recording goes on, and the next commit tries again."""
        if not publishing.cancelled() and (error := publishing.exception()) is not None:
            self._source.emit(log_codes.CATALOG_NOT_PUBLISHED, error=str(error))
