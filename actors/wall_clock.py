"""The clock that rows are dated by."""

from __future__ import annotations

import time


class WallClock:
    """UTC in nanoseconds that never steps back: the wall clock at the start plus a monotonic counter."""

    def __init__(self) -> None:
        self.offset_ns = time.time_ns() - time.perf_counter_ns()

    def now_us(self) -> int:
        """UTC in microseconds."""
        return (time.perf_counter_ns() + self.offset_ns) // 1000
