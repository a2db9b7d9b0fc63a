"""Which row groups of which parts may hold an episode, from the statistics in the footers of one run's table.

A footer is read once. Of a row group only its ranges of sub_env, episode and t are kept (48 bytes), so that a run of
ten thousand parts stays cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from .part_files import open_part

KEYS: Final = ("sub_env", "episode", "t")
NOTHING_KNOWN: Final = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)


class RowGroups:
    """The row groups of one table of one run. Not thread-safe.

    Args:
        keys: the columns whose ranges are kept; each an integer column of the table.
    """

    def __init__(self, keys: Sequence[str] = KEYS) -> None:
        self._keys = tuple(keys)
        self._none = np.empty((0, len(self._keys), 2), np.int64)
        self._parts: tuple[str, ...] = ()
        self._ranges: dict[str, np.ndarray] = {}  # path -> int64[groups, keys, (min, max)]
        self._all = self._none
        self._where: list[tuple[str, int]] = []

    def update(self, parts: Sequence[str]) -> None:
        """Take the present list of parts; reads the footers of those that are new.

        Raises FileNotFoundError when one has vanished.
        """
        parts = tuple(parts)
        if parts == self._parts:
            return
        known = self._ranges
        self._ranges = {path: known[path] if path in known else self._read(path) for path in parts}
        self._all = np.concatenate([self._none, *self._ranges.values()])
        self._where = [(path, group) for path, ranges in self._ranges.items() for group in range(len(ranges))]
        self._parts = parts

    def find(self, **values: int | None) -> list[tuple[str, int]]:
        """(part, number) of the row groups that may hold rows with these values of the keys, in the parts' order."""
        may = np.ones(len(self._all), bool)
        for key, value in values.items():
            if value is not None:
                ranges = self._all[:, self._keys.index(key)]
                may &= (ranges[:, 0] <= value) & (value <= ranges[:, 1])
        return [self._where[i] for i in np.flatnonzero(may)]

    def between(self, **ranges: tuple[int, int]) -> list[tuple[str, int]]:
        """(part, number) of the row groups that may hold rows with keys in these ranges, both ends among them."""
        may = np.ones(len(self._all), bool)
        for key, (first, last) in ranges.items():
            has = self._all[:, self._keys.index(key)]
            may &= (has[:, 0] <= last) & (first <= has[:, 1])
        return [self._where[i] for i in np.flatnonzero(may)]

    def _read(self, path: str) -> np.ndarray:
        with open_part(path) as part:
            footer = part.metadata
        ranges = np.empty((footer.num_row_groups, len(self._keys), 2), np.int64)
        ranges[:] = NOTHING_KNOWN
        places = {footer.schema.column(i).path: i for i in range(len(footer.schema))}
        for group in range(footer.num_row_groups):
            row_group = footer.row_group(group)
            for position, key in enumerate(self._keys):
                statistics = row_group.column(places[key]).statistics if key in places else None
                if statistics is not None and statistics.has_min_max:
                    ranges[group, position] = statistics.min, statistics.max
        return ranges
