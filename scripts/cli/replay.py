"""`rolltape replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Lake, Where, Which

DIVERGED = 3
"""Exit code where an episode differs from its replay."""


def replay(
    run: Which = "latest",
    lake: Lake = Path("lake"),
    episode: Annotated[
        list[int] | None, typer.Option("--episode", "-e", help="Only this one; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All episodes that can be replayed.")] = False,
    where: Where = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line for every episode.")] = False,
) -> None:
    """Run recorded episodes again from their seeds and actions, and compare every value bit for bit.

    Exit code 0: all that can be replayed are exact. 3: one differs; its first difference is shown. 1: an error.
    """
    from rich.console import Console

    from rolltape.actors.replay import Replayer, version_differences
    from rolltape.schema.errors import ConfigError
    from rolltape.storage.lake import open_lake

    chosen = [f"episode in ({', '.join(map(str, episode))})"] if episode else []
    chosen += [f"({where})"] if where else []
    if not chosen and not everything:
        raise ConfigError("replay: say which episodes: --episode N, --where CONDITION, or --all.")
    console = Console()
    recorded = open_lake(lake).run(run)
    for name, (was, here) in version_differences(recorded).items():
        console.print(f"[yellow]{name} was {was} when this was recorded, here it is {here or 'not installed'}[/]")
    replayer = Replayer(recorded)
    counts: dict[str, int] = {}
    steps, seconds = 0, 0.0
    try:
        for result in replayer.episodes(" and ".join(chosen) or None):
            counts[result.outcome] = counts.get(result.outcome, 0) + 1
            steps += result.steps
            seconds += result.seconds
            if result.divergence is not None or verbose:
                what = result.divergence or result.reason
                console.print(
                    f"episode {result.episode}: {result.outcome}{f': {what}' if what else ''}", highlight=False
                )
    finally:
        replayer.close()
    if not counts:
        raise ConfigError("replay: no episode fits; `rolltape episodes` lists them.")
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()))
    rate = f", {steps / seconds:,.0f} steps/s" if seconds else ""
    console.print(f"run {recorded.run_id}: {told} ({steps:,} steps{rate})", highlight=False)
    if counts.get("diverged") or counts.get("nondeterministic"):
        raise typer.Exit(DIVERGED)
