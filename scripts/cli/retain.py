"""`rolltape retain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rolltape.schema.errors import ConfigError

from .amounts import AGES, seconds, size
from .options import Lake

Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this, only show what would go.")]


def retain(
    lake: Lake = Path("lake"),
    keep_last: Annotated[
        int | None,
        typer.Option("--keep-last", min=0, help="Keep the newest so many runs in any case; alone: all others go."),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", metavar="AGE", help=f"Runs that ended longer ago go, {AGES}.", show_default=False),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="The oldest go until all take at most this, such as 500MB, 100GB or 2TiB.",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="AGE", help=f"How long runs that go stay readable, {AGES}.")
    ] = "60s",
    yes: Yes = False,
) -> None:
    """Delete old runs: first show which, then with --yes do it. Runs that are being recorded never go."""
    from rolltape.storage.upkeep import retain as retain_lake

    from .removals import show_removals

    if keep_last is None and max_age is None and max_size is None:
        raise ConfigError("retain: give --keep-last N, --max-age AGE or --max-size SIZE; without a rule nothing goes.")
    found = retain_lake(
        lake,
        keep_last=keep_last,
        max_age_s=None if max_age is None else seconds(max_age, "--max-age"),
        max_size_bytes=None if max_size is None else size(max_size, "--max-size"),
        dry_run=not yes,
        grace_s=seconds(grace, "--grace"),
    )
    show_removals(found, done=yes)
