"""Spaces that are not Gymnasium's own, and which of Gymnasium's stands for them.

1. A space of a class given to `substitute_space` is what that function returns.
2. Another that declares the dtype str is Text of any length. (MiniGrid's missions are such a space.)
3. Another that declares the shape and dtype of an array is a Box of all that the dtype holds.
4. Any other cannot be recorded. The values are recorded exactly all the same; what is lost is what the space
itself knew. The descriptor has its class under `stands_for`, which does not count for the signature.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces

LONGEST_TEXT: Final = 2**31 - 1

_substitutes: dict[type, Callable[[Any], gym.Space[Any]]] = {}


def substitute_space(space_class: type[gym.Space[Any]], substitute: Callable[[Any], gym.Space[Any]]) -> None:
    """Say which of Gymnasium's spaces stands for a space of one's own, in this process.

    Args:
        space_class: the class; its subclasses are meant too.
        substitute: takes a space of that class, returns a space of Gymnasium whose values have the same type,
            dtype and shape; for example `lambda space: Text(max_length=200, min_length=0)` for a space of
            sentences.
    """
    _substitutes[space_class] = substitute


def stand_in(space: Any) -> Any:
    """The space of Gymnasium that stands for this one; itself where it is one, or where none is known."""
    for space_class in type(space).__mro__:
        if space_class in _substitutes:
            return _substitutes[space_class](space)
        if space_class.__module__.startswith("gymnasium.spaces.") and space_class is not gym.Space:
            return space
    if not isinstance(space, gym.Space) or space.dtype is None:
        return space
    if space.dtype.kind == "U":
        return spaces.Text(LONGEST_TEXT, min_length=0, charset=string.printable)
    if space.dtype.kind in "biuf" and space.shape is not None:
        low, high = _range(space.dtype)
        return spaces.Box(low, high, space.shape, space.dtype)  # type: ignore[arg-type]
    return space


def _range(dtype: np.dtype) -> tuple[float, float] | tuple[int, int]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)
