"""`rolltape compact`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .amounts import AGES, seconds
from .options import Lake, Which, one_or_all


class Level(StrEnum):
    """How merged parts are encoded."""

    normal = "normal"
    archive = "archive"


def compact(
    ctx: typer.Context,
    run: Which = "latest",
    lake: Lake = Path("lake"),
    all: Annotated[bool, typer.Option("--all", help="All runs of the lake.")] = False,
    level: Annotated[
        Level, typer.Option("--level", help="archive tries encodings and keeps the smallest; ten times as slow.")
    ] = Level.normal,
    grace: Annotated[
        str,
        typer.Option(
            "--grace", metavar="AGE", help=f"How long replaced parts stay for readers, {AGES}; 0s where nobody reads."
        ),
    ] = "60s",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the end of the grace, or leave it to `rolltape vacuum`.")
    ] = True,
) -> None:
    """Merge the many small parts of a run into few large ones. Nothing that is recorded changes.

    Readers and a run that goes on are not disturbed. Compaction also goes on by itself while a long run is recorded.
    """
    from rolltape.storage.merging import allocate_for_merging
    from rolltape.storage.upkeep import compact as compact_lake

    from .output import console

    one_or_all(ctx, all)
    grace_s = seconds(grace, "--grace")
    allocate_for_merging()
    reports = compact_lake(lake, None if all else run, level=level.value, grace_s=grace_s, wait=wait)
    if not reports:
        console().print(f"No runs in {lake}.")
    for report in reports:
        if report.merged:
            console().print(
                f"{report.run_id}  {report.parts_before:,} parts -> {report.parts_after:,}, {report.bytes_before:,} "
                f"bytes -> {report.bytes_after:,}, {report.rows:,} rows in {report.seconds:.1f} s"
            )
        elif not report.skipped:
            console().print(f"{report.run_id}  nothing to merge: {report.parts_after:,} parts")
        for why in report.skipped:
            console().print(f"{report.run_id}  left alone: {why}")
