"""Infos as JSON, nothing lost: what JSON has no word for is written as a one-key object that names its kind.

`{"$array": [dtype, shape, base64]}` for arrays, `{"$float": "nan"}` for numbers that are not finite, `{"$bytes": base64}`,
`{"$tuple": [...]}`, `{"$repr": "..."}` for any other object (the only kind that does not come back as itself).
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np


def encode_info(info: dict[Any, Any]) -> str:
    """One info dictionary as a compact JSON object; keys become strings."""
    return json.dumps({str(k): _plain(v) for k, v in info.items()}, separators=(",", ":"), ensure_ascii=False)


def decode_info(text: str | None) -> dict[str, Any]:
    """The inverse of `encode_info`; `{}` for None. Numbers come back as Python's own."""
    return {} if text is None else json.loads(text, object_hook=_restore)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return [_plain(v) for v in value.tolist()]
        raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"$array": [value.dtype.str, list(value.shape), raw]}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return {"$tuple": [_plain(v) for v in value]}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    return value if isinstance(value, str) else {"$repr": repr(value)}


def _restore(item: dict[str, Any]) -> Any:
    if len(item) != 1:
        return item
    (kind, value), *_ = item.items()
    if kind == "$array":
        dtype, shape, raw = value
        return np.frombuffer(base64.b64decode(raw), dtype=np.dtype(dtype)).reshape(shape).copy()
    if kind == "$float":
        return float(value)
    if kind == "$bytes":
        return base64.b64decode(value)
    if kind == "$tuple":
        return tuple(value)
    return item
