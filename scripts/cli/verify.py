"""`rolltape verify`."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Lake, Which, one_or_all

if TYPE_CHECKING:
    from rolltape.storage.findings import RunReport

SHOWN = 20
"""Findings of one severity that a table shows."""

All = Annotated[bool, typer.Option("--all", help="Every run of the lake.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")]


def verify(
    ctx: typer.Context,
    run: Which = "latest",
    lake: Lake = Path("lake"),
    all: All = False,
    json: AsJson = False,
    settle: Annotated[
        bool, typer.Option(help="Declare what is lost of a run whose driver died, and write its end.")
    ] = True,
    rows: Annotated[
        bool,
        typer.Option("--rows", help="Also read the rows: whether every episode has all its steps and pictures, once."),
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads that hash and read.", show_default="CPUs")
    ] = None,
) -> None:
    """Check that a recording is as it was written and that nothing is missing unsaid.

    Checksums, counts, ranges without holes, the ledger, clocks, the catalog;
    with --rows also every episode, which takes three times as long where
    rows are small. Nothing is changed, but a run whose driver died is settled:
    what it lost goes into its ledger.

    Exit code 0: clean. 3: rows are missing, and the recording says which.
    1: something is damaged; `rolltape repair` helps.
    """
    from rolltape.storage.catalog_check import check_catalog
    from rolltape.storage.findings import worst
    from rolltape.storage.verify import all_runs, verify_run

    from .output import console

    one_or_all(ctx, all)
    runs = all_runs(lake) if all else [chosen(lake, run)]
    reports = [verify_run(one, settle_it=settle, threads=threads, rows=rows) for one in runs]
    catalog = check_catalog(lake, [report.run_id for report in reports])
    code = worst([report.exit_code for report in reports] + [1 if f.severity == "damage" else 0 for f in catalog])
    if json:
        content = {
            "lake": str(lake),
            "verdict": {0: "clean", 1: "failed", 3: "lossy"}[code],
            "runs": [report.as_json() for report in reports],
            "catalog": [{"severity": f.severity, "code": f.code, "path": f.path, "text": f.text} for f in catalog],
        }
        json_format.dump(content, sys.stdout, indent=2)
        print()
        raise typer.Exit(code)
    for report in reports:
        print_report(report)
    for finding in catalog:
        console().print(f"  {finding.severity:<7} {finding.path}: {finding.text}")
    if len(reports) != 1:
        counts = {name: sum(report.verdict == name for report in reports) for name in ("clean", "lossy", "failed")}
        console().print(f"{len(reports)} runs: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    raise typer.Exit(code)


def chosen(lake: Path, run: str):
    """The folder of the run that is meant, also of one that cannot be read. Raises LakeNotFound."""
    from rolltape.schema.errors import LakeNotFound
    from rolltape.storage.verify import all_runs

    runs = all_runs(lake)
    if not runs:
        example = f"rolltape record CartPole-v1 --steps 1000 --lake {lake}"
        raise LakeNotFound(f"No runs in {lake} yet. Record one: `{example}`.")
    found = [one for one in runs if one.run_id.startswith(run.upper())] if run != "latest" else runs[-1:]
    if len(found) == 1:
        return found[0]
    newest = ", ".join(one.run_id for one in (found or runs)[-3:])
    what = f"is the beginning of {len(found)} runs" if found else "is no run"
    raise LakeNotFound(f"{run!r} {what} in {lake}: {newest}. Give more of the id, or 'latest'.")


def print_report(report: RunReport) -> None:
    """What was found of one run, for a person."""
    from .output import console

    out = console()
    rows = ", ".join(f"{n:,} {table}" for table, n in sorted(report.rows.items())) or "no rows"
    speed = f" in {report.seconds:.2f} s" if report.seconds else ""
    out.print(f"{report.run_id}  {report.verdict}", style="bold")
    out.print(f"  {report.status}; {report.parts:,} parts, {report.bytes:,} bytes, {rows}; checked{speed}")
    if report.settled:
        out.print(f"  settled: {report.settled}")
    for severity in ("damage", "loss", "note"):
        found = report.of(severity)
        for finding in found[:SHOWN]:
            where = f"{finding.path}: " if finding.path and severity != "loss" else ""
            out.print(f"  {severity:<7} {where}{finding.text}", soft_wrap=True)
        if len(found) > SHOWN:
            out.print(f"  {severity:<7} … and {len(found) - SHOWN:,} more; --json has all")
    remedies = dict.fromkeys(f.remedy for f in report.of("damage") if f.remedy)
    for remedy in remedies:
        out.print(f"  to do   {remedy}")
