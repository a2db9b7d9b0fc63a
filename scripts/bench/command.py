"""The command line of the benchmarks."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rolltape.schema.errors import RolltapeError

from . import catalogue, machine
from .figure import Figure
from .pairs import Pair, Plan, run_pairs
from .processes import MeasurementFailed, run_fresh
from .results import ResultFolder
from .tables import print_tables, write_files, write_into_page

PEER_PYTHON = Path(".venv-peers/bin/python")
FIGURES_TIMEOUT_S = 1_800.0
QUICK_SECONDS, QUICK_SETTLE_S = 0.5, 0.2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    only: Annotated[str, typer.Option(help="What to measure, such as W1,W3,figures; see --list. All by default.")] = "",
    pairs: Annotated[int, typer.Option(min=1, help="Alternating pairs of a bare and a recorded run.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Bare stepping of a run.")] = 60.0,
    out: Annotated[Path, typer.Option(help="Folder of results; what is there is kept and shown again.")] = Path(
        "bench-results"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run of seconds; its numbers mean nothing.")] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Measure others too: `make bench PEERS=1`.")] = False,
    peers_only: Annotated[bool, typer.Option("--peers-only", help="Measure only others.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Measure nothing; show what is in the folder.")] = False,
    page: Annotated[Path | None, typer.Option(help="Also write the tables into this page, between its marks.")] = None,
    show: Annotated[bool, typer.Option("--list", help="Say what can be measured.")] = False,
) -> None:
    """Measure what recording costs, each figure against the bare loop in the same run."""
    console = Console(width=None if sys.stdout.isatty() else 400, highlight=False)
    if show:
        _list(console)
        return
    out = out / "quick" if quick else out  # numbers that mean nothing never stand among others
    folder = ResultFolder(out)
    failed: list[str] = []
    if not report:
        plan = Plan(
            seconds=QUICK_SECONDS if quick else seconds,
            pairs=1 if quick else pairs,
            settle_s=QUICK_SETTLE_S if quick else 2.0,
            scratch=out.absolute() / "scratch",
        )
        failed = _measure(folder, plan, only, peers or peers_only, peers_only, quick, console)
    results = folder.read(list(catalogue.workloads()), list(catalogue.FIGURE_FILES))
    print_tables(results, console)
    written = write_files(results, out)
    if page is not None:
        write_into_page(results, page)
        written.append(page)
    console.print(f"Written: {', '.join(map(str, written))}")
    for failure in failed:
        console.print(f"FAILED {failure}", markup=False)
    if failed:
        raise typer.Exit(1)


def main() -> None:
    """Run and exit: 0 when all was measured, 1 when something failed."""
    try:
        app(prog_name="make bench")
    except RolltapeError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


def _measure(
    folder: ResultFolder, plan: Plan, only: str, peers: bool, peers_only: bool, quick: bool, console: Console
) -> list[str]:
    names, groups = catalogue.chosen(only.split(","))
    every = catalogue.workloads()
    failed: list[str] = []
    began = time.monotonic()

    def notice(text: str) -> None:
        console.print(f"{time.monotonic() - began:7.0f} s  {text}", markup=False)

    circumstances = {"seconds": plan.seconds, **machine.describe()}
    python = Path(sys.executable)
    for name in names:
        for recorder in every[name].recorders:
            ours = recorder == "rolltape"
            if (peers_only and ours) or (not peers and not ours):
                continue
            theirs = PEER_PYTHON.absolute() if catalogue.PEERS.get(recorder) else python
            measured: list[Pair] = []
            try:
                for pair in run_pairs(name, recorder, theirs, plan, notice):
                    measured.append(pair)
                    folder.keep_pairs(measured, circumstances)  # what is there stays, whatever ends the next pair
            except (MeasurementFailed, FileNotFoundError) as error:
                failed.append(f"{name} {recorder}: {error}")
                notice(f"{name} {recorder} failed")
    for group in () if peers_only else groups:
        try:
            order = {"group": group, "quick": quick}
            found = run_fresh(python, order, plan.scratch, FIGURES_TIMEOUT_S)
        except MeasurementFailed as error:
            failed.append(f"{group}: {error}")
            notice(f"{group} failed")
            continue
        figures = [Figure(**figure) for figure in found]
        folder.keep_figures(group, figures, circumstances)
        notice(f"{group}: " + ", ".join(f"{f.title} {f.value:,.4g} {f.unit}" for f in figures))
    return failed


def _list(console: Console) -> None:
    for workload in catalogue.workloads().values():
        console.print(f"{workload.name:14} {workload.title:32} {', '.join(workload.recorders)}", markup=False)
    for group in catalogue.FIGURE_FILES:
        console.print(f"{group:14} {catalogue.figure_group(group).TITLE}", markup=False)
