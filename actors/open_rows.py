"""What every owner of an open fragment counts."""

from __future__ import annotations

from collections.abc import Iterable

from rolltape.schema.config import FragmentConfig
from rolltape.schema.spaces import SpaceCodec

ROW_OVERHEAD_BYTES = 64
"""Arrow bytes of the key, time, reward and flag columns of one steps row."""


class OpenRows:
    """Rows of a producer: those of the open fragment, and what was before them.

    Attributes:
        rows: steps in the open fragment.
        episodes, completed: rows of episodes since the start, and those of them that ended by themselves.
        return_sum: of the completed.
        oldest_ns: when the open fragment's oldest row came, by the producer's counter; None: it is empty.
    """

    def __init__(self, config: FragmentConfig) -> None:
        self._config = config
        self._before = 0
        self.rows = self.episodes = self.completed = 0
        self.return_sum = 0.0
        self.oldest_ns: int | None = None
        self._limit = self._bar = self._room = 0
        """Where a step says that the fragment is full, where it is, and how much it has room for: the first is 0 while
        a look is wanted, the second while nothing more is to be taken. In rows, or in calls of a vector environment."""

    @property
    def prompted(self) -> bool:
        """Whether steps return True for another reason than a full fragment."""
        return self._limit != self._bar

    def prompt(self) -> None:
        """The next step returns True whether or not the fragment is full; `full` says which, `settle` ends it."""
        self._limit = 0

    def settle(self) -> None:
        """Steps return True again when the fragment is full, and only then."""
        self._limit = self._bar

    def hasten(self) -> None:
        """From now on every step asks for its fragment to be closed."""
        self._limit = self._bar = 0

    def relax(self) -> None:
        """Fragments are closed when they are full again."""
        self._limit = self._bar = self._room

    @property
    def steps(self) -> int:
        """Steps recorded since the start."""
        return self._before + self.rows

    def due(self, now_ns: int) -> bool:
        """True when the oldest row of the open fragment is older than `fragment.max_age_s`."""
        return self.oldest_ns is not None and now_ns - self.oldest_ns >= self._config.max_age_s * 1e9

    def _began(self, now_ns: int) -> None:
        if self.oldest_ns is None:
            self.oldest_ns = now_ns

    def _emptied(self) -> None:
        self._before, self.rows, self.oldest_ns = self._before + self.rows, 0, None


def row_bytes(codecs: Iterable[SpaceCodec]) -> int:
    """Bytes of a steps row with values of these spaces, without parts that may have any size."""
    return ROW_OVERHEAD_BYTES + sum(leaf.nbytes for codec in codecs for leaf in codec.leaves)
