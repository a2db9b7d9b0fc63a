"""The open fragment as its producer sees it: `SingleRows`, `VectorRows`, and what stands before them."""

from __future__ import annotations

from typing import Protocol

from .sealed import Sealed


class OpenFragment(Protocol):
    """Rows that are counted, aborted and sealed."""

    rows: int
    episodes: int
    completed: int
    return_sum: float
    oldest_ns: int | None

    @property
    def steps(self) -> int:
        """Steps recorded since the start."""
        ...

    @property
    def frames(self) -> int:
        """Pictures recorded since the start."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        ...

    def due(self, now_ns: int) -> bool:
        """Whether its oldest row is too old to wait any longer."""
        ...

    def abort(self) -> None:
        """Close the open episodes as `aborted`."""

    def hasten(self) -> None:
        """From now on every step asks for its fragment to be closed."""

    def relax(self) -> None:
        """Fragments are closed when they are full again."""

    def seal(self) -> Sealed | None:
        """The open fragment, and empty again; None where there is nothing in it."""
        ...
