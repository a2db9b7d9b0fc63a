"""An iterator that is read ahead by a thread, a bounded number of items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def prefetched(items: Iterable[T], ahead: int) -> Generator[T, None, None]:
    """The same items, of which up to `ahead` are read before they are asked for; what reading raises is raised here.

    The thread ends with the items, or when the generator is closed.
    """
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(ahead)
    leave = threading.Event()

    def put(last: bool, item: Any) -> None:
        while not leave.is_set():
            try:
                waiting.put((last, item), timeout=0.1)
                return
            except queue.Full:
                continue

    def read() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(False, item)
                if leave.is_set():
                    return
        except BaseException as raised:
            error = raised
        put(True, error)

    thread = threading.Thread(target=read, name="rolltape-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            last, item = waiting.get()
            if last:
                if item is not None:
                    raise item
                return
            yield item
    finally:
        leave.set()
        thread.join()
