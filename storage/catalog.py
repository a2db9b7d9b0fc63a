"""`catalog.duckdb`: a snapshot for people and BI tools, replaced whole by rename. Nothing needs it; it can be deleted.

Rules:
1. Tables `runs`, `parts`, `payloads`, `mismatches` and `adoption` are as of the publication. They work wherever the
   file is opened from.
2. Views `steps`, `episodes`, `frames`, `frame_data`, `ledger`, and a `steps_<environment>` with typed columns for each
   kind of spaces, read the Parquet files as they are when they are asked: they miss nothing when a run crashed after
   the last publication. They apply the rules of what exists (docs/format.md): only parts with a marker, none that
   lies inside another.
3. Views name files relative to the lake, because a lake may be moved and copied, and a DuckDB view cannot know where
   its own database lies. So they work from within the lake's folder, after `SET file_search_path = '<lake>'` (also as
   an option of the connection), or after `SET VARIABLE lake = '<lake>'`.
4. A published file is never written again: a reader that has the old one open goes on with it. Publishing is done under
   a lock, into a temporary name, then renamed.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import CorruptRecording, LakeNotFound, UnreadableNow, UnsupportedFormat

from .files import FileOps, storage_errors
from .lake import Lake
from .queries import ONE_THREAD, columns_of, common_columns, expected_columns, no_rows
from .sql_types import quote_name, quote_text, sql_type
from .unreadable import check_free_file

CATALOG_NAME: Final = "catalog.duckdb"
LOCK_NAME: Final = ".catalog.lock"
ROOT: Final = "coalesce(getvariable('lake') || '/', '')"
"""Where the lake lies, in SQL: the session's variable, else a relative path that DuckDB resolves by rule 3."""


class CatalogPublisher:
    """Publishes the catalog of one lake again and again; what does not change is read once.

    The caller decides how often (at most every 10 s while a run goes on, and at its end).

    Args:
        lake: the lake or its folder.
    """

    def __init__(self, lake: Lake | str | os.PathLike[str]) -> None:
        self.lake = lake if isinstance(lake, Lake) else Lake(lake, threads=1)

    def publish(self, *, wait: bool = True) -> Path | None:
        """Build a new snapshot and put it in place of the last.

        Args:
            wait: for another process that publishes just now; otherwise it is left to that.

        Returns:
            The catalog's path; None when somebody else publishes and `wait` is false.

        Raises:
            LakeNotWritable, DiskFull, StorageError: it cannot be written; the last one is still there.
        """
        path = self.lake.path / CATALOG_NAME
        files = FileOps()
        with storage_errors(files, path), files.locked(self.lake.path / LOCK_NAME, wait=wait) as mine:
            if not mine:
                return None
            for left in self.lake.path.glob(f".{CATALOG_NAME}.*"):  # of a process that was killed here
                left.unlink(missing_ok=True)
            fresh = path.with_name(f".{CATALOG_NAME}.{secrets.token_hex(6)}")
            try:
                self._build(fresh)
                files.sync(fresh)
                # Somebody may have opened the old file for writing; its log must not be applied to the new one.
                path.with_name(path.name + ".wal").unlink(missing_ok=True)
                files.rename(fresh, path)
            finally:
                fresh.unlink(missing_ok=True)
        return path

    def _build(self, path: Path) -> None:
        tables = {name: rows() for name, rows in self.lake.derived_tables.items()}
        views = dict(catalog_views(self.lake))
        check_free_file()
        try:
            with _stand_in() as lake, duckdb.connect(str(path), config=ONE_THREAD) as database:
                database.execute("BEGIN")
                for name, rows in tables.items():
                    database.execute(f"CREATE TABLE {name} AS {rows.select}", [rows.text])
                database.execute(f"SET VARIABLE lake = {quote_text(lake)}")
                for name, text in views.items():
                    database.execute(f"CREATE VIEW {quote_name(name)} AS {text}")
                database.execute("COMMIT")
        except duckdb.IOException as error:
            full = "no space left" in str(error).lower()
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def publish_catalog(lake: Lake | str | os.PathLike[str], *, wait: bool = True) -> Path | None:
    """Publish a lake's catalog, see `CatalogPublisher.publish`; called again, it reads only what is new."""
    publisher = CatalogPublisher(lake) if isinstance(lake, Lake) else _publisher(Path(lake).absolute())
    return publisher.publish(wait=wait)


@functools.lru_cache(maxsize=4)
def _publisher(path: Path) -> CatalogPublisher:
    return CatalogPublisher(path)


