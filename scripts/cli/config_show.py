"""`rolltape config show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import ConfigFile, Lake, SetKeys
from .settled import settled

if TYPE_CHECKING:
    from rolltape.schema.config_provenance import Resolved


class ShowFormat(StrEnum):
    """How settings are printed."""

    table = "table"
    json = "json"
    toml = "toml"


def show(
    section: Annotated[
        str, typer.Argument(metavar="[SECTION]", help="Only keys that begin so, such as durable.commit.")
    ] = "",
    explain: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Tell all of one key: what every source says, range, reason."),
    ] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from its default.")] = False,
    legend: Annotated[bool, typer.Option("--legend", help="Explain the names of sources.")] = False,
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Those that a run was recorded with, instead of those here and now."),
    ] = None,
    env: Annotated[
        str | None, typer.Option(help="An environment's id, which chooses a preset.", show_default=False)
    ] = None,
    format: Annotated[ShowFormat, typer.Option("--format", help="How to print them.")] = ShowFormat.table,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    lake: Lake = Path("lake"),
) -> None:
    """Show what holds here, each value with its source.

    Examples:

    rolltape config show durable.commit --env ALE/Breakout-v5

    rolltape config show --explain durable.commit.max_age_s

    rolltape config show --run latest --changed
    """
    if explain is not None:
        _explain(settled(env, config, set_keys, {}), explain)
    else:
        rows = of_run(run, lake) if run is not None else settled(env, config, set_keys, {}).table()
        rows = [row for row in rows if row["key"].startswith(section)]
        if not rows:
            from rolltape.schema.config_provenance import setting_of

            setting_of(section)  # raises ConfigError with near ones
        rows = [row for row in rows if not (changed and row["value"] == row["default"])]
        if format is ShowFormat.json:
            json.dump(rows, sys.stdout, indent=2)
            print()
        elif format is ShowFormat.toml:
            print(as_toml(rows), end="")
        else:
            print_rows(rows)
    if legend:
        _legend()


def of_run(run: str, lake: Path) -> list[dict[str, Any]]:
    """The rows that a run keeps. Raises ConfigError for a run without them."""
    from rolltape.schema.errors import ConfigError
    from rolltape.storage.lake import open_lake

    found = open_lake(lake).run(run)
    kept = found.info.get("settings")
    if not kept:
        raise ConfigError(f"run {found.run_id} was recorded without settings; `rolltape info` has what there is.")
    return kept["values"]


def print_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """One aligned line a setting: key, value with unit, source."""
    rows = list(rows)
    values = [f"{said(row['value'])} {row['unit']}".strip() for row in rows]
    wide = max((len(row["key"]) for row in rows), default=0)
    wider = min(40, max(map(len, values), default=0))
    for row, value in zip(rows, values, strict=True):
        source = f"{row['source']} ({row['mutation']})" if row["mutation"] else row["source"]
        place = f" in {row['place']}" if row["place"] and row["place"] != row["source"] else ""
        print(f"{row['key']:<{wide}}  {value:<{wider}}  {source}{place}")


def said(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def as_toml(rows: Iterable[Mapping[str, Any]]) -> str:
    """The values as a file that `--config` reads."""
    sections: dict[str, list[str]] = {}
    for row in rows:
        section, _, name = row["key"].rpartition(".")
        sections.setdefault(section, []).append(f"{name} = {json.dumps(row['value'], ensure_ascii=False)}")
    blocks = ["\n".join(([f"[{section}]"] if section else []) + lines) for section, lines in sections.items()]
    return "\n\n".join(blocks) + "\n"


def _explain(found: Resolved, path: str) -> None:
    from rolltape.schema.config_provenance import plain, setting_of
    from rolltape.schema.config_sources import variable_of

    setting = setting_of(path)
    unit = f" {setting.unit}" if setting.unit else ""
    print(f"{path} = {said(plain(found.value(path)))}{unit}  {found.origin(path).said}\n")
    print(f"  {setting.reason}\n")
    print(f"  allowed   {setting.allowed}")
    for risk in setting.risks:
        print(f"  risky     {risk.bounds}: {risk.cost}")
    print(f"  variable  {variable_of(path)}")
    print(f"  option    --set {path}=…")
    print("\n  said, the last one holds:")
    for given in found.ladder(path):
        print(f"    {said(plain(given.value)):<16} {given.origin.said}")
    if found.origin(path).mutation:
        print(f"    {said(plain(found.value(path))):<16} {found.origin(path).mutation} from other settings")


def _legend() -> None:
    from rolltape.schema.config_provenance import LEGEND

    print("\nsources, a later one wins:")
    for name, meaning in LEGEND:
        print(f"  {name:<18} {meaning}")
