"""A snapshot of a run as a screen (Rich) or as one line of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rolltape.schema.log_forms import STYLES

from .watched import Snapshot

BARS: Final = "▁▂▃▄▅▆▇█"
COLOURS: Final = {
    "live": "green",
    "running": "green",
    "starved": "yellow",
    "idle": "dim",
    "ended": "dim",
    "completed": "green",
    "stopped": "yellow",
    "failed": "bold red",
    "crashed": "bold red",
}
AROUND: Final = 9
"""Rows of a screen that are neither streams nor log lines."""


def room(console: Console) -> tuple[int, int]:
    """How many streams and log lines fit."""
    height = max(console.size.height, 16)
    lines = min(8, height // 4)
    return max(2, height - AROUND - lines), lines


def screen(snapshot: Snapshot, width: int) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [_head(snapshot), _facts(snapshot), Text()]
    parts += [_streams(snapshot), Text()]
    parts.append(_returns(snapshot.returns, width))
    if snapshot.logs:
        parts += [Rule(style="dim"), *_logs(snapshot)]
    return Group(*parts)


def line(snapshot: Snapshot) -> str:
    """The most important of it, for a file or a pipe."""
    s = snapshot
    parts = [s.status, f"{s.steps:,} steps"]
    if s.steps_per_s is not None:
        parts.append(f"{s.steps_per_s:,.0f} steps/s")
    parts.append(f"{s.episodes:,} episodes")
    if s.returns:
        parts.append(f"return {np.mean(s.returns[-100:]):.4g}")
    if s.lag_s is not None:
        parts.append(f"lag {s.lag_s:.1f} s")
    parts.append(s.losses)
    starved = sum(row.state == "starved" for row in s.streams)
    if starved:
        parts.append(f"{starved} starved")
    parts.append(s.source + (f" ({s.note})" if s.note else ""))
    return ", ".join(parts)


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as bars, the oldest first; means where there are more than `width`. Empty where none is finite."""
    known = np.asarray([value for value in values if np.isfinite(value)], np.float64)
    if not len(known) or width < 1:
        return ""
    if len(known) > width:
        known = np.array([part.mean() for part in np.array_split(known, width)])
    low, high = known.min(), known.max()
    places = (
        np.zeros(len(known), int)
        if high <= low
        else ((known - low) / (high - low) * (len(BARS) - 1)).round().astype(int)
    )
    return "".join(BARS[place] for place in places)


def _head(s: Snapshot) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(s.env_id, "bold").append(f"  {s.run_id}  ", "dim")
    text.append(s.status, COLOURS.get(s.status, ""))
    text.append(f"  {s.source}" + (f": {s.note}" if s.note else ""), "dim")
    return text


def _facts(s: Snapshot) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    rate = "–" if s.steps_per_s is None else f"{s.steps_per_s:,.0f}"
    lag = "–" if s.lag_s is None else f"{s.lag_s:.1f} s"
    text.append(f"{s.steps:,} steps, {rate} steps/s, {s.episodes:,} episodes, durable lag {lag}, ")
    text.append(s.losses, "bold red" if s.lost else "green" if s.settled else "yellow")
    return text


def _streams(s: Snapshot) -> RenderableType:
    if not s.streams:
        return Text("No step is committed yet." if not s.is_over else "It has no steps.", "dim")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("env", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("episode", "t", "return", "steps/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in s.streams:
        table.add_row(
            row.name,
            Text(row.state, COLOURS.get(row.state, "")),
            _said(row.episode, "d"),
            _said(row.t, ",d"),
            _said(row.episode_return, ".4g"),
            _said(row.steps_per_s, ",.0f"),
        )
    return Group(table, Text(f"and {s.more_streams:,} more", "dim")) if s.more_streams else table


def _returns(returns: Sequence[float], width: int) -> Text:
    if not returns:
        return Text("No episode has been completed yet.", "dim")
    text = Text("returns ", "dim", no_wrap=True, overflow="ellipsis")
    text.append(sparkline(returns, max(8, min(len(returns), width - 46))), "cyan")
    text.append(f" last {returns[-1]:.4g}, mean of {min(100, len(returns))}: {np.mean(returns[-100:]):.4g}", "default")
    return text


def _logs(s: Snapshot) -> list[Text]:
    out = []
    for row in s.logs:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{row.time:%H:%M:%S} ", "dim").append(f"{row.level:<7} ", STYLES.get(row.level, ""))
        out.append(text.append(f"{row.component} ", "cyan").append(row.message))
    return out


def _said(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
