"""`rolltape sql`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import As, Format, Lake, Limit, Output


def sql(
    query: Annotated[str, typer.Argument(help='e.g. "select env_id, avg(return) from episodes group by 1"')],
    lake: Lake = Path("lake"),
    limit: Limit = None,
    format: As = Format.table,
    output: Output = None,
) -> None:
    """Run an SQL query over runs, episodes, steps, frames, logs, ledger, metrics, parts and more (DuckDB)."""
    from rolltape.storage.lake import open_lake

    from .output import show

    show(open_lake(lake).sql(query), form=format, limit=limit, output=output)
