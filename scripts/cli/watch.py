"""`rolltape watch`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Lake, Which

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from rolltape.dashboards.watch_lake import LakeWatch
    from rolltape.dashboards.watch_live import LiveLink
    from rolltape.dashboards.watched import Snapshot

SCREEN_S = 0.25
LINE_S = 2.0
LAKE_S = 1.0
"""How often the lake is looked at, where a gateway tells the rest."""


def watch(
    run: Which = "latest",
    lake: Lake = Path("lake"),
    once: Annotated[bool, typer.Option("--once", help="Show it as it is now, and end.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=3600,
            metavar="S",
            help="Seconds between two looks.",
            show_default="0.25; 2 without a terminal",
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Whether the run's gateway is asked, where there is one.")
    ] = True,
) -> None:
    """Watch a run in the terminal, until it ends or Ctrl-C: its streams, returns, log lines, lag and losses.

    While it is recorded its gateway tells, if the extra `dashboard` is
    installed; otherwise what is committed of it is looked at. Without a
    terminal one line is printed for each look.

    Examples:

    rolltape watch

    rolltape watch latest --once

    rolltape watch 01J --interval 10 >> watch.log
    """
    from rich.console import Console

    from rolltape.dashboards.watch_lake import LakeWatch
    from rolltape.storage.lake import open_lake

    found = open_lake(lake, threads=1).run(run)
    console = Console(highlight=False)
    link = _link(found) if live and found.status == "running" and not once else None
    looks = _looks(LakeWatch(found), link)
    try:
        if once:
            _once(console, looks)
        elif console.is_terminal:
            _on_screen(console, looks, interval or SCREEN_S)
        else:
            _in_lines(looks, interval or LINE_S)
    except KeyboardInterrupt:
        return
    finally:
        if link is not None:
            link.close()


def _link(run: object) -> LiveLink | None:
    """A connection to its gateway; None where it cannot be."""
    from rolltape.dashboards.live_address import live_address
    from rolltape.dashboards.watch_live import LiveLink, LiveState

    try:
        return LiveLink(lambda: live_address(run.folder), LiveState())  # type: ignore[attr-defined]
    except ModuleNotFoundError:  # without the extra the lake tells
        return None


def _looks(watched: LakeWatch, link: LiveLink | None) -> Callable[[int, int], Snapshot]:
    """Gives a snapshot with so many streams and log lines."""
    last: tuple[float, Snapshot] | None = None

    def look(streams: int, lines: int) -> Snapshot:
        nonlocal last
        if link is None:
            return watched.look(streams, lines)
        now = time.monotonic()
        if last is None or now - last[0] >= LAKE_S:
            last = now, watched.look(streams, lines)
        return link.over(last[1], streams, lines)

    return look


def _once(console: Console, look: Callable[[int, int], Snapshot]) -> None:
    from rolltape.dashboards.watch_screen import room, screen

    console.print(screen(look(*room(console)), console.width))


def _on_screen(console: Console, look: Callable[[int, int], Snapshot], interval_s: float) -> None:
    from rich.live import Live

    from rolltape.dashboards.watch_screen import room, screen

    snapshot = look(*room(console))
    with Live(screen(snapshot, console.width), console=console, auto_refresh=False, transient=False) as shown:
        while not snapshot.is_over:
            time.sleep(interval_s)
            snapshot = look(*room(console))
            shown.update(screen(snapshot, console.width), refresh=True)


def _in_lines(look: Callable[[int, int], Snapshot], interval_s: float) -> None:
    from datetime import datetime

    from rolltape.dashboards.watch_screen import line

    while True:
        snapshot = look(64, 0)
        print(f"{datetime.now():%H:%M:%S} {line(snapshot)}", flush=True)
        if snapshot.is_over:
            return
        time.sleep(interval_s)
