"""One viewer of one stream: what it is given, what it has shown, and why it did not get the rest.

Rules:
1. `published = shown + skipped by cause + in flight`, always. In flight is what waits to be sent or was sent.
2. An event is refused before it is published for want of credit (`no_credit`), to somebody who does not look
   (`viewer_hidden`), or because the viewer asked for fewer (`view_throttle`).
3. Afterwards it is shown, or a newer one takes its place (`conflated` here, `superseded` in the viewer), or it cannot
   be encoded (`encode_error`), or the viewer goes (`disconnected`) or looks elsewhere (`no_viewer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rolltape.schema.causes import cause_of

from .credit_pool import CreditPool
from .frame_window import FrameWindow, Shown

EARLY: Final = 1.0
"""A sample may come so many intervals before its time, because samples jitter; over time the rate holds."""


class LivePair:
    """One (viewer, stream).

    Args:
        pool: its credits.
        window: its pictures under way.
        clock: seconds, for the rate that the viewer asked for.

    Attributes:
        published, shown: events so far.
        skipped: events so far by cause.
        newest: sequence of the newest event offered, 0 before.
        watching: subscribed, and the viewer is there.
        hidden: the viewer does not look.
        interval_s: least time between two events.
    """

    def __init__(self, pool: CreditPool, window: FrameWindow, *, clock: Callable[[], float]) -> None:
        self.pool, self.window = pool, window
        self._clock = clock
        self.published = self.shown = 0
        self.skipped: dict[str, int] = {}
        self.newest = 0
        self.watching = True
        self.hidden = False
        self.interval_s = 0.0
        self._next_at = float("-inf")

    @property
    def in_flight(self) -> int:
        """Events that wait to be sent, or were sent and not shown."""
        return self.window.under_way + (self.window.waiting is not None)

    @property
    def takes_more(self) -> bool:
        """Somebody looks, and has credits."""
        return self.watching and not self.hidden and not self.pool.is_starved

    def offer(self, sequence: int) -> bool:
        """A newer event of the stream; whether it now waits to be sent."""
        if not self.watching or sequence <= self.newest:
            return False
        self.newest = sequence
        self.published += 1
        if self.hidden:
            self._skip("viewer_hidden")
            return False
        now = self._clock()
        if now < self._next_at - EARLY * self.interval_s:
            self._skip("view_throttle")
            return False
        if not self.pool.consume(sequence):
            self._skip("no_credit")
            return False
        self._next_at = max(now, self._next_at) + self.interval_s
        if self.window.offer(sequence) is not None:
            self._skip("conflated")
        return True

    def send(self) -> int | None:
        """The event to send now; None where there is none, or the viewer has enough under way."""
        return None if self.hidden else self.window.send()

    def rendered(self, up_to: int) -> Shown:
        """The viewer has shown what was sent up to this number; what that says of single events."""
        said = self.window.shown(up_to)
        if said.sequence is None:
            return said
        self.shown += 1
        self._skip("superseded", said.superseded)
        self.pool.returned(said.sequence)
        return said

    def fail(self, sequence: int) -> None:
        """An event that `send` gave could not be encoded."""
        if self.window.withdraw(sequence):
            self._skip("encode_error")
            self.pool.discharge(sequence)

    def hide(self, hidden: bool) -> None:
        """The viewer looks away, or looks again; what waits is not sent to who does not look."""
        self.hidden = hidden
        if hidden and self.window.waiting is not None:
            self.pool.discharge(self.window.waiting)
            self.window.waiting = None
            self._skip("viewer_hidden")

    def leave(self, cause: str) -> None:
        """The viewer is gone, or has this stream no longer in view: what was in flight will not be shown."""
        self._skip(cause, self.window.clear())
        self.watching = False

    def come_back(self) -> None:
        """The viewer is here again: its window is empty, and all credits are there."""
        self.watching = True
        self.newest = 0  # what it was shown before, its page may have forgotten
        self._next_at = float("-inf")
        self.pool.reset()

    def _skip(self, cause: str, count: int = 1) -> None:
        if count:
            name = cause_of(cause).name
            self.skipped[name] = self.skipped.get(name, 0) + count
