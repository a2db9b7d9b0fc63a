"""Pictures on their way to one viewer of one stream: sent, and not yet shown.

Rules:
1. At most `depth` are under way. One more waits: the newest; a newer one takes its place.
2. The viewer says what it has shown cumulatively. Of those that one answer covers the newest was shown, the others were
   superseded in the viewer.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

LEAST: Final = 2
MOST: Final = 16


class Shown(NamedTuple):
    """What an answer of the viewer said: the picture shown (None: nothing new), how many older ones it took the place
    of, and how long ago the one shown was sent, in seconds."""

    sequence: int | None
    superseded: int
    latency_s: float


class FrameWindow:
    """One window.

    Args:
        depth: most pictures under way.
        clock: seconds, for latencies.

    Attributes:
        waiting: the newest that was not sent yet; None: all were.
    """

    def __init__(self, depth: int = 4, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.depth = depth
        self._clock = clock
        self._under_way: deque[tuple[int, float]] = deque()
        self.waiting: int | None = None

    @property
    def under_way(self) -> int:
        """Pictures sent and not yet shown."""
        return len(self._under_way)

    @property
    def has_room(self) -> bool:
        """Whether another one may be sent."""
        return len(self._under_way) < self.depth

    def offer(self, sequence: int) -> int | None:
        """A newer picture: it waits to be sent. The one whose place it takes, if there was one."""
        replaced, self.waiting = self.waiting, sequence
        return replaced

    def send(self) -> int | None:
        """The picture to send now, which is under way from here on; None where none waits or there is no room."""
        if self.waiting is None or not self.has_room:
            return None
        sequence, self.waiting = self.waiting, None
        self._under_way.append((sequence, self._clock()))
        return sequence

    def shown(self, up_to: int) -> Shown:
        """The viewer has drawn what was sent up to this number."""
        newest: tuple[int, float] | None = None
        covered = 0
        while self._under_way and self._under_way[0][0] <= up_to:
            newest = self._under_way.popleft()
            covered += 1
        if newest is None:
            return Shown(None, 0, 0.0)
        return Shown(newest[0], covered - 1, self._clock() - newest[1])

    def withdraw(self, sequence: int) -> bool:
        """A picture that `send` gave was not sent after all; False where it is not under way."""
        for place, (sent, _) in enumerate(self._under_way):
            if sent == sequence:
                del self._under_way[place]
                return True
        return False

    def clear(self) -> int:
        """Begin anew; how many were under way or waited."""
        gone = len(self._under_way) + (self.waiting is not None)
        self._under_way.clear()
        self.waiting = None
        return gone


def depth_for(hz: float, latency_s: float) -> int:
    """Pictures that must be under way so that `hz` a second arrive although each takes so long; 2 to 16."""
    return max(LEAST, min(MOST, math.ceil(hz * latency_s) + 1))
