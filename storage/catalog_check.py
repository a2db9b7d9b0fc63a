"""The catalog of a lake against the parts that there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import StorageError

from .catalog import CATALOG_NAME
from .findings import Finding
from .layout import RunFolder, list_tables
from .unreadable import check_free_file

REMEDY = "rolltape repair publishes it anew; it can also be deleted"


def check_catalog(lake: str | Path, run_ids: Sequence[str]) -> list[Finding]:
    """What is wrong with `catalog.duckdb` as far as these runs go.

    One that cannot be read is damage, an old one is worth a note.
    """
    path = Path(lake) / CATALOG_NAME
    if not path.exists():
        return [Finding("note", "no_catalog", CATALOG_NAME, "there is none; nothing needs it", REMEDY)]
    check_free_file()
    try:
        with duckdb.connect(str(path), read_only=True) as database:
            listed = database.execute("SELECT run_id, file FROM parts").fetchall()
    except duckdb.Error as error:
        text = " ".join(str(error).split())
        if "lock" in text.lower() and "conflict" in text.lower():
            return [Finding("note", "catalog_locked", CATALOG_NAME, f"somebody has it open for writing: {text}")]
        return [Finding("damage", "catalog", CATALOG_NAME, f"it cannot be read: {text}", REMEDY)]
    findings = []
    for run_id in run_ids:
        run = RunFolder.of(lake, run_id)
        try:
            tables = list_tables(run, tuple(TABLES))
        except StorageError:
            continue  # said where the run is inspected
        there = {f"runs/{run_id}/{table}/{path.name}" for table, paths in tables.items() for path in paths}
        said = {file for one, file in listed if one == run_id}
        if there != said:
            gone = f", and {len(said - there):,} that are gone" if said - there else ""
            text = f"it knows {len(said & there):,} of {len(there):,} parts of {run_id}{gone}"
            findings.append(Finding("note", "catalog_old", CATALOG_NAME, text, REMEDY))
    return findings
