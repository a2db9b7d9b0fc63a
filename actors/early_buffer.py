"""What arrives before somebody is ready to take it: the newest wait, those that find no room are counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class EarlyBuffer(Generic[T]):
    """Keeps items until `open` is called with who takes them; from then on it hands them through.

    Args:
        room: how many may wait; the oldest make room.

    Attributes:
        overflowed: how many went unseen for want of room.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._items: deque[T] = deque()
        self._take: Callable[[T], None] | None = None
        self.overflowed = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_open(self) -> bool:
        """Whether somebody takes what comes."""
        return self._take is not None

    def put(self, item: T) -> None:
        """Hand an item on, or let it wait."""
        if self._take is not None:
            self._take(item)
            return
        self._items.append(item)
        if len(self._items) > self._room:
            self._items.popleft()
            self.overflowed += 1

    def open(self, take: Callable[[T], None]) -> None:
        """Somebody is ready: give what waits, in its order, and then everything as it comes."""
        while self._items:
            take(self._items.popleft())
        self._take = take

    def close(self) -> None:
        """Nobody takes any more: what comes waits again."""
        self._take = None
