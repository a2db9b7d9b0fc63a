"""What a user chose last, kept in the platform's folder for settings (`~/.config/rolltape` on Linux)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

import typer


def choices_file() -> Path:
    """Where choices are kept."""
    return Path(typer.get_app_dir("rolltape")) / "choices.json"


def last_choice(command: str) -> dict[str, Any]:
    """What was chosen last for a command; empty where nothing was, or where it cannot be read."""
    try:
        found = json.loads(choices_file().read_text(encoding="utf-8")).get(command)
    except (OSError, ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def remember_choice(command: str, choice: dict[str, Any]) -> None:
    """Keep a choice. A home that cannot be written is no reason to fail."""
    path = choices_file()
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    if known.get(command) == choice:
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known | {command: choice}, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)  # noqa: PTH105 - two commands at once leave one whole file
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
