"""`rolltape schema export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def export(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for one file a schema; made where it does not exist.", show_default=False),
    ] = None,
) -> None:
    """Write the payload's JSON Schemas: steps of version 0, and every table of the current version.

    Without --out they are printed as one document, each under its name.

    Examples:

    rolltape schema export --out schemas

    rolltape schema export | jq '."step.v0".required'
    """
    from rolltape.schema.errors import StorageError
    from rolltape.schema.json_schema import schema_bundle

    bundle = schema_bundle()
    if out is None:
        typer.echo(json.dumps(bundle, indent=2))
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, schema in bundle.items():
            path = out / f"{name}.json"
            path.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
            typer.echo(path)
    except OSError as error:
        raise StorageError(f"Cannot write the schemas into {out}: {error.strerror or error}") from error
