"""How recordings look as the last line of a notebook's cell: small HTML, without scripts, in the colours around it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rolltape.storage.episodes import Episode
    from rolltape.storage.lake import Lake
    from rolltape.storage.runs import Run

RUNS_SHOWN: Final = 10
STATES: Final = {
    "running": "#2f7fc1",
    "completed": "#3d9a5f",
    "stopped": "#a8861f",
    "aborted": "#a8861f",
    "open": "#2f7fc1",
    "lost": "#c8452f",
    "failed": "#c8452f",
    "crashed": "#c8452f",
    "unreadable": "#c8452f",
}
BOX: Final = (
    "font:13px/1.5 system-ui,sans-serif;display:inline-block;max-width:100%;padding:10px 14px;border-radius:8px;"
    "border:1px solid color-mix(in srgb,currentColor 22%,transparent)"
)
FAINT: Final = "opacity:.72"


def run_card(run: Run) -> str:
    """Facts of a run, from its small files: no row is read."""
    summary = run.summary
    row, end = summary.row(), summary.end or {}
    facts: dict[str, Any] = {
        "environments": _whole(row["num_envs"]),
        "workers": _whole(row["workers"]),
        "steps": _whole(summary.steps),
        "episodes": _whole(end.get("episodes")),
        "mean return": _number(end.get("mean_return")),
        "pictures": row["frames"],
        "seed": row["seed"],
        "created": f"{summary.created:%Y-%m-%d %H:%M:%S} UTC",
    }
    lost = end.get("lost_steps")
    if lost:
        facts["lost"] = f"{lost:,} steps; run.gaps() says which"
    elif summary.status == "crashed" and summary.end is None:
        facts["lost"] = "not known yet; rolltape verify settles it"
    return _card(str(row["env_id"] or "?"), summary.status, summary.run_id, facts)


def summary_card(summary: Any) -> str:
    """Facts of an `EndSummary`."""
    facts = {
        "steps": f"{summary.steps:,} ({summary.steps_per_s:,.0f} a second)",
        "episodes": f"{summary.episodes:,} ({summary.completed:,} completed)",
        "mean return": _number(summary.mean_return),
        "pictures": _whole(summary.frames),
        "on disk": f"{_size(summary.bytes)} ({summary.bytes_per_step:,.1f} bytes a step)",
        "took": f"{summary.seconds:,.1f} s",
        "lost": f"{summary.lost_steps:,} steps, {summary.lost_episodes:,} episodes",
        "folder": summary.path,
    }
    if summary.reason:
        facts["because"] = summary.reason
    return _card(summary.env_id, summary.status, summary.run_id, facts)


def episode_card(episode: Episode) -> str:
    """Facts of an episode."""
    facts = {"length": _whole(episode.length), "return": _number(episode.return_), "seed": episode.seed}
    return _card(f"Episode {episode.episode}", episode.status, episode.run.run_id, facts)


def lake_card(lake: Lake) -> str:
    """Its newest runs, from their small files."""
    from rolltape.schema.errors import RolltapeError
    from rolltape.storage.summaries import summarize, unreadable_row

    run_ids = lake.listing.run_ids()
    rows: list[Mapping[str, Any]] = []
    for run_id in reversed(run_ids[-RUNS_SHOWN:]):
        try:
            rows.append(summarize(lake.listing.folder(run_id)).row())
        except RolltapeError:  # one damaged run must not hide the others
            rows.append(unreadable_row(run_id))
    cells = [
        [
            row["run_id"],
            row.get("env_id") or "?",
            _state(row["status"]),
            str(row["created"])[:19].replace("T", " "),
            _whole(row.get("steps")) or "–",
            _whole(row.get("num_envs")) or "–",
            row.get("frames") or "–",
        ]
        for row in rows
    ]
    columns = ("run", "environment", "status", "created (UTC)", "steps", "envs", "pictures")
    more = (
        f'<div style="{FAINT}">{len(run_ids) - len(rows):,} older ones: lake.runs()</div>'
        if len(rows) < len(run_ids)
        else ""
    )
    what = f"<b>Lake</b> <code>{_safe(lake.path)}</code> · {len(run_ids):,} run{'s' * (len(run_ids) != 1)}"
    return f'<div style="{BOX}"><div>{what}</div>{_table(columns, cells) if rows else ""}{more}</div>'


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _card(title: str, status: str, run_id: str, facts: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr style="background:none"><td style="text-align:left;padding:1px 14px 1px 0;{FAINT}">{_safe(name)}</td>'
        f'<td style="text-align:left;padding:1px 0">{_safe(value)}</td></tr>'
        for name, value in facts.items()
        if value is not None
    )
    head = f'<b style="font-size:14px">{_safe(title)}</b> {_state(status)} <code style="{FAINT}">{_safe(run_id)}</code>'
    return f'<div style="{BOX}"><div>{head}</div><table style="margin:6px 0 0;border:0">{rows}</table></div>'


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(
        f'<th scope="col" style="text-align:left;padding:2px 14px 2px 0;{FAINT}">{_safe(c)}</th>' for c in columns
    )
    body = "".join(
        '<tr style="background:none">'
        + "".join(f'<td style="text-align:left;padding:2px 14px 2px 0">{_safe(cell)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return f'<table style="margin:6px 0 0;border:0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _state(status: str) -> Markup:
    """A word with a coloured dot: the colour says nothing that the word does not."""
    dot = f'<span aria-hidden="true" style="color:{STATES.get(status, "#7d8591")}">●</span>'
    return Markup(f'<span style="white-space:nowrap">{dot} {_safe(status)}</span>')


def _safe(value: Any) -> str:
    return value if isinstance(value, Markup) else html.escape(str(value), quote=True)


def _whole(value: Any) -> str | None:
    return None if value is None else f"{value:,}"


def _number(value: Any) -> str | None:
    return None if value is None else f"{value:,.6g}"


def _size(count: int) -> str:
    for bound, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= bound:
            return f"{count / bound:.1f} {unit}"
    return f"{count} B"
