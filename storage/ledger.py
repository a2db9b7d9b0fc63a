"""The ledger: what a recording knows of itself that it lacks, and the accounts that follow from it.

Rules:
1. produced = durable + lost, for every life of every producer. Produced stands in its page, durable in the watermarks,
   lost in the ledger, with causes whose stage is `lost`.
2. durable = in the parts + gone: what was durable once and is not there any more has causes whose stage is `gone`.
3. What cannot be known has `rows` null, and `at_most` where a bound is known.
4. Rows are only ever added. One loss is declared once: who declares looks first at what is declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.causes import CAUSES, cause_of
from rolltape.schema.columns import table_schema
from rolltape.schema.messages import ProducerKey, Watermark

from .layout import RunFolder, list_parts
from .pages import LastWords, read_page
from .part_files import open_part, part_errors

LEDGER_SCHEMA = table_schema("ledger")
OURS = -1
"""Producer number of what Rolltape itself adds to a run: declared losses. Its metrics have lower ones."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows that a recording lacks: one row of the ledger.

    Attributes:
        table: the table that lacks them.
        cause: a name of the table of causes.
        of: whose rows; None: of several producers.
        rows: how many; None: unknown, at most `at_most` (None: no bound is known).
        first_fragment, last_fragment: range of that producer's fragments, inclusive; None: unknown or never closed.
        first_step, last_step: range of its step counts, the first exclusive.
        first_time_us, last_time_us: UTC microseconds between which the rows were made; None: unknown.
        file: the part that held them, relative to the run.
        declared_us: UTC microseconds of the declaration.
        sub_env: the stream whose rows they are; -1: of several.
    """

    table: str
    cause: str
    of: ProducerKey | None = None
    rows: int | None = None
    at_most: int | None = None
    first_fragment: int | None = None
    last_fragment: int | None = None
    first_step: int | None = None
    last_step: int | None = None
    first_time_us: int | None = None
    last_time_us: int | None = None
    file: str | None = None
    declared_us: int = 0
    sub_env: int = -1

    @property
    def count(self) -> str:
        """How many rows, in words: `12 rows`, `unknown, at most 40 rows`."""
        if self.rows is not None:
            return f"{self.rows:,} rows"
        return "unknown" if self.at_most is None else f"unknown, at most {self.at_most:,} rows"

    def __str__(self) -> str:
        whose = f" of stream {self.sub_env}" if self.sub_env >= 0 else "" if self.of is None else f" of {self.of}"
        steps = ""
        if self.first_step is not None and self.last_step is not None and self.last_step > self.first_step:
            steps = f", its steps {self.first_step + 1:,} to {self.last_step:,}"
        held = f", held by {self.file}" if self.file else ""
        return f"{self.table}{whose}: {self.count} ({self.cause}){steps}{held}"

    @property
    def stage(self) -> str:
        """Stage of its cause; `lost` for a cause that a newer version knows."""
        return CAUSES[self.cause].stage if self.cause in CAUSES else "lost"


def ledger_batch(losses: Sequence[Loss], run_id: str, key: ProducerKey, fragment: int) -> pa.RecordBatch:
    """The losses as rows that `key` brings with that fragment. Raises ConfigError for a cause that is not in the
    table."""
    n = len(losses)
    for loss in losses:
        cause_of(loss.cause)
    values: dict[str, Any] = {
        "run_id": [run_id] * n,
        "agent_id": ["agent_0"] * n,
        "worker": [key.producer] * n,
        "incarnation": [key.incarnation] * n,
        "fragment": [fragment] * n,
        "sub_env": [loss.sub_env for loss in losses],
        "episode": [-1] * n,
        "table_name": [loss.table for loss in losses],
        "of_worker": [loss.of.producer if loss.of else None for loss in losses],
        "of_incarnation": [loss.of.incarnation if loss.of else None for loss in losses],
        "first_time": [loss.first_time_us for loss in losses],
        "last_time": [loss.last_time_us for loss in losses],
        "time": [loss.declared_us for loss in losses],
    }
    plain = ("cause", "rows", "at_most", "first_fragment", "last_fragment", "first_step", "last_step", "file")
    values |= {name: [getattr(loss, name) for loss in losses] for name in plain}
    return rows_batch(LEDGER_SCHEMA, values)


def rows_batch(schema: pa.Schema, values: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
    """A batch of `schema` from Python values; times are microseconds, strings become dictionaries where they are."""
    columns = []
    for field in schema:
        if pa.types.is_dictionary(field.type):
            column = pa.array(values[field.name], pa.string()).dictionary_encode().cast(field.type)
        elif pa.types.is_timestamp(field.type):
            column = pa.array(values[field.name], pa.int64()).cast(field.type)
        else:
            column = pa.array(values[field.name], field.type)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def read_losses(run: RunFolder) -> list[Loss]:
    """All declared losses, in the order of commits. Raises CorruptRecording, naming the part."""
    return [loss for path in list_parts(run, "ledger") for loss in losses_of_part(path)]


def losses_of_part(path: str | Path) -> list[Loss]:
    """The losses that one part of the ledger declares. Raises CorruptRecording, naming it."""
    with part_errors(str(path)), open_part(str(path)) as file:
        return [_loss(row) for row in file.read().to_pylist()]


def _loss(row: Mapping[str, Any]) -> Loss:
    worker, life = row.get("of_worker"), row.get("of_incarnation")
    return Loss(
        table=row["table_name"],
        cause=row["cause"],
        of=None if worker is None or life is None else ProducerKey(worker, life),
        rows=row["rows"],
        at_most=row.get("at_most"),
        first_fragment=row.get("first_fragment"),
        last_fragment=row.get("last_fragment"),
        first_step=row["first_step"],
        last_step=row["last_step"],
        first_time_us=_micros(row.get("first_time")),
        last_time_us=_micros(row.get("last_time")),
        file=row.get("file"),
        declared_us=_micros(row["time"]) or 0,
        sub_env=row["sub_env"] if row["cause"] in CAUSES and CAUSES[row["cause"]].stage == "unseen" else -1,
    )


def _micros(value: Any) -> int | None:
    return None if value is None else int(np.datetime64(value.replace(tzinfo=None), "us").astype(np.int64))


# ---- accounts ----


@dataclass(frozen=True, slots=True)
class Account:
    """The steps of one life of one producer.

    Attributes:
        key: whose.
        produced: as its page says; None: the page is lost or says less than is durable.
        durable: what the watermarks say.
        lost: declared as lost, where the number is known.
        unknown: a loss whose size is unknown was declared.
        gone: was durable and is declared as gone.
    """

    key: ProducerKey
    produced: int | None
    durable: int
    lost: int = 0
    unknown: bool = False
    gone: int = 0

    @property
    def undeclared(self) -> int | None:
        """Produced and neither durable nor declared; None where that is unknown and nothing says so."""
        if self.unknown:
            return 0
        return None if self.produced is None else self.produced - self.durable - self.lost

    @property
    def balanced(self) -> bool:
        """Whether rule 1 holds."""
        return self.undeclared == 0


def accounts(
    pages: Mapping[ProducerKey, LastWords],
    watermarks: Mapping[ProducerKey, Watermark],
    losses: Iterable[Loss],
    produced: Mapping[ProducerKey, int] | None = None,
) -> list[Account]:
    """The account of every producer's life that there was.

    Args:
        pages: what pages say.
        watermarks: what is durable.
        losses: what is declared.
        produced: what the end of the run noted as produced, for lives whose page is not there any more.
    """
    declared = [loss for loss in losses if loss.table == "steps" and loss.of is not None]
    keys = {key for key in (*pages, *watermarks, *(loss.of for loss in declared if loss.of)) if key.producer >= 0}
    found = []
    for key in sorted(keys):
        durable = watermarks.get(key, Watermark()).steps
        steps = pages[key].steps if key in pages else (produced or {}).get(key)
        own = [loss for loss in declared if loss.of == key]
        lost = [loss for loss in own if loss.stage == "lost"]
        found.append(
            Account(
                key=key,
                produced=None if steps is not None and steps < durable else steps,
                durable=durable,
                lost=sum(loss.rows or 0 for loss in lost),
                unknown=any(loss.rows is None for loss in lost),
                gone=sum(loss.rows or 0 for loss in own if loss.stage == "gone"),
            )
        )
    return found


def read_pages(run: RunFolder) -> dict[ProducerKey, LastWords]:
    """The pages of a run's producers that can be read and are named for who wrote them."""
    found = {}
    for path in sorted(run.producers.glob("p*.page")):
        words = read_page(path)
        if words is not None and path.stem == str(words.key):
            found[words.key] = words
    return found


def balance_text(wrong: Iterable[Account]) -> str:
    """What does not add up, in a line."""
    return "; ".join(
        f"{a.key}: produced {'unknown' if a.produced is None else a.produced}, durable {a.durable}, "
        f"declared lost {a.lost}"
        for a in wrong
    )
