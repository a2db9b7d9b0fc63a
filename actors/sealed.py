"""A fragment that takes no more rows, on its way from the rows that a producer fills to the batches that it sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa

Batches = dict[str, pa.RecordBatch]

SPARES: Final = 1
"""Sets of columns kept for the next fragment: one is filled while another is sent."""


class Sealed(Protocol):
    """What `seal` of rows gives. Nothing that is stepped afterwards changes it: any thread may make its batches."""

    @property
    def nbytes(self) -> int:
        """Bytes, about."""
        ...

    @property
    def oldest_ns(self) -> int:
        """When its oldest row came, by the producer's counter."""
        ...

    @property
    def bulky(self) -> bool:
        """Whether making batches is copying of large arrays, which leaves the interpreter to others."""
        ...

    def batches(self, fragment: int) -> Batches:
        """Its rows as record batches by table, without the tables that have none. Once."""
        ...

    def release(self) -> None:
        """The batches were copied: their memory may take other rows."""


@dataclass(frozen=True, slots=True)
class SealedCopy:
    """A fragment whose rows a copy of their owner still has. Implements `Sealed`."""

    make: Callable[[int], Batches]
    nbytes: int
    oldest_ns: int
    bulky: bool = False

    def batches(self, fragment: int) -> Batches:
        """As in `Sealed`."""
        return self.make(fragment)

    def release(self) -> None:
        """Nothing is used again."""
