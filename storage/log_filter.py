"""Filters of log records: components and levels are those of the catalogue, and nothing else passes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from rolltape.schema.errors import ConfigError
from rolltape.schema.log_codes import CATALOGUE, LEVELS, SEVERITY

from .sql_types import quote_text


def log_condition(component: str | Sequence[str] | None, level: str | None) -> str | None:
    """The SQL condition of a filter on the table `logs`; None where everything passes.

    Args:
        component: one or several components of the catalogue; None or none at all for every one.
        level: the least level; None for every one.

    Raises:
        ConfigError: a component or a level that there is none of.
    """
    wanted = [component] if isinstance(component, str) else list(component or ())
    known = CATALOGUE.components()
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"component: {name!r} is not in the catalogue; there are {', '.join(known)}.{hint}")
    parts = []
    if wanted:
        parts.append(f"component IN ({', '.join(map(quote_text, wanted))})")
    if level is not None:
        if level not in LEVELS:
            raise ConfigError(f"level: expected one of {', '.join(LEVELS)}, got {level!r}")
        parts.append(f"severity >= {SEVERITY[level]}")
    return " AND ".join(parts) or None
