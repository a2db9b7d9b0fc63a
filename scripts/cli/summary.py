"""How a run ended, as a table, as JSON, and as commands to type next."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import console, facts

if TYPE_CHECKING:
    from rolltape.actors.end_summary import EndSummary


def print_summary(summary: EndSummary, lake: Path) -> None:
    """Print the facts of a run that has ended, and what can be done with it."""
    facts(facts_of(summary))
    out = console()
    out.print()
    for line in next_commands(summary, lake) if summary.episodes else ():
        out.print(f"  {line}", style="cyan", soft_wrap=True)


def facts_of(summary: EndSummary) -> dict[str, str]:
    """The summary in words; every number with its unit."""
    ended = f"{summary.completed:,} completed"
    if summary.mean_return is not None:
        ended += f", mean return {summary.mean_return:,.6g}"
    if cut := summary.episodes - summary.completed - summary.lost_episodes:
        ended += f"; {cut:,} still open were closed as aborted"
    lost = f"{summary.lost_steps:,} steps, {summary.lost_episodes:,} episodes"
    found = {
        "run": summary.run_id,
        "path": summary.path,
        "status": f"stopped: {summary.reason}" if summary.status == "stopped" else summary.status,
        "steps": f"{summary.steps:,}",
        "episodes": ended,
        "frames": f"{summary.frames:,}",
        "speed": f"{summary.steps_per_s:,.0f} steps/s for {summary.seconds:,.1f} s, until all was durable",
        "on disk": f"{mib(summary.bytes)}, {summary.bytes_per_step:,.1f} bytes a step",
        "in flight": f"{mib(summary.inflight_high_bytes)} at most",
        "durable lag": f"{summary.lag_high_s:.2f} s at most",
        "waited": f"{summary.waited_s:.1f} s for room",
        "restarts": f"{summary.restarts:,}",
        "lost": lost,
    }
    if summary.skipped:
        found["left out"] = f"{summary.skipped:,} steps on purpose (keep_last or sample)"
    if summary.mismatches:
        found["off"] = ", ".join(f"{code} {count:,}" for code, count in summary.mismatches.items())
    if not summary.frames:
        del found["frames"]
    if summary.waited_s < 0.05:
        del found["waited"]
    return found


def as_json(summary: EndSummary | None, *, run_id: str | None, error: str | None) -> dict[str, Any]:
    """The summary for programs: its fields, steps_per_s, bytes_per_step, and `error` (null when all went well)."""
    if summary is None:
        return {"run_id": run_id, "status": "failed", "error": error}
    derived = {"steps_per_s": summary.steps_per_s, "bytes_per_step": summary.bytes_per_step}
    return {**asdict(summary), **derived, "error": error}


def next_commands(summary: EndSummary, lake: Path) -> list[str]:
    """Commands that read this run, with the lake where it is not the one that they read by themselves."""
    run, where = summary.run_id, lake_option(lake)
    return [
        f'rolltape episodes {run} --order "return desc"{where}',
        f"rolltape sql \"select * from episodes where run_id = '{run}' limit 5\"{where}",
        f"rolltape replay {run} --all{where}",
    ]


def lake_option(lake: Path) -> str:
    """` --lake DIR`, or nothing where that is the lake that commands read by themselves."""
    usual = Path(os.environ.get("ROLLTAPE_LAKE") or "lake")
    return "" if lake == usual else f" --lake {shlex.quote(str(lake))}"


def mib(nbytes: int) -> str:
    """Bytes as a person reads them."""
    if nbytes < 1 << 20:
        return f"{nbytes / 1024:,.1f} KiB"
    return f"{nbytes / (1 << 20):,.1f} MiB" if nbytes < 1 << 30 else f"{nbytes / (1 << 30):,.2f} GiB"
