"""The columns of runs' tables as their parts carry them, and the SELECT that takes all of them that fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from .episode_rows import once_more
from .listing import LakeListing
from .part_files import open_part
from .queries import NOT_LAKE_WIDE, columns_of, common_columns, scan


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """The columns of a run's table.

    Attributes:
        ends: the parts that were looked at: the first and the newest.
        schema: the columns of the first, then what the newest has besides: a column may come with a newer writer.
        mixed: whether the two differ.
    """

    ends: tuple[str, str]
    schema: pa.Schema
    mixed: bool

    @classmethod
    def read(cls, first: str, newest: str) -> StoredSchema:
        """Open both parts. Raises as `open_part`."""
        with open_part(first) as one, open_part(newest) as other:
            schema, newer = one.schema_arrow, other.schema_arrow
        mixed = schema.names != newer.names or schema.types != newer.types
        for field in newer:
            if field.name not in schema.names:
                schema = schema.append(field)
        return cls((first, newest), schema, mixed)


class StoredSchemas:
    """The columns of all tables of a lake's runs; those of a table are read again only when it has a newer part."""

    def __init__(self, listing: LakeListing) -> None:
        self._listing = listing
        self._known: dict[tuple[str, str], StoredSchema] = {}

    def of(self, run_id: str, table: str) -> StoredSchema | None:
        """The columns of a run's table; None before its first commit."""
        return once_more(self._listing, self._read, run_id, table)

    def fields(self, table: str, run_ids: Sequence[str]) -> Mapping[str, pa.Field]:
        """The fields of a table by name where the runs have the very same ones, metadata too; else none."""
        stored = self._of_runs(table, run_ids)
        if stored and all(found.schema.equals(stored[0].schema, check_metadata=True) for found in stored):
            return {field.name: field for field in stored[0].schema}
        return {}

    def select(self, table: str, run_ids: Sequence[str], parts: Sequence[str]) -> str:
        """A SELECT from parts of some runs: all columns where the runs have the same ones, else the common ones."""
        stored = self._of_runs(table, run_ids)
        known = [columns_of(found.schema) for found in stored]
        columns = common_columns(table)
        if known and all(one == known[0] for one in known):
            columns = {name: kind for name, kind in known[0].items() if (table, name) not in NOT_LAKE_WIDE}
        return scan(parts, columns, self._listing.path / "runs", mixed=any(found.mixed for found in stored))

    def _of_runs(self, table: str, run_ids: Sequence[str]) -> list[StoredSchema]:
        return [found for run_id in run_ids if (found := self.of(run_id, table)) is not None]

    def _read(self, run_id: str, table: str) -> StoredSchema | None:
        listed = self._listing.parts(run_id, table)
        if not listed:
            return None
        found = self._known.get((run_id, table))
        if found is None or found.ends != (listed[0], listed[-1]):
            found = self._known[run_id, table] = StoredSchema.read(listed[0], listed[-1])
        return found
