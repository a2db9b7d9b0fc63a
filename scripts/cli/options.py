"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def given(ctx: typer.Context, name: str) -> bool:
    """Whether the option or argument of this name was said, and is not its default."""
    return str(ctx.get_parameter_source(name)) != "ParameterSource.DEFAULT"


def one_or_all(ctx: typer.Context, all: bool) -> None:
    """Refuse a run that is named beside `--all`: one of the two would count for nothing. Raises typer.BadParameter."""
    if all and given(ctx, "run"):
        named = ctx.params["run"]
        raise typer.BadParameter(f"every run, or the one that is named; got {named!r} too", param_hint="--all")


def _lake(ctx: typer.Context, param: typer.CallbackParam, value: Path) -> Path:
    """The lake that files of settings name, where neither an option nor the environment does."""
    if ctx.resilient_parsing or given(ctx, param.name or ""):
        return value
    from rolltape.storage.configuration import configured_lake

    return configured_lake()


Lake = Annotated[
    Path,
    typer.Option(
        "--lake",
        envvar="ROLLTAPE_LAKE",
        show_envvar=True,
        callback=_lake,
        help="Folder that recordings are in.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A TOML file of settings, beside those of the project."),
]
SetKeys = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting by its key; may be repeated."),
]
Which = Annotated[str, typer.Argument(metavar="[RUN]", help="A run id, its beginning, or 'latest'.")]
Where = Annotated[str | None, typer.Option("--where", help='Only rows for which this holds, e.g. "return > 100".')]
Order = Annotated[str | None, typer.Option("--order", help='Sort by this, e.g. "return desc".')]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=0, help="At most so many rows; 0 is all. A table shows 20 otherwise.", show_default=False
    ),
]
As = Annotated[Format, typer.Option("--format", help="How to print the rows.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", help="Write the rows to this .parquet, .csv or .json file instead.", show_default=False),
]
