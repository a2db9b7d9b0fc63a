"""The rows of one episode: which parts may have them, and the rows as they are stored, with their exact Arrow types."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import pyarrow as pa

from rolltape.schema.columns import table_schema
from rolltape.schema.errors import CorruptRecording, LakeNotFound

from .listing import LakeListing
from .part_files import open_part, part_errors
from .row_groups import RowGroups

T = TypeVar("T")


class EpisodeRows:
    """Finds the rows of single episodes in a lake; the footer of a part is read once. Threads may share it.

    Args:
        listing: which parts exist.
    """

    def __init__(self, listing: LakeListing) -> None:
        self._listing = listing
        self._indexes: dict[tuple[str, str], RowGroups] = {}
        self._lock = threading.Lock()

    def parts(self, run_id: str, table: str, episode: int) -> tuple[str, ...]:
        """The parts that may hold rows of the episode."""
        return tuple(dict.fromkeys(path for path, _ in once_more(self._listing, self._find, run_id, table, episode)))

    def read(self, run_id: str, table: str, episode: int) -> pa.Table:
        """The rows of the episode as the parts have them, in the order of `t` where the table has it.

        SQL is not used for this: it knows neither NUL nor case in the names of a struct's members.
        """
        return once_more(self._listing, self._read, run_id, table, episode)

    def between(self, run_id: str, table: str, columns: Sequence[str], **ranges: tuple[int, int]) -> pa.Table:
        """Some columns of the rows whose keys are in these ranges, both ends among them, as the parts have them.

        Rows beside them may come too: those of the same row groups. The order is that of the parts.
        """
        return once_more(self._listing, self._between, run_id, table, columns, ranges)

    def _between(
        self, run_id: str, table: str, columns: Sequence[str], ranges: Mapping[str, tuple[int, int]]
    ) -> pa.Table:
        with self._lock:
            found = self._index(run_id, table).between(**ranges)
        groups: dict[str, list[int]] = {}
        for path, group in found:
            groups.setdefault(path, []).append(group)
        tables: list[pa.Table] = []
        for path, wanted in groups.items():
            with part_errors(path), open_part(path) as file:
                tables.append(file.read_row_groups(wanted, columns=list(columns), use_threads=False))
        if not tables:
            empty = table_schema(table).empty_table()
            return empty.select([name for name in columns if name in empty.column_names])
        return pa.concat_tables(tables, promote_options="permissive")

    def _find(self, run_id: str, table: str, episode: int) -> list[tuple[str, int]]:
        with self._lock:
            return self._index(run_id, table).find(episode=episode)

    def _index(self, run_id: str, table: str) -> RowGroups:
        index = self._indexes.setdefault((run_id, table), RowGroups())
        index.update(self._listing.parts(run_id, table))
        return index

    def _read(self, run_id: str, table: str, episode: int) -> pa.Table:
        found: list[pa.Table] = []
        for path, group in self._find(run_id, table, episode):
            with part_errors(path), open_part(path) as file:
                rows = file.read_row_group(group)
            found.append(rows.filter(pa.array(rows.column("episode").to_numpy() == episode)))
        if not found:
            return table_schema(table).empty_table()
        rows = pa.concat_tables(found, promote_options="permissive")
        return rows.sort_by("t") if "t" in rows.column_names else rows


def once_more(listing: LakeListing, read: Callable[..., T], *args: object) -> T:
    """Call `read`, and once more on a new listing when a part vanished meanwhile (compaction)."""
    for attempt in (0, 1):
        try:
            return read(*args)
        except LakeNotFound:
            raise
        except FileNotFoundError as error:
            if attempt:
                raise CorruptRecording(f"A part vanished while it was read, twice: {error}") from error
            listing.forget()
    raise AssertionError("unreachable")
