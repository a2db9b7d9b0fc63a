"""The configuration of a command: its options, files and the environment, checked before anything starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolltape.schema.errors import ConfigError

if TYPE_CHECKING:
    from rolltape.schema.config_provenance import Resolved

USAGE = 2
"""Exit code of a command that was not understood, as shells know it."""


def settled(
    env_id: str | None,
    config_file: Path | None,
    set_keys: list[str] | None,
    options: Mapping[str, tuple[str, Any]],
) -> Resolved:
    """Read every source; say what risky values cost; exit with 2 and every refusal where something is wrong.

    Args:
        env_id: what is to be recorded, if anything.
        config_file: of `--config`.
        set_keys: of `--set`.
        options: (option, value) by the path of the key that it sets; None: not given.
    """
    from rolltape.schema.config_provenance import Given, Origin
    from rolltape.schema.config_sources import assignments
    from rolltape.storage.configuration import configured

    given = {
        path: Given(value.value if isinstance(value, Enum) else value, Origin("cli", option))
        for path, (option, value) in options.items()
        if value is not None
    }
    try:
        found = configured(env_id=env_id, options=given | assignments(set_keys or []), config_file=config_file)
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"rolltape: {line}", file=sys.stderr)
        raise SystemExit(USAGE) from None
    for risk in found.risks:
        print(f"rolltape: {risk}", file=sys.stderr)
    return found


def say_all_right() -> None:
    """What `--check` says where nothing is wrong; `submit`, which checks its command so, goes on and says itself."""
    from rolltape.storage.configuration import SETTINGS_VARIABLE

    if SETTINGS_VARIABLE not in os.environ:
        print("all right; nothing was started", file=sys.stderr)
