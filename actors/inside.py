"""The inside of a vector environment: what is known of each sub-environment where the batch does not say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .vector_infos import Reader

Seeds = Callable[[int], int | None]
"""The seed with which a sub-environment was last reset, by its place; None: it was not seeded at that reset."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What whoever owns the sub-environments knows of each by its place, and the batch does not say.

    A vector environment's infos are arrays of the first value's type and shape: an int there turns a later 0.33 into 0,
    and an array of another shape raises. Read inside, they are what the environment gave.

    Attributes:
        seed: of its last reset; None where that was not seeded.
        step_info: info of its last step.
        reset_info: info of its last reset.
        last_picture: under SAME_STEP the picture of its last episode's end, where renders are recorded.
    """

    seed: Seeds
    step_info: Reader
    reset_info: Reader
    last_picture: Callable[[int], Any]
