"""`rolltape config`: what holds, where it comes from, what is allowed. Each of its commands is a file of its own."""

from __future__ import annotations

import typer

from .config_check import check
from .config_diff import diff
from .config_presets import presets
from .config_schema import schema
from .config_show import show

config = typer.Typer(help="Settings: what holds, where it comes from, and what is allowed.", no_args_is_help=True)
config.command("show")(show)
config.command("check")(check)
config.command("diff")(diff)
config.command("presets")(presets)
config.command("schema")(schema)
