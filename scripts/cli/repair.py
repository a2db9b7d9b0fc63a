"""`rolltape repair`."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import Lake
from .verify import AsJson, chosen, print_report


def repair(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run id, its beginning, or 'latest'.")],
    lake: Lake = Path("lake"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: AsJson = False,
) -> None:
    """Put aside what is damaged, declare what is missing, and write the catalog anew.

    A lost marker is made again where the parts of its commit are whole. Nothing
    is deleted: damaged files are moved to the run's quarantine/ folder, with a
    note. What was lost by that stands in the ledger afterwards. A run that is
    being recorded is refused.

    Exit code 0: clean now. 3: rows are missing, and the recording says which.
    1: something stays damaged.
    """
    from rolltape.storage.catalog import publish_catalog
    from rolltape.storage.repair import repair_run

    from .output import console

    report = repair_run(chosen(lake, run), dry_run=dry_run)
    if not dry_run:
        publish_catalog(lake)
    left = report.before if report.after is None else report.after
    if json:
        json_format.dump(report.as_json(), sys.stdout, indent=2)
        print()
        raise typer.Exit(left.exit_code)
    out = console()
    out.print(f"{report.run_id}  was {report.before.verdict}", style="bold")
    for action in report.actions:
        out.print(f"  {'would ' if dry_run else ''}{action.kind:<10} {action.path}: {action.why}", soft_wrap=True)
    if not report.actions:
        out.print("  nothing to do")
    if report.after is not None:
        print_report(report.after)
    raise typer.Exit(left.exit_code)
