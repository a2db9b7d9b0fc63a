"""`rolltape vacuum`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .amounts import AGES, seconds
from .options import Lake
from .retain import Yes


def vacuum(
    lake: Lake = Path("lake"),
    grace: Annotated[
        str, typer.Option("--grace", metavar="AGE", help=f"How long replaced parts stay for readers, {AGES}.")
    ] = "60s",
    quarantine: Annotated[
        str | None,
        typer.Option(
            "--quarantine",
            metavar="AGE",
            help=f"Also what lies in quarantine for so long, {AGES}.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete what nobody needs any more: replaced parts and retired runs after their grace, and half-written files.

    First shows what would go; with --yes does it. Quarantine is left alone unless asked for: it may hold all that is
    left of a damaged part.
    """
    from rolltape.storage.upkeep import vacuum as vacuum_lake

    from .removals import show_removals

    age = None if quarantine is None else seconds(quarantine, "--quarantine")
    found = vacuum_lake(lake, dry_run=not yes, grace_s=seconds(grace, "--grace"), quarantine_age_s=age)
    show_removals([one for one in found if not (yes and one.waits_s)], done=yes)
