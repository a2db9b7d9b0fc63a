"""Items that are made while others are used: decoding lets go of the interpreter, so that two cores share the work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

_END: Final = object()


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in the same order; a thread makes the next one meanwhile, and no more than that.

    Raises what making an item raises, in its place. The thread ends with the iterator.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        following = pool.submit(next, items, _END)
        while (item := following.result()) is not _END:
            following = pool.submit(next, items, _END)
            yield item  # type: ignore[misc]
