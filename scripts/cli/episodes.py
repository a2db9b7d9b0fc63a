"""`rolltape episodes`."""

from __future__ import annotations

from pathlib import Path

from .options import As, Format, Lake, Limit, Order, Output, Where, Which

COLUMNS = ("episode", "sub_env", "length", '"return"', "terminated", "truncated", "status", "seed", "start_time")


def episodes(
    run: Which = "latest",
    lake: Lake = Path("lake"),
    where: Where = None,
    order: Order = None,
    limit: Limit = None,
    format: As = Format.table,
    output: Output = None,
) -> None:
    """List the episodes of a run that ended, in the order in which they were committed."""
    from rolltape.storage.lake import open_lake

    from .output import show

    found = open_lake(lake).run(run).episodes()
    show(found, where=where, order=order, form=format, limit=limit, output=output, columns=COLUMNS)
