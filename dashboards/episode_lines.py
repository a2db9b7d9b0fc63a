"""The numbers of an episode's steps as named lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from .lines import scalar_columns

COLUMNS: Final = ("reward", "action", "observation", "info")
SO_FAR: Final = "return so far"


def episode_lines(table: pa.Table, adapter: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """All lines of an episode, by the column that they come from and by their name; names are unique.

    Args:
        table: its steps, in the order of `t`.
        adapter: the section `adapter` of `run.json`, which may name the elements of observations and actions.

    Returns:
        float64[steps] each, NaN where there is no number; `return so far` stands beside `reward`.
    """
    names = {"observation": adapter.get("observation_names") or [], "action": adapter.get("action_names") or []}
    found: dict[str, dict[str, np.ndarray]] = {}
    taken: set[str] = set()
    for column in COLUMNS:
        if column not in table.column_names:
            continue
        nested = pa.types.is_fixed_size_list(table.column(column).type)
        for name, values in scalar_columns(column, table.column(column), names.get(column, ()) if nested else ()):
            unique = name if name not in taken else f"{column} {name}"
            taken.add(unique)
            found.setdefault(column, {})[unique] = values
    if "reward" in found:
        found[SO_FAR] = {SO_FAR: np.cumsum(np.nan_to_num(found["reward"]["reward"]))}
    return found
