"""Whether a fragment may be stored: it is what its header says, has the run's columns, and names who brings it."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.messages import FragmentHeader, ProducerKey, Watermark


class FragmentCheck:
    """The check of one writer. The columns of a table are those of the first fragment that brought it."""

    def __init__(self) -> None:
        self._schemas: dict[str, pa.Schema] = {}

    def __call__(
        self,
        header: FragmentHeader,
        batches: Mapping[str, pa.RecordBatch],
        received: Mapping[ProducerKey, Watermark],
    ) -> None:
        """Look at a fragment; `received` is what came of each producer key before it. Raises SchemaMismatch."""
        for table, expected in (("steps", header.steps), ("episodes", header.episodes)):
            found = batches[table].num_rows if table in batches else 0
            if found != expected:
                raise SchemaMismatch(
                    f"Fragment {header.sequence} of {header.key}: the header says {expected} rows of {table}, "
                    f"the batch has {found}."
                )
        for table, batch in batches.items():
            known = self._schemas.get(table)
            if known is None:
                if table not in TABLES:
                    raise SchemaMismatch(f"Fragment {header.sequence} of {header.key}: there is no table {table!r}.")
                self._schemas[table] = batch.schema
            elif not batch.schema.equals(known):
                raise SchemaMismatch(_difference(header, table, known, batch.schema))
            _check_brought(header, table, batch, received)


def _check_brought(
    header: FragmentHeader, table: str, batch: pa.RecordBatch, received: Mapping[ProducerKey, Watermark]
) -> None:
    """Rows name the fragment that brings them; an episode that another key left behind is covered by that key (rule 7
    of commits.py); ledger, logs and metrics speak of anything."""
    brought = (header.key.producer, header.key.incarnation, header.sequence)
    if table in ("ledger", "logs", "metrics") or _only(batch, brought):
        return
    columns = batch.select(["worker", "incarnation", "fragment"]).to_pydict().values()
    for worker, incarnation, fragment in sorted(set(zip(*columns, strict=True)) - {brought}):
        key = ProducerKey(worker, incarnation)
        known = received.get(key, Watermark()).sequence
        if table != "episodes" or key == header.key or fragment > known:
            raise SchemaMismatch(
                f"Fragment {header.sequence} of {header.key} brings rows of {table} that say they are of fragment "
                f"{fragment} of {key}, of which {known} were received. An episode's row may not come before its "
                f"steps; nothing of the fragment was stored."
            )


def _only(batch: pa.RecordBatch, brought: tuple[int, int, int]) -> bool:
    """Whether all rows have these values of worker, incarnation and fragment; microseconds, unlike a look at each."""
    for name, value in zip(("worker", "incarnation", "fragment"), brought, strict=True):
        found = pc.call_function("min_max", [batch.column(name)])
        if batch.num_rows and (found["min"].as_py() != value or found["max"].as_py() != value):
            return False
    return True


def _difference(header: FragmentHeader, table: str, expected: pa.Schema, found: pa.Schema) -> str:
    lines = [
        f"{name}: expected {_type(expected, name)}, found {_type(found, name)}"
        for name in dict.fromkeys([*expected.names, *found.names])
        if _type(expected, name) != _type(found, name)
    ] or [f"order of columns: expected {expected.names}, found {found.names}"]
    return (
        f"Fragment {header.sequence} of {header.key}: its {table} have not the columns of this run. "
        + "; ".join(lines)
        + ". Start a new run for another environment."
    )


def _type(schema: pa.Schema, name: str) -> str:
    index = schema.get_field_index(name)
    return str(schema.field(index).type) if index >= 0 else "no such column"
