"""The fragments that a producer has sent and that are not durable yet.

Rules:
1. Fragments are sent in the order of their sequence and kept until the writer says that they are durable.
2. A fragment may be sent when its bytes fit into what the budget leaves, and always when nothing is on its way: one
   fragment may be in flight whatever the budget (liveness). Nothing is sent while the oldest is too old.
3. A refused or broken call means: go back. Everything from the oldest unacknowledged fragment on is sent again, after a
   pause.
4. Answers to calls that were given up count only if they say `durable`: the fragment is, whoever asked.
5. When nothing was acknowledged for `give_up_s`, the run has failed. So has it when the writer says that it cannot
   write: it gives up after as long, and is given `LAST_WORD_S` more, because it knows why.

Plain and without threads: the producer holds its lock around every call but that of `hold`, which copies megabytes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rolltape.schema.config import BudgetConfig
from rolltape.schema.errors import Fenced, RolltapeError, WriterStalled
from rolltape.schema.messages import Ack, FragmentHeader, ProducerKey, Watermark

RETRY_PAUSE_S = 0.1
"""Pause before fragments are sent again; a writer that restarts needs 0.5 s and more."""

LAST_WORD_S = 10.0
"""More than a failing commit and the pause after it take."""

Handle = Any
Payload = Any


class Link(Protocol):
    """The way to a writer: how a fragment is sent and answered. One implementation uses Ray, one is for tests."""

    def hold(self, batches: dict[str, Any]) -> Payload:
        """Copy the batches to where they can be sent from, as often as needed."""

    def append(self, header: FragmentHeader, payload: Payload) -> Handle:
        """Send a fragment; returns at once."""

    def answer(self, handle: Handle) -> Ack:
        """The answer of a call that is ready. Raises what the call raised."""
        ...

    def hurry(self, key: ProducerKey, sequence: int) -> None:
        """Ask the writer to commit what it has, and all up to `sequence` as soon as it comes; returns at once."""


@dataclass(slots=True)
class _Unacked:
    header: FragmentHeader
    payload: Payload
    opened_s: float
    handle: Handle = None


class Window:
    """What of one producer key is on its way.

    Attributes:
        durable: the key's watermark.
        inflight_bytes: bytes sent and not acknowledged; `inflight_high_bytes` the most so far.
        resent: fragments that were sent more than once.
        lag_s: age of the oldest row of the fragment that was acknowledged last; `lag_high_s` the most so far.
    """

    def __init__(
        self,
        key: ProducerKey,
        link: Link,
        config: BudgetConfig,
        *,
        budget_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key, self._link, self._config, self._clock = key, link, config, clock
        self.budget_bytes = budget_bytes
        self._unacked: deque[_Unacked] = deque()
        self._retry_at: float | None = None
        self._progress_at = clock()
        self._trouble: BaseException | None = None
        self.failed: RolltapeError | None = None
        self.durable = Watermark()
        self.inflight_bytes = 0
        self.inflight_high_bytes = 0
        self.resent = 0
        self.lag_s = 0.0
        self.lag_high_s = 0.0
        self.commit_s = 0.0

    def __len__(self) -> int:
        return len(self._unacked)

    @property
    def handles(self) -> list[Handle]:
        """The calls that are being answered."""
        return [u.handle for u in self._unacked if u.handle is not None]

    def fits(self, nbytes: int) -> bool:
        """Whether a fragment of `nbytes` may be sent now (rule 2)."""
        if not self._unacked:
            return True
        if self.inflight_bytes + nbytes > self.budget_bytes:
            return False
        return not self.late

    @property
    def late(self) -> bool:
        """Whether the oldest row on its way is older than may be: then nothing more is sent, and none is to be made."""
        if not self._unacked:
            return False
        return self._clock() - self._unacked[0].opened_s >= self._config.max_unacked_age_s

    def push(self, header: FragmentHeader, payload: Payload, opened_s: float) -> None:
        """Send a fragment that the link holds; `opened_s` is when its oldest row came, on the window's clock."""
        self.raise_if_failed()
        if not self._unacked:
            self._progress_at = self._clock()
        item = _Unacked(header, payload, opened_s)
        self._unacked.append(item)
        self.inflight_bytes += header.nbytes
        self.inflight_high_bytes = max(self.inflight_high_bytes, self.inflight_bytes)
        if self._retry_at is None:
            item.handle = self._link.append(header, item.payload)

    @property
    def retry_at(self) -> float | None:
        """When to send again what was refused or lost, on the window's clock; None: nothing was."""
        return self._retry_at

    def hurry(self) -> None:
        """The producer waits: ask for a commit of all that was sent."""
        if self._retry_at is None and self._unacked:
            newest = self._unacked[-1].header
            self._link.hurry(newest.key, newest.sequence)

    def answered(self, handle: Handle) -> None:
        """A call is ready: take its answer in."""
        try:
            ack = self._link.answer(handle)
        except RolltapeError as error:
            self.fail(error)
            return
        except Exception as error:  # the writer was killed, its node is gone: rule 3 sends again, rule 5 ends it
            self._trouble = error
            if any(u.handle is handle for u in self._unacked):
                self._go_back()
            return
        if ack.status == "durable":
            self._acknowledge(ack)
        elif ack.status == "fenced":
            self.fail(Fenced(f"Producer {self._key} was replaced by a newer incarnation and must stop."))
        elif any(u.handle is handle for u in self._unacked):
            self._go_back()

    def tick(self) -> None:
        """Send again what is due, and notice when nothing moves."""
        if self.failed is not None:
            return
        now = self._clock()
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            for item in self._unacked:
                item.handle = self._link.append(item.header, item.payload)
                self.resent += 1
        patience_s = self._config.give_up_s + LAST_WORD_S
        if self._unacked and now - self._progress_at > patience_s:
            cause = f" The last trouble: {self._trouble}" if self._trouble is not None else ""
            self.fail(
                WriterStalled(
                    f"The writer acknowledged nothing of producer {self._key} for {patience_s:g} s; "
                    f"{len(self._unacked)} fragments ({self.inflight_bytes:,} bytes) wait. What was acknowledged is "
                    f"safe. Check the disk, or raise budget.give_up_s.{cause}"
                )
            )

    def fail(self, error: RolltapeError) -> None:
        """Nothing more can be sent. The first error stands: it is the reason."""
        self.failed = self.failed or error

    def raise_if_failed(self) -> None:
        """Raise the error that ended this window, if one did."""
        if self.failed is not None:
            raise self.failed

    def _go_back(self) -> None:
        for item in self._unacked:
            item.handle = None
        self._retry_at = self._clock() + RETRY_PAUSE_S

    def _acknowledge(self, ack: Ack) -> None:
        now = self._clock()
        while self._unacked and self._unacked[0].header.sequence <= ack.sequence:
            item = self._unacked.popleft()
            header = item.header
            self.inflight_bytes -= header.nbytes
            self.durable = Watermark(header.sequence, header.steps_total, header.episodes_total)
            self.lag_s = now - item.opened_s
            self.lag_high_s = max(self.lag_high_s, self.lag_s)
            self._progress_at = now
        self.commit_s = ack.commit_s or self.commit_s  # a duplicate's answer does not say
