"""`rolltape migrate`."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import Lake, Which, one_or_all
from .verify import All, AsJson, chosen


def migrate(
    ctx: typer.Context,
    run: Which = "latest",
    lake: Lake = Path("lake"),
    all: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Put the newest backup of the run back.")] = False,
    json: AsJson = False,
) -> None:
    """Bring recordings of an older on-disk format to the present one.

    What is changed is copied to the lake's backups/ folder first. A newer format
    than this version's is refused.
    """
    from rolltape.storage.migrations import migrate_run, restore_run
    from rolltape.storage.verify import all_runs

    one_or_all(ctx, all)
    runs = all_runs(lake) if all else [chosen(lake, run)]
    if back:
        if all:
            raise typer.BadParameter("name the run that is to go back", param_hint="--back")
        print(f"{runs[0].run_id}: restored from {restore_run(runs[0])}")
        return
    reports = [migrate_run(one, dry_run=dry_run) for one in runs]
    if json:
        json_format.dump([report.as_json() for report in reports], sys.stdout, indent=2)
        print()
        return
    if not reports:
        print(f"No runs in {lake}.")
    for report in reports:
        if report.found == report.reached:
            print(f"{report.run_id}: format {report.found}, nothing to do")
            continue
        would = "would go" if dry_run else "went"
        kept = f"{report.files} files {'to back up' if dry_run else 'backed up'}"
        print(f"{report.run_id}: {would} from format {report.found} to {report.reached}, {kept}")
        for step in report.steps:
            print(f"  {step}")
        if report.backup is not None:
            print(f"  backup: {report.backup}")
