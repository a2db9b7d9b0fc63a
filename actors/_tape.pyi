from collections.abc import Callable
from typing import Any

import numpy as np

from .value_buffers import Expected

Column = tuple[str, Expected, np.ndarray, np.ndarray | None, int]

class Tape:
    def __new__(
        cls,
        numpy: tuple[type, type, type, np.bool, np.bool],
        observation: Column,
        reward: Column,
        terminated: Column,
        truncated: Column,
        infos: tuple[tuple[str, Column], ...],
        /,
    ) -> Tape: ...
    def observe(self, observations: np.ndarray, first: int, /) -> None: ...
    def is_observed(self, row: int, observation: Any, /) -> bool: ...
    def play(self, step: Callable[[Any], Any], actions: list[Any], row: int, /) -> tuple[int, Any]: ...
