"""`rolltape replay`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Lake, Where, Which

if TYPE_CHECKING:
    from rolltape.actors.replay import OnProgress

DIVERGED = 3
"""Exit code where an episode differs from its replay."""
SHOWN = 10
"""Episodes that differ are shown one by one up to here."""

Make = Annotated[
    str | None,
    typer.Option(
        metavar="M:CALLABLE",
        help="What makes the environment, where the recording does not say it; or module:Id-v0.",
        show_default=False,
    ),
]


def replay(
    run: Which = "latest",
    lake: Lake = Path("lake"),
    episode: Annotated[
        list[int] | None, typer.Option("--episode", "-e", help="Only this one; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All episodes.")] = False,
    where: Where = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes on Ray that share the work.")] = 1,
    make: Make = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line for every episode.")] = False,
) -> None:
    """Run recorded episodes again and compare every value bit for bit.

    The environment is made as it was recorded, reset with the recorded seed,
    and given the recorded actions. Exit code 0: all that could be replayed is
    exact. 3: an episode differs; its first difference is shown. 1: an error,
    or nothing could be replayed.

    Examples:

    rolltape replay --all

    rolltape replay 01J8 --where "return > 400" --workers 4

    rolltape replay --episode 12 --make my.envs:make
    """
    from rich.console import Console

    from rolltape.actors.replay import replay as replay_run
    from rolltape.schema.errors import ConfigError, ReplayFailed
    from rolltape.storage.lake import open_lake

    from .query_errors import query_errors

    if not episode and not where and not everything:
        raise ConfigError("replay: say which episodes: --episode N, --where CONDITION, or --all.")
    if everything and (episode or where):
        raise ConfigError("replay: --all means every episode; leave it out, or --episode and --where.")
    console = Console(highlight=False, soft_wrap=True, markup=False)
    recorded = open_lake(lake).run(run)
    with query_errors(recorded.episodes(), where=where), _progress() as progress:
        report = replay_run(recorded, episode or None, where=where, make=make, workers=workers, progress=progress)
    if not len(report):
        asked = [*(f"--episode {number}" for number in episode or ()), *([f"--where {where!r}"] if where else [])]
        raise ConfigError(
            f"replay: no episode fits {' '.join(asked) or '--all'}; `rolltape episodes` lists those that ended."
        )
    for name, (was, here) in report.versions.items():
        console.print(f"{name} was {was} when this was recorded; here it is {here or 'not installed'}")
    wrong = [result for result in report if result.divergence is not None]
    for result in report if verbose else wrong[:SHOWN]:
        console.print(str(result))
    if len(wrong) > SHOWN and not verbose:
        console.print(f"… and {len(wrong) - SHOWN:,} more that differ (--verbose lists them)")
    for reason, count in sorted(report.reasons.items(), key=lambda item: -item[1]):
        console.print(f"{count:,} not replayable: {reason}")
    if report.uncompared:
        console.print(f"infos that no replay repeats, not compared: {', '.join(sorted(report.uncompared))}")
    console.print(str(report))
    if wrong:
        raise typer.Exit(DIVERGED)
    if not report.exact:
        raise ReplayFailed("Nothing of this could be replayed.")


@contextmanager
def _progress() -> Iterator[OnProgress | None]:
    """A bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("episodes"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, wanted: bar.update(task, completed=done, total=wanted)
