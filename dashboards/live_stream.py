"""One stream as the gateway has it: who produces it, its newest item, and what was published and shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rolltape.actors.credit_pool import CreditPool
from rolltape.schema.live_messages import LiveItem


@dataclass(slots=True)
class LiveStream:
    """One stream.

    Attributes:
        owner: key of its producer as text, "" where none is known.
        sequence: of the newest item; what was published in this gateway's life is counted here.
        base: what has to be added to the producer's sequence numbers.
        item: the newest.
        encoded: what it was encoded to, by whatever tells the ways apart.
        kind: of its render payload; rgb where there is a picture. Before its first item: that of the first item
            of all, because a page that shows many pictures as one has to know of them before it asks for them.
        pool: the gateway's own credits.
        refused: events that its producer could not publish, by cause, of all its lives.
    """

    index: int
    pool: CreditPool
    owner: str = ""
    worker: int = 0
    kind: str = "text"
    sequence: int = 0
    base: int = 0
    published: int = 0
    shown: int = 0
    item: LiveItem | None = None
    encoded: dict[Any, Any] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    episode: int | None = None
    t: int | None = None
    returns: float | None = None

    @property
    def limit(self) -> int:
        """How many events its producer may have published in all, in its own numbers."""
        return self.sequence - self.base + (0 if self.pool.is_starved else self.pool.credits)

    @property
    def held(self) -> int:
        """Number of its present producer's newest picture, which is here; 0 where none is."""
        return 0 if self.item is None or self.item.picture is None else self.sequence - self.base
