"""Keys of a Dict space <-> JSON: a string as it is, any other as `{"int": 3}`, `{"tuple": ["a", {"int": 3}]}`
and so on."""

from __future__ import annotations

import base64
from collections.abc import Hashable
from typing import Any

import numpy as np

from .errors import SchemaError, UnsupportedSpace
from .space_numbers import number_from_json, number_to_json
from .space_paths import Path, show_path


def key_to_json(key: Any, path: Path) -> Any:
    """The token of a key.

    Args:
        key: str, bytes, bool, int, float, None, or a tuple of these.
        path: where the Dict lies, for the message.

    Raises:
        UnsupportedSpace: a key of another type.
    """
    # NumPy scalars, and enums that are strings or integers, hash and compare as the plain value written here.
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, (bool, np.bool_)):
        return {"bool": bool(key)}
    if isinstance(key, (int, np.integer)):
        return {"int": number_to_json(int(key))}
    if isinstance(key, (float, np.floating)):
        return {"float": number_to_json(float(key))}
    if isinstance(key, bytes):
        return {"bytes": base64.b64encode(key).decode("ascii")}
    if key is None:
        return {"none": True}
    if isinstance(key, tuple):
        return {"tuple": [key_to_json(part, path) for part in key]}
    raise UnsupportedSpace(
        f"{show_path(path)} is a Dict with the key {key!r} of type {type(key).__qualname__}, "
        "which has no exact JSON form. Use strings, or bytes, numbers, None or tuples of these."
    )


def key_from_json(token: Any) -> Hashable:
    """The key of a token.

    Raises:
        SchemaError: not the token of a key.
    """
    if isinstance(token, str):
        return token
    match token:
        case {"bool": value} | {"int": value} | {"float": value}:
            return number_from_json(value, {"bool": "b", "int": "i", "float": "f"}[next(iter(token))])
        case {"bytes": text}:
            return base64.b64decode(text)
        case {"none": True}:
            return None
        case {"tuple": parts}:
            return tuple(key_from_json(part) for part in parts)
    raise SchemaError(f"A descriptor of Dict has the key {token!r}, which is not one.")
