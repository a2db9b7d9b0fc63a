"""Infos as JSON, nothing lost: what JSON has no word for is written as a one-key object that names its kind.

`{"$array": [dtype, shape, base64]}` for arrays, `{"$float": "nan"}` for numbers that are not finite, `{"$bytes": …}`,
`{"$tuple": [...]}`, `{"$dict": [[key, value]]}` for a dict that looks like one of these, `{"$repr": "..."}` for any
other object (the only kind that does not come back as itself), and for what lies more than 64 levels deep.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

STATE_PREFIX: Final = "state."
"""An environment's recorded state is among its infos under this prefix: `state.lives`."""
DEEPEST: Final = 64
"""Levels of nesting; an info that holds itself has no end."""


def key_names(info: Mapping[Any, Any]) -> dict[Any, str]:
    """Each key as text. One that is no text and looks like another names its type: `1` beside `"1"` is `1 (int)`."""
    names = {key: str(key) for key in info if isinstance(key, str)}
    taken = set(names.values())
    for key in info:
        if key not in names:
            name = str(key)
            while name in taken:
                name += f" ({type(key).__qualname__})"
            names[key] = name
            taken.add(name)
    return names


def encode_info(info: Mapping[Any, Any]) -> str:
    """One info dictionary as a compact JSON object; keys become strings."""
    return _dumps(_plain_dict(info, 0))


def encode_value(value: Any) -> str:
    """One value of an info, as it stands inside the JSON object of `encode_info`."""
    return _dumps(_plain(value, 1))


def join_info(texts: Mapping[str, str]) -> str:
    """The JSON object of an info, of the texts that `encode_value` made of its values; the keys are sorted."""
    items = [(_dumps(key), texts[key]) for key in sorted(texts)]
    if len(items) == 1 and items[0][0].startswith('"$'):
        return '{"$dict":[[' + ",".join(items[0]) + "]]}"
    return "{" + ",".join(f"{key}:{text}" for key, text in items) + "}"


def state_of_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """What of an info is the state, by the adapter's own keys."""
    return {key.removeprefix(STATE_PREFIX): value for key, value in info.items() if key.startswith(STATE_PREFIX)}


def decode_info(text: str | None) -> dict[str, Any]:
    """The inverse of `encode_info`; `{}` for None. Numbers come back as Python's own."""
    return {} if text is None else json.loads(text, object_hook=restored)


def _dumps(item: Any) -> str:
    text = json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate: escaped, it is a string that every column takes
            return json.dumps(item, separators=(",", ":"))
    return text


def _plain(value: Any, level: int) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype != object:
            raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
            return {"$array": [value.dtype.str, list(value.shape), raw]}
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if level < DEEPEST:
        if isinstance(value, dict):
            return _plain_dict(value, level)
        if isinstance(value, (list, tuple)):
            items = [_plain(v, level + 1) for v in value]
            return items if isinstance(value, list) else {"$tuple": items}
    return {"$repr": repr(value) if level < DEEPEST else "…"}


def _plain_dict(value: Mapping[Any, Any], level: int) -> dict[str, Any]:
    if all(type(key) is str for key in value):
        items = {key: _plain(item, level + 1) for key, item in value.items()}
    else:
        names = key_names(value)
        items = {names[key]: _plain(item, level + 1) for key, item in value.items()}
    if len(items) == 1 and next(iter(items)).startswith("$"):
        return {"$dict": [list(item) for item in items.items()]}
    return items


def restored(item: dict[str, Any]) -> Any:
    """What a JSON object of `encode_value` stands for."""
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
    if kind == "$dict":
        return dict(value)
    return item
