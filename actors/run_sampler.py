"""What a writer records of the run itself: a sample a second of its processes, and the transitions of who watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.live_messages import ControlEvent
from rolltape.schema.log_source import LogSource
from rolltape.schema.messages import RunCounts
from rolltape.storage.commits import CommitLog
from rolltape.storage.layout import RunFolder, WriterId

from .control_rows import ControlRows, stored_control
from .diagnostics import Diagnostics
from .metrics import SAMPLE_S, Metrics
from .writer_statistics import WriterStatistics

Counts = Callable[[], Awaitable[RunCounts]]
"""Asks the hub for its counts."""
Control = Callable[[str, int], Awaitable[tuple[str, tuple[ControlEvent, ...], int]]]
"""Asks the hub for transitions behind a position of one of its lives."""


class RunSampler:
    """The sampler of one writer, on its event loop.

    Args:
        run: the run's folder.
        source: whose log records its diagnostics are.
        counts: what the hub knows.
        control: what it heard of transitions; None: nothing is recorded of them.
        policy: what diagnostics are said and shown.
    """

    def __init__(
        self, run: RunFolder, source: LogSource, counts: Counts, control: Control | None, policy: LoggingConfig
    ) -> None:
        self._run, self._source, self._counts, self._ask_control = run, source, counts, control
        self._policy = policy
        self._metrics: Metrics | None = None
        self._control: ControlRows | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, log: CommitLog, statistics: WriterStatistics, queue_depth: Callable[[], int]) -> None:
        """Take samples from now on; `queue_depth` is how many fragments wait for their acknowledgement."""
        self._task = asyncio.get_running_loop().create_task(self._sample(log, statistics, queue_depth))

    def stop(self) -> None:
        """Take no more."""
        if self._task is not None:
            self._task.cancel()

    @property
    def due(self) -> bool:
        """Whether samples have waited long enough to go along with a commit."""
        return self._metrics is not None and self._metrics.due()

    def bring(self, log: CommitLog) -> None:
        """Put the samples that there are among what is pending: they go along with the next commit."""
        if (
            log.broken is None
            and self._metrics is not None
            and (found := self._metrics.fragment(self._control)) is not None
        ):
            log.offer(*found)

    async def hear_control(self) -> None:
        """Take the transitions that became known since they were last asked for."""
        if self._ask_control is None or self._metrics is None:
            return
        if self._control is None:
            self._control = ControlRows(await asyncio.to_thread(stored_control, self._run))
        try:
            asked = self._ask_control(self._control.epoch, self._control.position)
            self._control.take(await asyncio.wait_for(asked, SAMPLE_S))
        except Exception:  # the hub restarts, or is busy; it keeps them, and tells them again
            return

    async def _sample(self, log: CommitLog, statistics: WriterStatistics, queue_depth: Callable[[], int]) -> None:
        writer = WriterId.parse(log.writer_id)
        self._metrics = metrics = Metrics(self._run.run_id, writer.slot, writer.incarnation)
        diagnostics = Diagnostics(self._source, self._policy.diagnostics, shown=self._policy.verbose)
        while True:
            await asyncio.sleep(SAMPLE_S)
            try:
                known = await asyncio.wait_for(self._counts(), SAMPLE_S)
            except Exception:  # the hub restarts, or is busy: the writer's own row says enough
                known = None
            await self.hear_control()
            waiting = queue_depth()
            metrics.sample(
                known,
                steps=statistics.rows.get("steps", 0),
                queue_depth=waiting,
                inflight_bytes=log.held_bytes,
                flush_s=statistics.commit_last_s,
                lag_s=statistics.oldest_last_s,
                commits=statistics.commits,
            )
            diagnostics.look(
                known,
                queue_depth=waiting,
                flush_s=statistics.commit_last_s,
                commits=statistics.commits,
                cpu_s=time.process_time(),
                memory_bytes=metrics.memory_bytes,
            )
