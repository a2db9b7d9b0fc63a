"""Differences of recorded values and those of a replay: where the bits are others, and how far apart numbers are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .replayed import Divergence

ANOTHER: Final = ("a picture of a digest", "a picture of another one")


def first_row(was: np.ndarray, now: np.ndarray) -> int | None:
    """The first row in which two arrays of one shape and dtype have other bits."""
    if was.tobytes() == now.tobytes():
        return None
    n = len(was)
    a, b = (np.ascontiguousarray(x).reshape(n, -1).view(np.uint8) for x in (was, now))
    return int(np.flatnonzero((a != b).any(axis=1))[0])


def magnitude(a: Any, b: Any) -> float | None:
    """The largest absolute difference of two numbers or arrays of numbers that floats can hold, or None."""
    if isinstance(a, bool | np.bool_):
        return None
    try:
        x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return float(np.abs(x - y).max()) if x.shape == y.shape and x.size and a is not None else None
    except (TypeError, ValueError, OverflowError):
        return None


def same_bytes(a: np.ndarray, b: Any) -> bool:
    """Whether two arrays of one dtype have the same bytes in C order. Their shapes are not compared."""
    b = np.ascontiguousarray(b)
    if a.dtype != b.dtype or a.nbytes != b.nbytes:
        return False
    a = np.ascontiguousarray(a)
    if a.nbytes % 8:
        return a.tobytes() == b.tobytes()
    return bool((a.reshape(-1).view(np.int64) == b.reshape(-1).view(np.int64)).all())


def picture_difference(t: int, was: np.ndarray, now: Any) -> Divergence | None:
    """What differs between a recorded picture and one of a replay."""
    now = np.ascontiguousarray(now)
    if was.shape != now.shape or was.dtype != now.dtype:
        said = f"picture {was.dtype}{list(was.shape)}", f"{now.dtype}{list(now.shape)}"
        return Divergence(t, "observation", *said, None)
    if was.tobytes() == now.tobytes():
        return None
    values = int((was != now).sum())
    said = f"picture {was.dtype}{list(was.shape)}", f"one in which {values:,} of {was.size:,} values differ"
    return Divergence(t, "observation", *said, magnitude(was, now))
