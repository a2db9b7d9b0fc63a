"""`rolltape config check`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import ConfigFile, SetKeys
from .settled import settled


def check(
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    env: Annotated[
        str | None, typer.Option(help="An environment's id, whose preset is looked at too.", show_default=False)
    ] = None,
) -> None:
    """Check every setting that files and the environment give, before anything starts.

    Prints each wrong key or value with what is allowed and where it came from, and exits with 2 then.
    """
    found = settled(env, config, set_keys, {})
    changed = len(found.changed())
    print(f"all right: {changed} of {len(found.origins)} settings differ from their defaults")
