"""Where the pictures of an episode lie: row groups by their ranges, then the keys of their rows."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .part_files import open_part, part_errors
from .row_groups import RowGroups

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


class FrameIndex(RowGroups):
    """The row groups of one run's frames. Not thread-safe; raises FileNotFoundError when a part has vanished."""

    def __init__(self) -> None:
        super().__init__()
        self._footers: OrderedDict[str, pq.FileMetaData] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int], Group] = OrderedDict()

    def group(self, path: str, group: int) -> Group:
        """The keys of a row group's rows."""
        found = self._groups.get((path, group))
        if found is None:
            with part_errors(path):
                table = self.open(path).read_row_group(
                    group, columns=["episode", "t", "kind", "format"], use_threads=False
                )
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
        file = open_part(path, metadata=self._footers.get(path))
        self._footers[path] = file.metadata
        self._footers.move_to_end(path)
        if len(self._footers) > REMEMBERED_FOOTERS:
            self._footers.popitem(last=False)
        return file


def _strings(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().cast(pa.string()).to_numpy(zero_copy_only=False)
