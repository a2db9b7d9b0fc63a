"""What DuckDB says of a wrong query or condition, as one of our errors: never with SQL that the user did not write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rolltape.schema.errors import ConfigError
from rolltape.schema.near_names import did_you_mean

if TYPE_CHECKING:
    import duckdb

    from rolltape.storage.relation import Relation


@contextmanager
def query_errors(rows: Relation, *, where: str | None = None, order: str | None = None) -> Iterator[None]:
    """Raise ConfigError for what DuckDB refuses.

    Args:
        rows: those that are asked for, before the options.
        where: of `--where`.
        order: of `--order`.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise ConfigError(_of_options(error, rows, where, order) or _of_a_query(error, rows)) from error


def _of_a_query(error: duckdb.Error, rows: Relation) -> str:
    if (unknown := re.search(r"Table with name (\S+) does not exist", str(error))) is not None:
        return f"sql: no table named {unknown[1]}. There are {', '.join(sorted(rows.engine.names))}."
    said = _in_a_line(error)
    if (unknown := re.search(r'Referenced column "(.+?)" not found', said)) is None:
        return f"sql: {said}"
    found = re.search("Candidate bindings: (.+)", said)
    near = f" Near are {found[1]}." if found else ""
    return (
        f"sql: no column {unknown[1]} in what is asked.{near} `describe TABLE` lists those "
        "that all runs have; what the spaces of a run bring with them Python gives: lake.steps(run), "
        "lake.episodes(run=run)."
    )


def _in_a_line(error: duckdb.Error) -> str:
    """Without the kind of error, and without the statement around the user's."""
    said = " ".join(str(error).partition("\n\nLINE ")[0].split())
    return said.partition(": ")[2] or said


def _of_options(error: duckdb.Error, rows: Relation, where: str | None, order: str | None) -> str:
    """What is wrong with the first option that is refused; empty where it is none."""
    import duckdb

    not_theirs = duckdb.IOException | duckdb.OutOfMemoryException | duckdb.InternalException | duckdb.FatalException
    given = {option: text for option, text in (("--where", where), ("--order", order)) if text is not None}
    if not given or isinstance(error, not_theirs):
        return ""
    for option, text in given.items():
        try:
            # Parsed alone first: of a condition in brackets DuckDB would name the bracket.
            duckdb.extract_statements(f"SELECT * FROM _ {'WHERE' if option == '--where' else 'ORDER BY'} {text}")
            (rows.filter(text) if option == "--where" else rows.order(text)).limit(0).to_arrow()
        except duckdb.Error as refusal:
            return f"{option} {text!r}: {_said(refusal, text, rows)}"
    return f"{' '.join(f'{option} {text!r}' for option, text in given.items())}: {_said(error, '', rows)}"


def _said(error: duckdb.Error, text: str, rows: Relation) -> str:
    if (unknown := re.search(r'Referenced column "(.+?)" not found', str(error))) is None:
        return _in_a_line(error)
    name, columns = unknown[1], rows.columns
    quoted = f" A text stands in single quotes: '{name}'." if f'"{name}"' in text else ""
    return f"no column {name}.{did_you_mean(name, columns)} There are {', '.join(columns)}.{quoted}"
