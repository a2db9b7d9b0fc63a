"""`rolltape logs`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rolltape.schema.log_codes import CATALOGUE

from .options import Lake, Where, Which

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

POLL_S = 0.5
SHOWN = 100
COMPONENTS = ", ".join(CATALOGUE.components())


class Level(StrEnum):
    """Least severity."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(StrEnum):
    """How rows are printed."""

    text = "text"
    json = "json"


def logs(
    run: Which = "latest",
    lake: Lake = Path("lake"),
    component: Annotated[
        list[str] | None,
        typer.Option("--component", "-c", help=f"Only this one; may be repeated. There are {COMPONENTS}."),
    ] = None,
    level: Annotated[Level | None, typer.Option("--level", "-l", help="Only what is at least so severe.")] = None,
    where: Where = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Forget the filter of last time: every component and level.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until the run ends or Ctrl-C.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At first the last so many; 0 is all.")] = SHOWN,
    data: Annotated[bool, typer.Option("--data", help="Show the data of each record too.")] = False,
    format: Annotated[LogFormat, typer.Option("--format", help="Text, or one JSON object a line.")] = LogFormat.text,
) -> None:
    """Show the log records of a run, and what external programs printed.

    --component and --level are remembered: without them, the filter of last
    time is used, and said on stderr. What each code means, and what to do
    about it, is in docs/log-codes.md.

    Examples:

    rolltape logs latest --level warning

    rolltape logs latest --component writer --level warning --follow
    """
    from rolltape.storage.lake import open_lake
    from rolltape.storage.log_filter import log_condition

    from .query_errors import query_errors

    components, least = _filter(component, level, everything)
    condition = log_condition(components, least)
    conditions = [f"({one}\n)" for one in (condition, where) if one is not None]
    found = open_lake(lake).run(run)
    try:
        with query_errors(found.logs(), where=where):
            if where is not None:
                found.logs(where).limit(0).to_arrow()  # refused also while there is no row to ask it of
            _show(found, " AND ".join(conditions) or None, limit=limit, follow=follow, data=data, form=format)
    except KeyboardInterrupt:
        return


def _filter(component: list[str] | None, level: Level | None, everything: bool) -> tuple[list[str], str | None]:
    """The filter that was asked for, or the one of last time."""
    from rolltape.storage.log_filter import log_condition

    from .choices import last_choice, remember_choice

    if component or level is not None or everything:
        components, least = list(component or ()), level.value if level is not None else None
        log_condition(components, least)  # what is wrong is not remembered
        remember_choice("logs", {"component": components, "level": least})
        return components, least
    last = last_choice("logs")
    known = CATALOGUE.components()
    listed, least = last.get("component"), last.get("level")
    components = [name for name in listed if name in known] if isinstance(listed, list) else []
    least = least if least in list(Level) else None
    if components or least:
        told = [f"--component {name}" for name in components] + ([f"--level {least}"] if least else [])
        print(f"as last time: {' '.join(told)} (--all shows everything)", file=sys.stderr)
    return components, least


def _show(run: Run, condition: str | None, *, limit: int, follow: bool, data: bool, form: LogFormat) -> None:
    from rolltape.storage.log_tail import LogTail

    tail = LogTail(run, condition)
    rows = tail.new()
    left_out = max(0, len(rows) - limit) if limit else 0
    if left_out and form is LogFormat.text:
        print(f"{left_out:,} earlier ones; --limit 0 shows all", file=sys.stderr)
    _print(rows[left_out:], data=data, form=form)
    while follow:
        going_on = run.status == "running"  # before looking: what came by then is shown
        _print(tail.new(), data=data, form=form)
        if not going_on:
            return
        time.sleep(POLL_S)  # a lake has no events: rows appear with a commit


def _print(rows: Iterable[Mapping[str, Any]], *, data: bool, form: LogFormat) -> None:
    for row in rows:
        if form is LogFormat.json:
            said = {**row, "time": row["time"].isoformat(), "data": json.loads(row["data"]) if row["data"] else None}
            print(json.dumps(said, ensure_ascii=False))
        else:
            _print_text(row, data=data)
    sys.stdout.flush()


def _print_text(row: Mapping[str, Any], *, data: bool) -> None:
    from rich.text import Text

    from rolltape.schema.log_forms import STYLES

    from .output import console

    when = row["time"].strftime("%H:%M:%S.%f")[:-3]
    line = Text(f"{when} ", style="dim")
    line.append(f"{row['level']:<7} ", style=STYLES.get(row["level"], ""))
    line.append(f"{row['component']} ", style="cyan")
    line.append(row["message"])
    who = "" if row["worker"] is None else f" (worker {row['worker']}.{row['incarnation'] or 0})"
    line.append(f"{who} {row['code']}", style="dim")
    if data and row["data"]:
        line.append(f" {row['data']}", style="dim")
    console().print(line, soft_wrap=True)
