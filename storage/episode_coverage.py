"""Whether episodes have all their rows, each once, as the parts of a table hold them.

A segment is (episode, first t, last t): consecutive rows of one episode that lie together in one part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .part_checks import NO_SEGMENTS


@dataclass(frozen=True, slots=True)
class Incomplete:
    """An episode whose rows are not what they should be.

    Attributes:
        expected, rows: how many there should be, and are.
        holed: they do not go from 0 on without a hole.
        others: how many more episodes are like it.
    """

    episode: int
    expected: int
    rows: int
    holed: bool
    others: int


def in_order(found: Sequence[np.ndarray]) -> np.ndarray:
    """The segments of all parts of a table, int64 (n, 3), sorted by episode and t."""
    there = [segments for segments in found if len(segments)]
    segments = np.concatenate(there) if there else NO_SEGMENTS
    return segments[np.lexsort((segments[:, 1], segments[:, 0]))]


def stored_twice(segments: np.ndarray) -> np.ndarray:
    """Numbers of the episodes of which two segments overlap; `segments` are in order."""
    same = segments[1:, 0] == segments[:-1, 0]
    return np.unique(segments[1:, 0][same & (segments[1:, 1] <= segments[:-1, 2])])


def first_incomplete(
    segments: np.ndarray, number: np.ndarray, expected: np.ndarray, thinned: np.ndarray
) -> Incomplete | None:
    """The first episode that does not have its rows; None where all have.

    Args:
        segments: in order.
        number, expected: int64 (n,), the episodes and how many rows each should have, from t = 0 without a hole.
        thinned: numbers of the episodes in which holes were made on purpose.
    """
    episodes, rows, holes = _coverage(segments)
    at = np.searchsorted(episodes, number)
    at[at == len(episodes)] = len(episodes) - 1
    known = episodes[at] == number if len(episodes) else np.zeros(len(number), bool)
    have = np.where(known, rows[at], 0) if len(episodes) else np.zeros(len(number), np.int64)
    holed = known & holes[at] if len(episodes) else known
    holed &= ~np.isin(number, thinned)
    wrong = np.flatnonzero((have != expected) | holed)
    if not len(wrong):
        return None
    first = wrong[0]
    return Incomplete(int(number[first]), int(expected[first]), int(have[first]), bool(holed[first]), len(wrong) - 1)


def _coverage(segments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The episodes of segments sorted by episode and t: their numbers, rows, and whether these do not go from 0 on
    without a hole."""
    if not len(segments):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool)
    episode, first, last = segments.T
    new = np.concatenate([[True], episode[1:] != episode[:-1]])
    hole = np.where(new, first != 0, np.concatenate([[False], first[1:] != last[:-1] + 1]))
    at = np.flatnonzero(new)
    return episode[at], np.add.reduceat(last - first + 1, at), np.logical_or.reduceat(hole, at)
