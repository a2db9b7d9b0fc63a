"""Infos of a vector environment (a dict of arrays with masks) as one dict a sub-environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

FINAL_KEYS: Final = ("final_obs", "final_info")

Reader = Callable[[int], dict[str, Any]]


def info_reader(infos: dict[str, Any]) -> Reader | None:
    """A function from the sub-environment's place to its info without `final_obs` and `final_info`; None when all are
    empty.

    Source: Gymnasium `VectorEnv._add_info`: each key has a boolean mask `_key`; nested dicts are vectorised likewise.
    """
    keys = [k for k in infos if k not in FINAL_KEYS and not (k.startswith("_") and k[1:] in infos)]
    if not keys:
        return None
    columns = [(key, infos[key], infos.get(f"_{key}")) for key in keys]

    def read(place: int) -> dict[str, Any]:
        info: dict[str, Any] = {}
        for key, value, mask in columns:
            if mask is not None and not mask[place]:
                continue
            if isinstance(value, dict):
                nested = info_reader(value)
                info[key] = nested(place) if nested else {}
            else:
                info[key] = value[place] if _is_batched(value, place) else value
        return info

    return read


def _is_batched(value: Any, place: int) -> bool:
    return isinstance(value, np.ndarray | list | tuple) and len(value) > place


def final_reader(infos: dict[str, Any]) -> Reader | None:
    """Like `info_reader` for the infos of the last steps under SAME_STEP autoreset."""
    final = infos.get("final_info")
    return info_reader(final) if isinstance(final, dict) else None


def nothing(_: int) -> dict[str, Any]:
    """The reader of an environment without infos."""
    return {}
