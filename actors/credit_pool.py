"""Credits for events on their way to one consumer of one stream.

Rules:
1. Consume before publish: an event that gets no credit is not published.
2. Credits return cumulatively: `returned(k)` gives back all that was published up to k, shown or replaced by newer.
3. At 0 the pool is STARVED and publishes nothing; when half of it is free again it is RESUMED. In between it is silent.
4. Transitions are numbered from 1: odd ones are STARVED, even ones RESUMED.
5. A consumer that returns credits when only `low_water` are left is far away, not frozen: it is granted half as many
   more, up to the cap, so that it does not starve for its distance.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

Transition = Literal["STARVED", "RESUMED"]
INITIAL: Final = 200
LOW_WATER: Final = 10
CAP_FACTOR: Final = 2


class CreditPool:
    """One pool. Sequence numbers grow; they may have holes.

    Args:
        size: credits at the start.
        low_water: so few credits are a sign that the pool is small for its consumer.
        cap: most that grants raise `size` to; None: twice `size`.
        say: called with each transition, its number and its time.
        clock: seconds of the times of transitions, grants and consumes.

    Attributes:
        size: credits when nothing is under way.
        is_starved: between STARVED and RESUMED.
        transitions: the number of the newest transition, 0 before the first.
        last_grant, last_consume: when credits last came back and were last taken; None before.
    """

    def __init__(
        self,
        size: int = INITIAL,
        low_water: int = LOW_WATER,
        cap: int | None = None,
        *,
        say: Callable[[Transition, int, float], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.size, self._low_water = size, low_water
        self._cap = CAP_FACTOR * size if cap is None else cap
        self._say, self._clock = say, clock
        self._under_way: deque[list[int]] = deque()
        """Ranges of sequence numbers, both ends inclusive; each is without holes."""
        self._taken = 0
        self.is_starved = False
        self.transitions = 0
        self.last_grant: float | None = None
        self.last_consume: float | None = None
        self._starved_s = self._starved_at = 0.0

    @property
    def credits(self) -> int:
        """How many events may be published now, were the pool not starved; 0 to `size`."""
        return self.size - self._taken

    @property
    def is_low(self) -> bool:
        """Whether the pool will starve if its consumer does not soon return credits."""
        return not self.is_starved and self.credits <= self._low_water

    @property
    def starved_s(self) -> float:
        """Seconds spent starved so far."""
        return self._starved_s + (self._clock() - self._starved_at if self.is_starved else 0.0)

    @property
    def resume_at(self) -> int:
        """Credits at which a starved pool is RESUMED: half of it, rounded up."""
        return (self.size + 1) // 2

    def consume(self, sequence: int) -> bool:
        """Take a credit for the event of that number; False when there is none, and it must not be published.

        Raises ValueError for a number that is not above all before.
        """
        if self._under_way and sequence <= self._under_way[-1][1]:
            raise ValueError(f"event {sequence} comes after event {self._under_way[-1][1]}")
        if self.is_starved:
            return False
        if self._under_way and self._under_way[-1][1] == sequence - 1:
            self._under_way[-1][1] = sequence
        else:
            self._under_way.append([sequence, sequence])
        self._taken += 1
        self.last_consume = self._clock()
        if self.credits == 0:
            self._turn(True)
        return True

    def returned(self, up_to: int) -> int:
        """The consumer has shown everything up to this number, or something newer in its place; how many came back."""
        back, was_low = 0, self.is_low
        while self._under_way and self._under_way[0][0] <= up_to:
            first, last = self._under_way[0]
            if last <= up_to:
                self._under_way.popleft()
                back += last - first + 1
            else:
                self._under_way[0][0] = up_to + 1
                back += up_to + 1 - first
        self._give_back(back)
        if back and was_low:
            self.size = min(self._cap, self.size + (self.size + 1) // 2)
        return back

    def discharge(self, sequence: int) -> bool:
        """One event will never be shown, whatever becomes of others: its credit comes back. False where it has none."""
        for place in range(len(self._under_way) - 1, -1, -1):
            first, last = self._under_way[place]
            if first <= sequence <= last:
                parts = [part for part in ([first, sequence - 1], [sequence + 1, last]) if part[0] <= part[1]]
                del self._under_way[place]
                for part in reversed(parts):
                    self._under_way.insert(place, part)
                self._give_back(1)
                return True
        return False

    def reset(self) -> int:
        """The consumer begins anew: nothing is under way; how many credits came back."""
        back = self._taken
        self._under_way.clear()
        self._give_back(back)
        return back

    def _give_back(self, count: int) -> None:
        if count:
            self._taken -= count
            self.last_grant = self._clock()
        if self.is_starved and self.credits >= self.resume_at:
            self._turn(False)

    def _turn(self, starved: bool) -> None:
        now = self._clock()
        self.is_starved = starved
        self.transitions += 1
        if starved:
            self._starved_at = now
        else:
            self._starved_s += now - self._starved_at
        if self._say is not None:
            self._say("STARVED" if starved else "RESUMED", self.transitions, now)
