"""`rolltape config diff`."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer

from .config_show import of_run, said
from .options import Lake


def diff(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="A run id, its beginning, or 'latest'.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="The run to compare it with.")],
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object by key.")] = False,
    lake: Lake = Path("lake"),
) -> None:
    """Compare the settings that two runs were recorded with. Exits with 1 where values differ."""
    found = differences(of_run(run_a, lake), of_run(run_b, lake))
    if json:
        print(json_format.dumps(found, indent=2))
    elif not found:
        print("the settings are the same")
    else:
        wide = max(map(len, found))
        for key, (before, after) in found.items():
            print(f"{key:<{wide}}  {_side(before)}  ->  {_side(after)}")
    if found:
        raise SystemExit(1)


def differences(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Keys whose values differ, each with its row on both sides; None where a version had no such key."""
    old, new = ({row["key"]: row for row in rows} for rows in (before, after))
    keys = [*old, *(key for key in new if key not in old)]
    pairs = {key: (old.get(key), new.get(key)) for key in keys}
    return {k: (a, b) for k, (a, b) in pairs.items() if (a or {}).get("value") != (b or {}).get("value")}


def _side(row: dict[str, Any] | None) -> str:
    if row is None:
        return "no such key"
    mutation = f" ({row['mutation']})" if row["mutation"] else ""
    return f"{said(row['value'])} {row['unit']}".strip() + f" [{row['source']}{mutation}]"
