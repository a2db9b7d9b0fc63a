"""Whether code in C holds on to what it is given, or forgets to give memory back."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Sequence


def assert_nothing_leaks(run: Callable[[], None], watched: Sequence[object], *, least_grown_bytes: int) -> None:
    """References to `watched` are as many after three calls of `run` as before, and one call at least grows by less.

    What is made once (by Python, or new memory of fragments) is made by the first calls.
    """
    gc.collect()
    counts = [sys.getrefcount(one) for one in watched]
    tracemalloc.start()
    grown: list[int] = []
    for _ in range(3):
        before = tracemalloc.get_traced_memory()[0]
        run()
        gc.collect()
        grown.append(tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()
    assert [sys.getrefcount(one) for one in watched] == counts
    assert min(grown) < least_grown_bytes
