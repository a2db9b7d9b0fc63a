"""A limit on steps a second: whoever steps faster is held back; nothing is left out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Pace:
    """Holds steps back to a rate.

    Args:
        steps_per_s: at most; above 0.
        clock: seconds that never go back.
        sleep: waits so many seconds.

    Attributes:
        waited_s: seconds that were waited so far.
    """

    def __init__(
        self,
        steps_per_s: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._between_s = 1.0 / steps_per_s
        self._clock, self._sleep = clock, sleep
        self._due_s = clock()
        self.waited_s = 0.0

    def begin(self) -> None:
        """The next step is due one interval from now."""
        self._due_s = self._clock()

    def wait(self, steps: int = 1) -> None:
        """Wait until so many steps are due. What came late is made up for by one call at most, not by a burst."""
        between_s = self._between_s * steps
        now = self._clock()
        self._due_s = max(self._due_s + between_s, now - between_s)
        if self._due_s > now:
            self._sleep(self._due_s - now)
            self.waited_s += self._due_s - now

    def around(self, step: Callable[[Any], Any], steps: int = 1) -> Callable[[Any], Any]:
        """`step`, held back before each call, which takes so many steps."""

        def paced(action: Any) -> Any:
            self.wait(steps)
            return step(action)

        return paced
