"""Presets that are measured: written as TOML files into the user's folder, with their evidence."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rolltape.schema.errors import LakeNotWritable


def preset_name(env_id: str) -> str:
    """`tuned-ale-breakout-v5` for `ALE/Breakout-v5`."""
    return "tuned-" + re.sub(r"[^a-z0-9]+", "-", env_id.lower()).strip("-")


def preset_text(head: Mapping[str, Any], settings: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    """A preset as TOML: `[preset]`, `[rolltape…]`, `[evidence]` with its lists of tables."""
    parts = [*_table("preset", head), *_table("rolltape", settings), *_table("evidence", evidence)]
    return "\n".join(parts) + "\n"


def write_preset(folder: Path, name: str, text: str) -> Path:
    """Write a preset in the place of an older one of its name. Raises LakeNotWritable."""
    path = folder / f"{name}.toml"
    temporary = folder / f".{name}.{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise LakeNotWritable(f"The preset {path} cannot be written: {error.strerror or error}.") from error
    return path


def _table(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping) and not _is_tables(value)}
    if plain:
        yield f"[{name}]"
        yield from (f"{_key(key)} = {_value(value)}" for key, value in plain.items())
        yield ""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _table(f"{name}.{_key(key)}", value)
        elif _is_tables(value):
            for row in value:
                yield f"[[{name}.{_key(key)}]]"
                yield from (f"{_key(inner)} = {_value(item)}" for inner, item in row.items())
                yield ""


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    """JSON of a text, number, truth or flat list is TOML as well, but for DEL and characters beyond the BMP, which
    stay as they are."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
