"""One DuckDB in memory for a lake: the views that SQL sees, and how a query runs while the lake changes.

Rules:
1. A scan names its parts one by one, never by a glob: exactly what exists (layout.py), as of the moment of running.
2. A scan says which columns it expects, so nothing is opened before the query runs, a part that lacks a younger column
   gives null, and runs whose spaces differ can be read together by what they have in common.
3. `run_id` is taken from the path: a condition on it leaves out the parts of other runs without opening them.
4. A part that vanishes between listing and reading (compaction) makes the query start again, once, on a new listing.
5. Each query has its own cursor, so threads and half-read results do not disturb each other.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import ConfigError, CorruptRecording, StorageError

from .damaged import first_damaged
from .listing import LakeListing
from .sql_types import quote_name, quote_text, sql_type
from .unreadable import check_free_file, unreadable_now

T = TypeVar("T")

RUN_ID_LENGTH: Final = 26
NOT_LAKE_WIDE: Final = frozenset({("frames", "data")})
"""Columns that lake-wide views leave out although they have one type: nobody wants pictures by `select *`."""

OF_THE_PATH: Final = frozenset({"run_id", "filename"})
"""Columns that come from the name of the part."""
STATEMENT_ERRORS: Final = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
)
"""What DuckDB says of a statement that is wrong, whatever the parts hold."""
OF_A_FILE: Final = "while reading file"
"""But where DuckDB says this: a damaged footer gives a column another type."""
GONE: Final = "No files found"
"""Of an IOException, where a part is not there; otherwise the disk or this process is the reason."""
ONE_THREAD: Final[dict[str, Any]] = {"threads": 1, "async_threads": 0}
"""Options of a DuckDB that works in the thread that calls it. Otherwise eight more wait to read for it, begun and ended
with each connection, and what each takes from the C allocator grows an arena that a process does not give back."""
_READS: Final = frozenset({"SELECT"})


def common_columns(table: str) -> dict[str, str | None]:
    """The columns of a table that have the same type in every run, with their DuckDB types."""
    return {
        column.name: sql_type(column.type)
        for column in TABLES[table]
        if column.type is not None and (table, column.name) not in NOT_LAKE_WIDE
    }


def columns_of(schema: pa.Schema) -> dict[str, str | None]:
    """The columns of a part's Arrow schema with the DuckDB types to read them as; None: as DuckDB takes them."""
    columns: dict[str, str | None] = {}
    for field in schema:
        try:
            columns[field.name] = sql_type(field.type)
        except KeyError:
            columns[field.name] = None
    return columns


def expected_columns(columns: Mapping[str, str | None]) -> str:
    """The value of read_parquet's option `schema`: what is missing in a part is null."""
    items = (
        f"{quote_text(name)}: {{name: {quote_text(name)}, type: {quote_text(kind)}, default_value: NULL}}"
        for name, kind in columns.items()
        if name not in OF_THE_PATH and kind is not None
    )
    return f"MAP {{{', '.join(items)}}}"


def no_rows(columns: Mapping[str, str | None]) -> str:
    """A SELECT of these columns without rows."""
    nulls = (f"NULL::{kind or 'VARCHAR'} AS {quote_name(name)}" for name, kind in columns.items())
    return f"SELECT {', '.join(nulls)} WHERE false"


