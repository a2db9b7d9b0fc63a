"""`rolltape info`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Lake, Which

if TYPE_CHECKING:
    from rolltape.storage.relation import Relation
    from rolltape.storage.runs import Run


SAID_ABOVE = ("format", "status", "run_id", "env_id", "path")


class InfoFormat(StrEnum):
    """How the facts are printed."""

    table = "table"
    json = "json"


def info(
    run: Which = "latest",
    lake: Lake = Path("lake"),
    format: Annotated[InfoFormat, typer.Option("--format", help="How to print the facts.")] = InfoFormat.table,
) -> None:
    """Show what a run recorded, with which spaces and configuration, and how it ended."""
    from rolltape.storage.lake import open_lake

    from .output import facts

    found = open_lake(lake).run(run)
    row = found.lake.runs(f"run_id = '{found.run_id}'").to_dicts()[0]
    tables = {name: numbers for name, *numbers in _tables(found).fetchall()}
    if format is InfoFormat.json:
        counts = {name: dict(zip(("parts", "rows", "bytes"), numbers, strict=True)) for name, numbers in tables.items()}
        json.dump(
            {"summary": row, "tables": counts, "run": found.info, "end": found.end}, sys.stdout, indent=2, default=str
        )
        print()
        return
    del row["config"]
    known: dict[str, Any] = row
    for name, (parts, rows, size) in tables.items():
        known[f"{name} table"] = f"{rows:,} rows, {size:,} bytes, {parts:,} parts"
    for name, space in (found.info.get("spaces") or {}).items():
        known[f"{name} space"] = _space(space)
    if adapter := found.info.get("adapter"):
        state = ", its state is recorded" if (found.info["config"].get("adapter") or {}).get("state") else ""
        known["adapter"] = f"{adapter['name']}, version {adapter['version']}{state}"
    for name in ("config", "versions", "host"):
        value = found.info.get(name)
        for key, item in value.items() if isinstance(value, dict) else ([("", value)] if value else []):
            known[f"{name} {key}".strip()] = _brief(item)
    for key, value in (found.end or {}).items():
        if key.endswith("_ns"):
            known[key.removesuffix("_ns")] = datetime.fromtimestamp(value / 1e9, UTC)
        elif key not in SAID_ABOVE:
            known[f"end {key}"] = _brief(value)
    facts(known | {"folder": str(found.path)})


def _tables(run: Run) -> Relation:
    return run.lake.sql(
        "SELECT table_name, count(*), sum(rows)::BIGINT, sum(bytes)::BIGINT FROM parts WHERE run_id = ? "
        "GROUP BY 1 ORDER BY 1",
        [run.run_id],
    )


def _space(descriptor: Any) -> str:
    from rolltape.schema.spaces import space_from_descriptor

    try:
        return str(space_from_descriptor(descriptor))
    except Exception:  # a space of a newer version is still worth a line
        return json.dumps(descriptor)


def _brief(value: Any) -> Any:
    return json.dumps(value, default=str) if isinstance(value, dict | list) else value
