"""Where the pictures of an episode lie: which row groups of which parts, from the statistics in the footers.

A footer is read once. Of a row group only its ranges of sub_env, episode and t are kept (48 bytes), so that a run of
ten thousand parts stays cheap; which rows it has is read when it is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

KEYS: Final = ("sub_env", "episode", "t")
REMEMBERED_FOOTERS: Final = 256
REMEMBERED_GROUPS: Final = 1024


@dataclass(frozen=True, slots=True)
class Group:
    """The keys of one row group's rows.

    Attributes:
        path: the part.
        group: its number in the part.
        episode, t: int arrays, one value a row.
        kind, format: string arrays, one value a row.
    """

    path: str
    group: int
    episode: np.ndarray
    t: np.ndarray
    kind: np.ndarray
    format: np.ndarray


class FrameIndex:
    """The row groups of one run's frames. Not thread-safe; raises FileNotFoundError when a part has vanished."""

    def __init__(self) -> None:
        self._parts: tuple[str, ...] = ()
        self._ranges: dict[str, np.ndarray] = {}  # path -> int64[groups, keys, (min, max)]
        self._all = np.empty((0, len(KEYS), 2), np.int64)
        self._where: list[tuple[str, int]] = []
        self._footers: OrderedDict[str, pq.FileMetaData] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int], Group] = OrderedDict()

    def update(self, parts: Sequence[str]) -> None:
        """Take the run's present list of parts; reads the footers of those that are new."""
        parts = tuple(parts)
        if parts == self._parts:
            return
        self._ranges = {path: self._ranges[path] if path in self._ranges else self._read(path) for path in parts}
        self._all = np.concatenate([np.empty((0, len(KEYS), 2), np.int64), *self._ranges.values()])
        self._where = [(path, group) for path, ranges in self._ranges.items() for group in range(len(ranges))]
        self._parts = parts

    def find(self, episode: int, *, t: int | None = None, sub_env: int | None = None) -> list[tuple[str, int]]:
        """The row groups whose ranges may hold such rows, in the order of the parts."""
        may = np.ones(len(self._all), bool)
        for position, value in enumerate((sub_env, episode, t)):
            if value is not None:
                may &= (self._all[:, position, 0] <= value) & (value <= self._all[:, position, 1])
        return [self._where[i] for i in np.flatnonzero(may)]

    def group(self, path: str, group: int) -> Group:
        """The keys of a row group's rows."""
        found = self._groups.get((path, group))
        if found is None:
            table = self.open(path).read_row_group(group, columns=["episode", "t", "kind", "format"], use_threads=False)
            found = Group(
                path,
                group,
                table.column("episode").to_numpy(),
                table.column("t").to_numpy(),
                _strings(table.column("kind")),
                _strings(table.column("format")),
            )
            self._groups[path, group] = found
            if len(self._groups) > REMEMBERED_GROUPS:
                self._groups.popitem(last=False)
        else:
            self._groups.move_to_end((path, group))
        return found

    def open(self, path: str) -> pq.ParquetFile:
        """A part, without reading its footer again where that is remembered."""
        file = pq.ParquetFile(path, metadata=self._footers.get(path))
        self._footers[path] = file.metadata
        self._footers.move_to_end(path)
        if len(self._footers) > REMEMBERED_FOOTERS:
            self._footers.popitem(last=False)
        return file

    def _read(self, path: str) -> np.ndarray:
        footer = pq.read_metadata(path)
        ranges = np.empty((footer.num_row_groups, len(KEYS), 2), np.int64)
        ranges[:, :, 0], ranges[:, :, 1] = np.iinfo(np.int64).min, np.iinfo(np.int64).max
        names = footer.schema.names
        columns = [names.index(key) for key in KEYS]
        for group in range(footer.num_row_groups):
            row_group = footer.row_group(group)
            for position, column in enumerate(columns):
                statistics = row_group.column(column).statistics
                if statistics is not None and statistics.has_min_max:
                    ranges[group, position] = statistics.min, statistics.max
        return ranges


def _strings(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().cast(pa.string()).to_numpy(zero_copy_only=False)
