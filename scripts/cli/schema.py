"""`rolltape schema`: what is recorded, and by which contract. Each of its commands is a file of its own."""

from __future__ import annotations

import typer

from .schema_adapters import adapters
from .schema_dump import dump
from .schema_export import export

schema = typer.Typer(help="What is recorded of an environment, and by which contract.", no_args_is_help=True)
schema.command("dump")(dump)
schema.command("adapters")(adapters)
schema.command("export")(export)
