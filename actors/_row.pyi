"""What `_row.c` offers."""

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

import numpy as np

from .value_buffers import Expected

AGREEMENT: Final[int]
"""As `compiled_rows.AGREEMENT`, where both are of the same source."""
HAS_MONOTONIC: Final[int]
"""Whether it can read CLOCK_MONOTONIC itself."""

class Row:
    def expect(
        self,
        words: np.ndarray,
        steps_word: int,
        numpy: tuple[type, type, type, np.bool, np.bool],
        counter: Callable[[], int] | None,
        action: Expected,
        observation: Expected,
        /,
    ) -> None: ...
    def fill(
        self,
        actions: np.ndarray,
        observations: np.ndarray | None,
        rewards: np.ndarray,
        times: np.ndarray,
        capacity: int,
        /,
    ) -> None: ...
    def film(
        self,
        block: np.ndarray,
        noted: np.ndarray,
        filled: np.ndarray,
        known: np.ndarray,
        last: np.ndarray,
        most: int,
        /,
    ) -> None: ...
    def note(self, kinds: tuple[Any, Any, Any], most: int, /) -> None: ...
    def step(
        self,
        action: Any,
        observation: Any,
        reward: Any,
        terminated: Any,
        truncated: Any,
        info: dict[str, Any],
        render: Callable[[], Any] | None = None,
    ) -> bool: ...
    def total(self, start: int, initial: float, /) -> float: ...

class Step:
    def __new__(
        cls,
        rows: Row,
        env_step: Callable[[Any], Any],
        mutex: Lock,
        slow: Callable[[Any, Any], None],
        /,
    ) -> Step: ...
    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]: ...

def look(array: np.ndarray, /) -> tuple[int, int, tuple[int, ...], bool]: ...
