"""`rolltape runs`."""

from __future__ import annotations

from pathlib import Path

from .options import As, Format, Lake, Limit, Order, Output, Where

COLUMNS = ("run_id", "env_id", "created", "status", "steps", "episodes", "mean_return", "bytes", "frames", "seed")


def runs(
    lake: Lake = Path("lake"),
    where: Where = None,
    order: Order = None,
    limit: Limit = None,
    format: As = Format.table,
    output: Output = None,
) -> None:
    """List the runs of a lake, newest last.

    The status is running, completed, stopped, failed, or crashed: no end was written and nobody is at work.
    """
    from rolltape.storage.lake import open_lake

    from .output import show

    show(
        open_lake(lake).runs(),
        where=where,
        order=order,
        form=format,
        limit=limit,
        output=output,
        columns=COLUMNS,
        newest=order is None,
    )
