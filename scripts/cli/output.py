"""Rows on a terminal or in a file."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rolltape.schema.errors import ConfigError, StorageError
from rolltape.schema.log_section import shown

from .options import Format
from .query_errors import query_errors

if TYPE_CHECKING:
    from rich.console import Console

    from rolltape.storage.relation import Relation

ROWS_OF_A_TABLE = 20
MOST_ROWS = (1 << 63) - 1
"""What DuckDB counts to."""
WIDTH_OF_A_FILE = 400
"""Columns of a table that goes to a file or a pipe, where nothing should be cut off."""

NAMES = frozenset({"episode", "seed", "sub_env"})
"""Integers that are names, which nobody wants with thousands separators."""


def show(
    relation: Relation,
    *,
    where: str | None = None,
    order: str | None = None,
    form: Format,
    limit: int | None,
    output: Path | None,
    columns: Sequence[str] = (),
    newest: bool = False,
) -> None:
    """Print the rows of a relation, or write them to a file.

    Args:
        relation: the rows.
        where: of `--where`: only rows for which this holds.
        order: of `--order`: sorted by this.
        form: how to print them.
        limit: at most so many rows; 0 is all; None is 20 for a table and all otherwise.
        output: a file to write to; its suffix decides the form.
        columns: those that a table shows, all where empty; other forms always have all.
        newest: when there are more rows than the limit, keep the last instead of the first.
    """
    if limit is None:
        limit = ROWS_OF_A_TABLE if form is Format.table and output is None else 0
    limit = min(limit, MOST_ROWS)
    with query_errors(relation, where=where, order=order):
        rows = relation if where is None else relation.filter(where)
        rows = rows.order(order) if order else rows
        total = len(rows) if limit else 0
        shown = rows.limit(limit, max(0, total - limit) if newest else 0) if limit else rows
        if output is not None:
            _write(shown, output)
        elif form is Format.table:
            _print_table(shown.select(*columns) if columns else shown, total)
        elif form is Format.json:
            _write_json(shown, sys.stdout)
        else:
            _write_csv(shown, sys.stdout)


def facts(values: Mapping[str, Any]) -> None:
    """Print names and values below each other."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, cell(value))
    console().print(table)


def console() -> Console:
    """Where tables are printed: as wide as the terminal, wide enough for everything when there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, highlight=False, markup=False)


def cell(value: Any) -> str:
    """A value as a person reads it; texts as they are."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    return value if isinstance(value, str) else shown(value)


def _print_table(relation: Relation, total: int) -> None:
    from rich.table import Table

    from rolltape.storage.arrays import rows_to_python

    rows = relation.to_arrow()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for field in rows.schema:
        number = str(field.type).startswith(("int", "uint", "float", "double", "decimal"))
        table.add_column(field.name, justify="right" if number else "left", no_wrap=field.name == "run_id")
    for row in rows_to_python(rows):
        table.add_row(*(cell(row[n]) if n not in NAMES or row[n] is None else str(row[n]) for n in rows.column_names))
    console().print(table)
    if total > rows.num_rows:
        console().print(f"{rows.num_rows:,} of {total:,}; --limit 0 shows all", style="dim")


def _write(relation: Relation, path: Path) -> None:
    forms = {".parquet": _write_parquet, ".csv": _write_csv, ".json": _write_json}
    if path.suffix not in forms:
        raise ConfigError(f"--output: expected a file ending in {', '.join(forms)}, got {path}")
    try:
        if path.suffix == ".parquet":
            _write_parquet(relation, path)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                forms[path.suffix](relation, file)
    except FileNotFoundError as error:
        if path.parent.is_dir():
            raise StorageError(f"Cannot write {path}: {error.strerror}. Choose another file.") from error
        raise StorageError(f"Cannot write {path}: there is no folder {path.parent}. Make it first.") from None
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror or error}. Choose another file.") from error


def _write_parquet(relation: Relation, path: Any) -> None:
    import pyarrow.parquet as pq

    batches = iter(relation)
    schema = relation.schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_csv(relation: Relation, file: IO[str]) -> None:
    writer = csv.writer(file)
    writer.writerow(relation.columns)
    for row in _rows(relation):
        writer.writerow([value if isinstance(value, str | None) else _text(value) for value in row.values()])


def _write_json(relation: Relation, file: IO[str]) -> None:
    file.write("[")
    for number, row in enumerate(_rows(relation)):
        file.write((",\n " if number else "\n ") + json.dumps(row, default=_plain, ensure_ascii=False))
    file.write("\n]\n")


def _rows(relation: Relation) -> Iterable[dict[str, Any]]:
    from rolltape.storage.arrays import rows_to_python

    for batch in relation:
        yield from rows_to_python(batch)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, int | float) else json.dumps(_plain(value), default=_plain).strip('"')


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, dict | list) else str(value)
