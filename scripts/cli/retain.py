"""`rolltape retain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Lake

Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this, only show what would go.")]


def retain(
    lake: Lake = Path("lake"),
    keep_last: Annotated[
        int | None,
        typer.Option("--keep-last", min=0, help="Keep the newest so many runs in any case; alone: all others go."),
    ] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", help="Runs that ended longer ago go: 12h, 30d.", show_default=False)
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", help="The oldest go until all take at most this: 100GB.", show_default=False),
    ] = None,
    grace: Annotated[str, typer.Option("--grace", help="How long runs that go stay readable.")] = "60s",
    yes: Yes = False,
) -> None:
    """Delete old runs: first show which, then with --yes do it. Runs that are being recorded never go."""
    from rolltape.storage.upkeep import retain as retain_lake

    from .amounts import seconds, size
    from .removals import show_removals

    found = retain_lake(
        lake,
        keep_last=keep_last,
        max_age_s=None if max_age is None else seconds(max_age, "--max-age"),
        max_size_bytes=None if max_size is None else size(max_size, "--max-size"),
        dry_run=not yes,
        grace_s=seconds(grace, "--grace"),
    )
    show_removals(found, done=yes)
