"""The log records of one process on their way into the recording.

Rules:
1. Logging never waits: a record is put into a bounded queue, or dropped and counted when it is full.
2. A thread of its own writes down what was said and sends what is there after `flush_after_s`, through the same window
   and the same commits as steps: sent again after a fault, stored once. Data that could change is written down at once.
3. What was dropped is said in the ledger (`table_name` logs) and by a record, with the next rows that go through.
4. Lines of an external program are not dropped: whoever brings them waits for room (`write`).
5. Trouble with logs ends no run: after the window has failed everything is dropped and counted.

Each stream is a producer of its own to the writer, with a number from `FIRST_STREAM` downwards, which nobody else has.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from rolltape.schema import log_codes, log_policy
from rolltape.schema.config import BudgetConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.errors import RolltapeError, RunFailed
from rolltape.schema.log_bridge import LogBridge
from rolltape.schema.log_forms import event_text, json_text
from rolltape.schema.log_rows import LineRows, LogRow, line_batch, record_batch
from rolltape.schema.log_source import LogEvent, LogSource
from rolltape.schema.messages import FIRST_STREAM, FragmentHeader, ProducerKey
from rolltape.storage.ledger import Loss, ledger_batch

from .doorbell import Doorbell
from .window import Link, Window

BATCH_ROWS: Final = 5_000
BUDGET_BYTES: Final = 16 << 20
LINE_BYTES: Final = 16 << 20
"""What lines of a program may wait here."""
SEND_BYTES: Final = 4 << 20
POLL_S: Final = 0.2
LOOK_S: Final = 0.5
"""How often calls that have no answer are looked at; each look is a millisecond of a worker that steps."""
PLAIN: Final = frozenset((str, int, float, bool, type(None)))
"""What cannot change."""
PLAIN_CHARS: Final = 1000
"""Longer text is cut at once, so that little waits here."""
MESSAGE_CHARS: Final = 100_000
"""A record's message and data are cut there; a program's lines are not."""


class LogStream:
    """Keeps the records of a run that are logged in this process.

    Args:
        source: who says what this stream has to say itself.
        link: the way to the writer.
        config: the `logging` branch of the run's configuration.
        budget: when to give a writer up.
        key: None: a fresh one.
    """

    def __init__(
        self,
        source: LogSource,
        link: Link,
        config: LoggingConfig,
        budget: BudgetConfig,
        *,
        key: ProducerKey | None = None,
        bridge: LogBridge | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source, self._config, self._link, self._clock = source, config, link, clock
        self.key = key or ProducerKey(FIRST_STREAM - secrets.randbits(30), 0)
        self._window = Window(self.key, link, budget, budget_bytes=BUDGET_BYTES, clock=clock)
        self._rows: deque[LogRow | tuple[int, LogEvent]] = deque()
        self._lines: deque[tuple[list[bytes], str, int, int]] = deque()
        self._line_bytes = 0
        self._bridge = bridge or LogBridge()
        self._sequence = 0
        self._oldest_s: float | None = None
        self._hasty = False
        self._undeclared = 0
        self.dropped = 0
        """Records that were dropped so far."""
        self.sent = 0
        """Rows that were sent so far."""
        self._lock = threading.Lock()  # of the window and what is being sent
        self._room = threading.Condition()
        self._bell = Doorbell()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"rolltape-log-{self.key}", daemon=True)

    def start(self) -> None:
        """Take the run's records from now on."""
        if self._config.record:
            log_policy.attach(self.source.run_id, self._config.record_level, self.sink)
        self._thread.start()

    def sink(self, time_us: int, event: LogEvent, message: str | None = None) -> None:
        """Take a record, said at `time_us`; neither waits nor raises. None: the message is the event's own."""
        if len(self._rows) >= self._config.queue_records or self._window.failed is not None:
            self.dropped += 1
            self._undeclared += 1
            return
        later = message is None and _is_plain(event)
        self._rows.append((time_us, event) if later else _row(time_us, event, message))
        self._note()

    def write(self, lines: list[bytes], origin: str, time_us: int, pid: int) -> None:
        """Take lines of a program, waiting for room. Dropped and counted only when the writer was given up."""
        nbytes = sum(map(len, lines)) + 64 * len(lines)
        with self._room:
            while self._line_bytes > LINE_BYTES and self._window.failed is None and not self._closing:
                self._bell.ring()
                self._room.wait(POLL_S)
            if self._window.failed is not None:
                self.dropped += len(lines)
                return
            self._lines.append((lines, origin, time_us, pid))
            self._line_bytes += nbytes
        self._note()
        if self._line_bytes >= SEND_BYTES:
            self._bell.ring()

    def _note(self) -> None:
        if self._oldest_s is None:
            self._oldest_s = self._clock()
            self._bell.ring()
        elif len(self._rows) == BATCH_ROWS:
            self._bell.ring()

    def drain(self, timeout_s: float) -> bool:
        """Send everything and wait until it is durable; whether it was in time."""
        deadline = self._clock() + timeout_s
        self._hasty = True
        try:
            while self._clock() < deadline:
                if not (self._rows or self._lines or len(self._window)):
                    return True
                if self._window.failed is not None or not self._thread.is_alive():
                    return False
                try:
                    with self._lock:
                        self._window.hurry()
                except RolltapeError:  # Ray was shut down
                    return False
                self._bell.ring()
                with self._room:
                    self._room.wait(0.05)
            return False
        finally:
            self._hasty = False

    def close(self, timeout_s: float = 10.0) -> bool:
        """Take no more records, and make those that are here durable; whether it was in time."""
        if self._config.record:
            log_policy.detach(self.source.run_id, self.sink)
        done = self.drain(timeout_s) if self._thread.is_alive() else False
        if not done:
            self.dropped += len(self._rows)
        self.stop()
        return done

    def stop(self) -> None:
        """End the thread; what was not sent is gone."""
        if self._config.record:
            log_policy.detach(self.source.run_id, self.sink)
        self._closing = True
        self._bell.ring()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                self.turn()
            except Exception as error:  # rule 5: Ray may be gone; what is here stays until the window gives up
                self._window.fail(_failure(error))
                return

    def turn(self) -> None:
        """One turn: wait for something to do, take answers in, send what is due."""
        with self._lock:
            handles = self._window.handles
        ready = self._bell.wait(handles, self._pause())
        with self._lock:
            for handle in ready:
                self._window.answered(handle)
            self._window.tick()
            if self._window.failed is None:
                self.send()
        if ready or self._window.failed is not None:
            with self._room:
                self._room.notify_all()

    def _pause(self) -> float:
        if len(self._window):
            return LOOK_S  # calls that are to be sent again, or a Ray that was shut down
        if self._oldest_s is None:
            return 5.0
        return max(0.0, self._oldest_s + self._config.flush_after_s - self._clock())

    def send(self) -> None:
        """Send what is due and fits."""
        oldest_s = self._oldest_s
        if oldest_s is None:
            return
        due = self._hasty or self._closing or self._clock() - oldest_s >= self._config.flush_after_s
        if not due and len(self._rows) < BATCH_ROWS and self._line_bytes < SEND_BYTES:
            return
        self._oldest_s = None
        waiting = len(self._rows)  # one that comes from now on waits its own time, and is no batch of one row
        while waiting and self._window.fits(waiting * 300):
            taken = [self._rows.popleft() for _ in range(min(BATCH_ROWS, waiting))]
            waiting -= len(taken)
            rows = [one if isinstance(one, LogRow) else _row(*one) for one in taken]
            self._push(record_batch(rows, self.source.run_id, self._sequence + 1))
        while self._lines and self._window.fits(SEND_BYTES):
            self._push_lines()
        if self._undeclared and self._window.fits(0):
            self._declare()
        if (self._rows or self._lines or self._undeclared) and self._oldest_s is None:
            self._oldest_s = oldest_s if waiting or self._lines or self._undeclared else self._clock()

    def _push_lines(self) -> None:
        taken: list[tuple[list[bytes], str, int, int]] = []
        nbytes = 0
        pid = self._lines[0][3]
        while self._lines and nbytes < SEND_BYTES and self._lines[0][3] == pid:
            taken.append(self._lines.popleft())
            nbytes += sum(map(len, taken[-1][0])) + 64 * len(taken[-1][0])
        into = LineRows()
        for lines, origin, time_us, _ in taken:
            self._bridge.parse(lines, origin, time_us, into)
        self._push(line_batch(into, self.source.run_id, self._sequence + 1, self.source.env_id, pid))
        with self._room:
            self._line_bytes -= nbytes
            self._room.notify_all()

    def _declare(self) -> None:
        """Rule 3. The record goes through nobody's handler: those may be what is full."""
        rows, self._undeclared = self._undeclared, 0
        code, now_us, source = log_codes.RECORDS_DROPPED, time.time_ns() // 1000, self.source
        details: dict[str, object] = {"rows": rows, "reason": "they came faster than they could be sent"}
        said = LogRow(
            now_us, code, code.render(details), json_text(details), source.worker, source.incarnation, None, None,
            source.env_id,
        )  # fmt: skip
        batch = record_batch([said], source.run_id, self._sequence + 1)
        loss = Loss("logs", "queue_full", rows=rows, last_time_us=now_us, declared_us=now_us)
        self._push(batch, ledger=ledger_batch([loss], source.run_id, self.key, self._sequence + 1))

    def _push(self, batch: pa.RecordBatch, ledger: pa.RecordBatch | None = None) -> None:
        self._sequence += 1
        batches = {"logs": batch} | ({} if ledger is None else {"ledger": ledger})
        now_ns = time.time_ns()
        header = FragmentHeader(
            key=self.key,
            sequence=self._sequence,
            steps=0,
            episodes=0,
            steps_total=0,
            episodes_total=0,
            nbytes=sum(one.get_total_buffer_size() for one in batches.values()),
            opened_ns=now_ns,
            closed_ns=now_ns,
        )
        self.sent += batch.num_rows
        self._window.push(header, self._link.hold(batches), self._clock())


def _failure(error: BaseException) -> RolltapeError:
    return error if isinstance(error, RolltapeError) else RunFailed(f"Logs cannot be kept: {error}")


def _is_plain(event: LogEvent) -> bool:
    """Whether nobody can change the event's data any more, so that it may be written down later."""
    for value in event.details.values():
        if type(value) not in PLAIN or (type(value) is str and len(value) > PLAIN_CHARS):
            return False
    return True


def _row(time_us: int, event: LogEvent, message: str | None = None) -> LogRow:
    """The row of an event; text that cannot be stored is escaped, and what is too long cut."""
    message = event_text(event) if message is None else message
    data = json_text(event.details) if event.details else None
    if len(message) > MESSAGE_CHARS:
        message = message[:MESSAGE_CHARS] + "…"
    if data is not None and len(data) > MESSAGE_CHARS:
        data = json_text({"cut": data[:MESSAGE_CHARS]})
    source = event.source
    return LogRow(
        time_us,
        event.code,
        message.encode(errors="backslashreplace").decode(),
        data and data.encode(errors="backslashreplace").decode(),
        source.worker,
        source.incarnation,
        event.sub_env,
        event.episode,
        source.env_id,
    )