def scan(parts: Sequence[str], columns: Mapping[str, str | None], runs: Path, *, mixed: bool = False) -> str:
    """A SELECT of `columns` from exactly these parts.

    Args:
        parts: paths below `runs`.
        columns: names and DuckDB types, or None for as DuckDB takes it: then all parts must have all columns.
        runs: the lake's `runs` folder, as the paths begin.
        mixed: whether some parts lack a column that is a struct. Telling DuckDB 2.0 the columns then ends in an
            internal error, so it is left to find them out in all parts, which takes it twice the time.
    """
    if not parts:
        return no_rows(columns)
    start = len(str(runs)) + 2  # SQL counts from 1
    items = {name: quote_name(name) for name in columns}
    option = "" if None in columns.values() else f", schema = {expected_columns(columns)}"
    if mixed:
        option = ", union_by_name = true"
        items = {n: f"{quote_name(n)}::{kind} AS {quote_name(n)}" if kind else items[n] for n, kind in columns.items()}
    if "run_id" in items:
        items["run_id"] = f"substr(filename, {start}, {RUN_ID_LENGTH}) AS run_id"
    files = ", ".join(map(quote_text, parts))
    return f"SELECT {', '.join(items.values())} FROM read_parquet([{files}]{option})"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for a table of the SQL, as JSON on their way to DuckDB: as quick as Arrow, which imports pandas for it.

    Attributes:
        columns: names and DuckDB types.
        values: the rows; a missing column is null.
    """

    columns: Mapping[str, str]
    values: Sequence[Mapping[str, Any]]

    @property
    def select(self) -> str:
        """A SELECT of the rows, with `text` as its parameter."""
        return f"SELECT _row.* FROM (SELECT unnest(from_json($1::JSON, '{json.dumps([dict(self.columns)])}')) AS _row)"

    @property
    def text(self) -> str:
        """The rows as JSON."""
        return json.dumps(self.values)


class Engine:
    """Runs queries over a lake.

    Args:
        listing: what exists.
        tables: further tables of the SQL, each a function that returns its rows now; asked for only when a query
            names it.
        threads: DuckDB's threads; None for one a core. With 1 there is no other than the caller's.
        memory: DuckDB's memory limit such as "2GB"; None for its default, 80 % of the machine.
    """

    def __init__(
        self,
        listing: LakeListing,
        tables: Mapping[str, Callable[[], Rows]],
        *,
        threads: int | None = None,
        memory: str | None = None,
    ) -> None:
        config: dict[str, Any] = {
            # Its default is a folder in the working directory. It is made only when a query has to spill.
            "temp_directory": str(Path(tempfile.gettempdir()) / "rolltape-spill"),
            # A name in the caller's Python is not a table: what a query reads is told by the query.
            "python_enable_replacements": False,
            # It holds nothing of local files, and yet a kilobyte for each one that was ever read: a writer reads
            # thousands of parts an hour, and keeps none of them.
            "enable_external_file_cache": False,
        }
        if threads is not None:
            config |= ONE_THREAD if threads == 1 else {"threads": threads}
        if memory is not None:
            config["memory_limit"] = memory
        self._config = config
        self._connection = _connected(config)
        self._listing = listing
        self._tables = tables
        self._views: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """All tables that a statement may name."""
        return (*TABLES, *self._tables)

    def run(self, render: Callable[[], str], params: Sequence[Any], read: Callable[[duckdb.DuckDBPyRelation], T]) -> T:
        """Render the statement, run it and read its result.

        Raises:
            CorruptRecording: a part that exists cannot be read; names it.
            UnreadableNow: one that is whole cannot be, at the moment.
            StorageError: it was closed.
            duckdb.Error: the statement is wrong.
        """
        try:
            return self._once(render, params, read)
        except duckdb.IOException:  # a part vanished: what it held is in another one now
            self._listing.forget()
        except duckdb.Error as error:
            if isinstance(error, STATEMENT_ERRORS) and OF_A_FILE not in str(error):
                raise
            raise self._blamed(error) from error
        try:
            return self._once(render, params, read)
        except duckdb.Error as error:
            if isinstance(error, STATEMENT_ERRORS) and OF_A_FILE not in str(error):
                raise
            raise self._blamed(error) from error

    def _once(
        self, render: Callable[[], str], params: Sequence[Any], read: Callable[[duckdb.DuckDBPyRelation], T]
    ) -> T:
        return read(self._cursor().sql(render(), params=list(params) or None))

    def close(self) -> None:
        """End DuckDB's threads; nothing is queried any more."""
        self._connection.close()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.cursor()
        except duckdb.ConnectionException:
            raise StorageError(f"The lake {self._listing.path} was closed; open it again to query it.") from None

    def _blamed(self, error: duckdb.Error) -> Exception:
        """What to say of an error that a damaged part may be the reason of: DuckDB often does not name the file."""
        text = " ".join(str(error).split())
        damaged = first_damaged(self._listing)
        if damaged is not None:
            return CorruptRecording(
                f"{damaged} cannot be read: its content is not what was written. Its marker says that it exists; was "
                f"it damaged? `rolltape verify` says what else is, `rolltape repair` puts it aside. ({text})"
            )
        if str(self._listing.path / "runs") in text:
            if isinstance(error, duckdb.IOException) and GONE not in text:
                return unreadable_now(f"A part of {self._listing.path}", error)
            return CorruptRecording(f"A part is listed but cannot be read: {text}. `rolltape verify` says more.")
        if isinstance(error, duckdb.InternalException | duckdb.FatalException):
            self._connection = _connected(self._config)  # DuckDB refuses everything after such an error
            self._views.clear()
        return error

    def prepare(self, text: str) -> str:
        """Bring the views and tables that a statement of the user names up to date; returns the bare statement.

        Raises:
            ConfigError: it is not a single statement that reads.
            duckdb.Error: it cannot be parsed.
        """
        statements = self._cursor().extract_statements(text)
        kinds = [statement.type.name for statement in statements]
        if len(kinds) != 1 or kinds[0] not in _READS:
            raise ConfigError(
                f"sql: expected one statement that reads (select, from, describe, summarize, show tables), "
                f"got {', '.join(kinds) or 'none'}. A lake is read-only; use a DuckDB of your own for the rest."
            )
        words = set(re.findall(r"\w+", text.lower()))
        self.refresh(name for name in self.names if name in words or "show" in words)
        return text.strip().rstrip(";")

    def refresh(self, names: Iterable[str]) -> None:
        """Bring these views and tables up to date, all at once for whoever queries meanwhile."""
        wanted = set(names)
        with self._lock:
            views: dict[str, tuple[str, ...]] = {}
            if wanted & TABLES.keys():
                listed = self._listing.all_tables()  # once for all views: a commit is in all of them or in none
                views = {name: listed.get(name, ()) for name in wanted & TABLES.keys()}
            changed = {name: parts for name, parts in views.items() if self._views.get(name) != parts}
            tables = {name: self._tables[name]() for name in wanted & self._tables.keys()}
            if changed or tables:
                self._replace(changed, tables)
                self._views |= changed

    def _replace(self, views: Mapping[str, tuple[str, ...]], tables: Mapping[str, Rows]) -> None:
        cursor = self._cursor()
        cursor.begin()
        try:
            for name, parts in views.items():
                text = scan(parts, common_columns(name), self._listing.path / "runs")
                cursor.execute(f"CREATE OR REPLACE VIEW {quote_name(name)} AS {text}")
            for name, rows in tables.items():
                cursor.execute(f"CREATE OR REPLACE TABLE {quote_name(name)} AS {rows.select}", [rows.text])
            cursor.commit()
        except BaseException:
            cursor.rollback()
            raise


def _connected(config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    check_free_file()
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection
