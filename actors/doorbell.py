"""How one thread wakes another that waits for remote calls."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from typing import Any


class Doorbell:
    """Rung by any thread; one thread waits for it and for futures at the same time."""

    def __init__(self) -> None:
        self._rung: Future[Any] = Future()

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        try:
            self._rung.set_result(None)
        except InvalidStateError:
            pass  # it has been rung, and nobody has heard it yet

    def wait(self, futures: Iterable[Future[Any]], timeout_s: float) -> list[Future[Any]]:
        """Those of `futures` that are done, after at most `timeout_s`, or when one is done or the bell rings."""
        rung = self._rung
        done, _ = wait([*futures, rung], timeout_s, FIRST_COMPLETED)
        if rung.done():
            self._rung = Future()
        return [future for future in done if future is not rung]
