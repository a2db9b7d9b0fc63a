"""`rolltape import-v0`."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Lake

if TYPE_CHECKING:
    from rolltape.actors.legacy_import import ImportReport, OnLines

LOSSY = 3
"""Exit code where lines were refused."""


class Seen(StrEnum):
    """When the observation of a line was seen."""

    after = "after"
    before = "before"


class Check(StrEnum):
    """What is done with values outside their spaces."""

    off = "off"
    warn = "warn"
    enforce = "enforce"


def import_v0(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines, one step of version 0 a line; also .gz.")],
    lake: Lake = Path("lake"),
    env: Annotated[
        str | None,
        typer.Option(help="Id of the environment that has the spaces. They are learned from the file without it."),
    ] = None,
    observation: Annotated[
        Seen, typer.Option(help="What a line's observation is: after its step, or seen before its action.")
    ] = Seen.after,
    validation: Annotated[
        Check, typer.Option(help="Values outside their spaces: off, warn (count them) or enforce (refuse the line).")
    ] = Check.warn,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Turn a file of legacy steps (payload version 0) into a run.

    Lines that cannot be taken are counted by what is wrong with them; the
    first ones are shown with their number and field. Exit code 0: every line
    is in the run. 3: some are not. 1: an error, nothing more was recorded.

    Examples:

    rolltape import-v0 old/steps.jsonl --lake lake

    rolltape import-v0 steps.jsonl.gz --env CartPole-v1 --validation enforce
    """
    from rolltape.actors.legacy_import import import_v0 as import_file

    with _progress(file) as progress:
        report = import_file(
            file, lake, env=env, observation=observation.value, validation=validation.value, progress=progress
        )
    if json:
        typer.echo(json_format.dumps({**asdict(report), "lossy": report.lossy}, indent=2))
    else:
        _print(report)
    if report.lossy:
        raise typer.Exit(LOSSY)


def _print(report: ImportReport) -> None:
    from .output import console, facts

    known = {
        "run": report.run_id,
        "path": report.path,
        "lines": f"{report.lines:,}: {report.steps:,} steps, {report.resets:,} resets, {report.refused:,} refused",
        "episodes": f"{report.episodes:,}, {report.completed:,} completed",
    }
    how = "learned from the values" if report.learned else "of the environment"
    for name, space in report.spaces.items():
        known[f"{name} space"] = f"{space}, {how}"
    for code, field, count in report.mismatches:
        known[code] = f"{count:,} at {field}"
    known["on disk"] = f"{report.bytes:,} bytes, in {report.seconds:,.1f} s"
    facts(known)
    out = console()
    for problem in report.problems:
        out.print(f"line {problem.line:,}: {problem.message}", soft_wrap=True)
    if report.refused > len(report.problems):
        out.print(f"… and {report.refused - len(report.problems):,} more lines that were refused")


@contextmanager
def _progress(file: Path) -> Iterator[OnLines | None]:
    """A bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn(f"reading {file.name}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)
