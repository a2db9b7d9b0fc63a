"""STARVED and RESUMED of all viewers of a run, each once, however often it is reported.

The key is (viewer, stream, number). Numbers of a pair only grow, so that the newest one known is all that has to be
kept to tell a new transition from one that is reported again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from rolltape.schema.live_messages import ControlEvent

KEPT: Final = 10_000
"""Newest events that are kept to be told again."""

Pair = tuple[str, int]


class ControlLog:
    """Events in the order in which they became known; each has a position, from 1.

    Args:
        known: the newest number of each pair that was taken before, by somebody else.

    Attributes:
        position: of the newest event; 0 before the first.
    """

    def __init__(self, known: Mapping[Pair, int] | None = None, kept: int = KEPT) -> None:
        self._newest: dict[Pair, int] = dict(known or {})
        self._events: deque[ControlEvent] = deque(maxlen=kept)
        self.position = 0

    def add(self, event: ControlEvent) -> bool:
        """Take an event; False when its key is known."""
        pair = event.viewer, event.stream
        if event.number <= self._newest.get(pair, 0):
            return False
        self._newest[pair] = event.number
        self._events.append(event)
        self.position += 1
        return True

    def extend(self, events: Iterable[ControlEvent]) -> list[ControlEvent]:
        """Take events; those that are new."""
        return [event for event in events if self.add(event)]

    def after(self, position: int) -> list[ControlEvent]:
        """Events from behind that position on, as far as they are kept; all of them for one that is not ours."""
        if not 0 <= position <= self.position:
            position = 0
        missing = min(self.position - position, len(self._events))
        return list(self._events)[len(self._events) - missing :]
