"""`rolltape schema adapters`."""

from __future__ import annotations

import json as json_format
from typing import Annotated

import typer


def adapters(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the environment adapters in the order in which they are asked, and those that cannot be loaded."""
    from rich.table import Table

    from rolltape.schema.adapters.registry import known_adapters

    from .output import console

    rows = [
        {
            "adapter": known.name,
            "version": known.adapter.version if known.adapter else None,
            "capability": known.adapter.capability if known.adapter else None,
            "from": known.origin,
            "class": known.place,
            "problem": known.problem or None,
        }
        for known in known_adapters()
    ]
    if json:
        typer.echo(json_format.dumps(rows, indent=2))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    console().print(table)
