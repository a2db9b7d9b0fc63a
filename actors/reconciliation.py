"""The numbers of a run at its end: what was produced, what is durable, and what the ledger says is lost.

Rules:
1. produced = durable + declared lost, for every producer key. Produced stands in its page, durable in the writer's
   watermarks, lost in the ledger of the recording (rolltape/storage/ledger.py).
2. What the parts hold, counted from their footers, is what the watermarks say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.schema.mismatches import KINDS, MismatchCounts
from rolltape.storage.layout import RunFolder, list_tables
from rolltape.storage.ledger import Account, accounts, balance_text, read_losses, read_pages


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The numbers of one run.

    Attributes:
        rows: by table.
        books: the steps of every producer's life.
        completed: episodes that came to their end.
        mean_return: theirs; None where there are none.
        mismatches: counts of validation, by code.
        skipped: steps that were left out on purpose.
        wrong: what does not add up, one text each; empty where rules 1 and 2 hold.
    """

    rows: Mapping[str, int]
    books: tuple[Account, ...]
    completed: int
    mean_return: float | None
    mismatches: dict[str, int]
    skipped: int
    wrong: tuple[str, ...]

    @classmethod
    def of(cls, folder: RunFolder, durable: Mapping[ProducerKey, Watermark]) -> Reconciliation:
        """Count; `durable` is what the writer says. Everything received must be committed.

        Raises CorruptRecording, naming the part.
        """
        parts = list_tables(folder)
        rows = {table: sum(pq.read_metadata(p).num_rows for p in paths) for table, paths in parts.items()}
        books = tuple(accounts(read_pages(folder), durable, read_losses(folder)))
        wrong = [balance_text([book]) for book in books if not book.balanced]
        total = sum(mark.steps for mark in durable.values())
        if rows["steps"] != total:
            wrong.append(f"the parts hold {rows['steps']} steps, the watermarks say {total}")
        returns = _returns_of_completed(parts["episodes"])
        return cls(
            rows,
            books,
            len(returns),
            float(returns.to_numpy().mean()) if len(returns) else None,
            _mismatches(durable.values()),
            sum(mark.skipped for mark in durable.values()),
            tuple(wrong),
        )

    @property
    def lost_steps(self) -> int:
        """Steps that are declared lost."""
        return sum(book.lost for book in self.books)

    def by_key(self, lost_episodes: Mapping[ProducerKey, int]) -> dict[str, dict[str, int]]:
        """The accounts as `end.json` has them; `lost_episodes` of those producers that were replaced."""
        return {
            str(book.key): {
                "produced": book.durable + book.lost if book.produced is None else book.produced,
                "durable": book.durable,
                "lost": book.lost,
                "episodes_lost": lost_episodes.get(book.key, 0),
            }
            for book in self.books
        }


def _mismatches(marks: Iterable[Watermark]) -> dict[str, int]:
    counts = MismatchCounts()
    for mark in marks:
        for code, path, count in mark.mismatches:
            counts.add(KINDS[code], path, count)
    return dict(counts.by_code())


def _returns_of_completed(parts: list[Path]) -> pa.ChunkedArray:
    tables = [pq.read_table(path, columns=["return", "status"]) for path in parts]
    found = [table.filter(pc.field("status").cast("string") == "completed")["return"] for table in tables]
    return pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.float64())
