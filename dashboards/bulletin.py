"""What is told to everybody once: a ring of the newest, and a position for each listener instead of a queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Bulletin(Generic[T]):
    """The newest `room` items; memory does not depend on how many listen, or how slowly.

    Attributes:
        position: of the newest item, counted from 1; 0 before the first.
    """

    def __init__(self, room: int) -> None:
        self._items: deque[T] = deque(maxlen=room)
        self.position = 0

    def extend(self, items: Iterable[T]) -> None:
        """Tell these too."""
        for item in items:
            self._items.append(item)
            self.position += 1

    def after(self, position: int, most: int | None = None) -> tuple[list[T], int]:
        """The items behind a position, the newest `most` of them, and how many more there were that are left out."""
        told = self.position - position
        kept = min(told, len(self._items), told if most is None else most)
        return (list(self._items)[len(self._items) - kept :] if kept else []), told - kept
