"""What may be on its way: bytes for producers.

`share` divides a fixed number of bytes among producers: each gets at least an equal share as far as it needs it, and
what the slow ones do not need is there for the fast ones. A producer needs twice its rate times the commit latency
(with less, its own window holds it back) and gets no more than it needs: bytes beyond that would not make a slow writer
faster, only what waits for it older, and pages of the store that were used before are cheaper than fresh ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rolltape.schema.messages import ProducerKey

MIN_BYTES: Final = 1 << 20
HEADROOM: Final = 2.0
"""Times rate times latency: the least that does not throttle. More only makes rows older where the writer is the slower
one: with three times two seconds they were 6.6 s old at most, with twice one second 3.7 s, at a higher rate."""
LONGEST_COMMIT_S: Final = 1.0
"""A writer that takes longer is too slow: more bytes in flight would only make rows wait longer."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a producer's heartbeat says of its traffic: bytes a second, and seconds until a commit acknowledges them."""

    rate_bytes_s: float = 0.0
    commit_s: float = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes in flight with which its window does not hold it back."""
        return int(HEADROOM * self.rate_bytes_s * min(max(self.commit_s, 1.0), LONGEST_COMMIT_S))


def share(total_bytes: int, needs: Mapping[ProducerKey, Need], floor_bytes: int) -> dict[ProducerKey, int]:
    """Divide `total_bytes`: the sum of the grants never exceeds it (unless a producer's least, 1 MiB, makes it).

    Args:
        total_bytes: for all producers together.
        needs: of each living producer.
        floor_bytes: what each gets without asking, as far as the total goes.
    """
    grants: dict[ProducerKey, int] = {}
    left = total_bytes
    waiting = sorted(needs, key=lambda key: needs[key].nbytes)
    for place, key in enumerate(waiting):
        fair = left // (len(waiting) - place)
        grants[key] = max(MIN_BYTES, min(fair, max(floor_bytes, needs[key].nbytes)))
        left = max(0, left - grants[key])
    return grants