def catalog_views(lake: Lake) -> Iterator[tuple[str, str]]:
    """Names and SQL of the views."""
    recorded = {table: any(lake.listing.parts(r, table) for r in lake.listing.run_ids()) for table in TABLES}
    for table in TABLES:
        columns = common_columns(table)
        yield table, _view(table, columns, some=recorded[table])
        if table == "frames":
            yield "frame_data", _view(table, columns | {"data": sql_type(pa.binary())}, some=recorded[table])
    for name, (columns, run_ids) in typed_steps(lake).items():
        yield name, _view("steps", columns, some=True, run_ids=run_ids)


def typed_steps(lake: Lake) -> dict[str, tuple[dict[str, str | None], list[str]]]:
    """For each kind of spaces a view's name, the columns with their DuckDB types, and the runs that have them."""
    groups: dict[tuple[str, tuple[tuple[str, str | None], ...]], list[str]] = {}
    for run_id in lake.listing.run_ids():
        try:
            stored = lake.stored_schema(run_id, "steps")
            env_id = lake.run_info(run_id).get("env_id") or "unknown"
        except (LakeNotFound, CorruptRecording, UnreadableNow, UnsupportedFormat):
            continue
        if stored is not None and not stored.mixed:
            groups.setdefault((env_id, tuple(columns_of(stored.schema).items())), []).append(run_id)
    named: dict[str, tuple[dict[str, str | None], list[str]]] = {}
    for (env_id, columns), run_ids in groups.items():
        name = base = "steps_" + re.sub(r"\W+", "_", env_id).strip("_")
        number = 2
        while name in named:
            name, number = f"{base}_{number}", number + 1
        named[name] = dict(columns), run_ids
    return named


def _view(table: str, columns: Mapping[str, str | None], *, some: bool, run_ids: list[str] | None = None) -> str:
    columns = {name: kind for name, kind in columns.items() if kind is not None}  # others cannot be said in SQL
    if not some:  # a glob without a match is an error
        return no_rows(columns)
    items = ", ".join(
        "split_part(filename, '/', -3) AS run_id" if name == "run_id" else quote_name(name) for name in columns
    )
    parts = f"{ROOT} || 'runs/*/{table}/*.parquet'"
    only = f" AND run_id IN ({', '.join(map(quote_text, run_ids))})" if run_ids is not None else ""
    return f"""
WITH marked AS (
    SELECT replace(replace(file, '/commits/', '/{table}/'), '.json', '.parquet') AS file
    FROM glob({ROOT} || 'runs/*/commits/w*.json')
), listed AS (
    SELECT file,
        regexp_extract(file, '^(.*?)-(\\d{{8,}})-(\\d{{8,}})(?:-(\\d+))?\\.parquet$',
            ['writer', 'first', 'last', 'again']) AS commits
    FROM glob({parts}) SEMI JOIN marked USING (file)
), wide AS (
    SELECT * FROM listed WHERE commits.first <> commits.last OR commits.again <> ''
), present AS (
    SELECT file FROM listed WHERE NOT EXISTS (
        SELECT 1 FROM wide WHERE wide.file <> listed.file AND wide.commits.writer = listed.commits.writer
        AND wide.commits.first::BIGINT <= listed.commits.first::BIGINT
        AND wide.commits.last::BIGINT >= listed.commits.last::BIGINT
        AND (wide.commits.first <> listed.commits.first OR wide.commits.last <> listed.commits.last
            OR ('0' || wide.commits.again)::BIGINT > ('0' || listed.commits.again)::BIGINT))
)
SELECT {items}
FROM read_parquet({parts}, schema = {expected_columns(columns)}, filename = true)
WHERE filename IN (SELECT file FROM present){only}"""


@contextmanager
def _stand_in() -> Iterator[str]:
    """A lake with one empty part a table: DuckDB looks for a view's files when it is made, though it keeps only the
    text, and finding ten thousand takes a while."""
    with tempfile.TemporaryDirectory(prefix="rolltape-") as folder:
        for table in TABLES:
            part = Path(folder) / "runs" / "0" / table / "w0.0-00000001-00000001.parquet"
            part.parent.mkdir(parents=True)
            pq.write_table(pa.table({"nothing": pa.nulls(0)}), part)
        (Path(folder) / "runs" / "0" / "commits").mkdir()
        (Path(folder) / "runs" / "0" / "commits" / "w0.0-00000001-00000001.json").touch()
        yield folder
