"""Numbers, arrays and dtypes of a space's bounds <-> JSON, exactly and in one way only.

1. An integer, or a float without a fraction, is a JSON integer; beyond ±(2^53 - 1), where a browser rounds, a
   string.
2. Any other finite float is a JSON number: the shortest that reads back as the same float64.
3. `"inf"`, `"-inf"`, `"nan"` and `"-0.0"` are strings, because JSON has no such numbers, or loses their sign.
4. An array is one number where all its elements are the same bits; else a flat list (C order) of up to 64
   numbers; else `{"zlib": …}`, its raw bytes (C order, little-endian), compressed, in base64. An empty array
   is `[]`.
5. What rules 1 to 3 would change (a NaN with a payload, a long double) is written as raw bytes.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np

from .errors import SchemaError, UnsupportedSpace

Token: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any]

LARGEST_PLAIN: Final = 2**53 - 1
LONGEST_LIST: Final = 64


def number_to_json(number: bool | int | float) -> bool | int | float | str:
    """One Python number as a JSON number, or as a string where JSON has none (rules 1 to 3)."""
    if isinstance(number, bool):
        return number
    if isinstance(number, float):
        if not math.isfinite(number) or (number == 0.0 and math.copysign(1.0, number) < 0.0):
            return repr(number)
        if not number.is_integer():
            return number
        return int(number) if abs(number) <= LARGEST_PLAIN else repr(number)
    return number if abs(number) <= LARGEST_PLAIN else str(number)


def number_from_json(token: Token, kind: str) -> bool | int | float:
    """The Python number of a token; `kind` is the NumPy kind wanted: `b`, `i`, `u` or `f`.

    Raises:
        SchemaError: not a number of that kind.
    """
    try:
        if isinstance(token, (bool, int, float, str)):
            if kind == "b" and token in (True, False):
                return bool(token)
            if kind in "iu" and not isinstance(token, float):
                return int(token)
            if kind == "f":
                return float(token)
    except ValueError:
        pass  # a string that is no number: said below
    raise SchemaError(f"A space descriptor has {token!r} where a number of kind {kind!r} is expected.")


def array_to_json(array: np.ndarray) -> Token:
    """An array of booleans, integers or floats as its token (rule 4). The shape and dtype are not part of
    it."""
    if array.size == 0:
        return []
    raw = raw_bytes(array)
    first = raw[: array.itemsize]
    if raw == first * array.size:
        tokens = list(_numbers(array.reshape(-1)[:1]))
        compact: Token = tokens[0]
    elif array.size <= LONGEST_LIST:
        tokens = list(_numbers(array.reshape(-1)))
        compact = tokens
    else:
        return _packed(raw)
    # Rule 5: what would not read back bit for bit stays raw.
    return compact if raw_bytes(_array(compact, array.dtype, array.shape)) == raw else _packed(raw)


def array_from_json(token: Token, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The writable array of a token.

    Raises:
        SchemaError: the token does not hold an array of this dtype and shape.
    """
    if not isinstance(token, dict):
        return _array(token, dtype, shape)
    raw = packed_bytes(token, limit=math.prod(shape) * dtype.itemsize)
    return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape).astype(dtype)


def packed_bytes(token: dict[str, Any], limit: int | None = None) -> bytes:
    """The raw bytes inside `{"zlib": …}`.

    Args:
        token: as `array_to_json` wrote it.
        limit: how many bytes are expected; None takes any number.

    Raises:
        SchemaError: not such a token, or another number of bytes.
    """
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(base64.b64decode(token["zlib"], validate=True), 0 if limit is None else limit + 1)
    except (KeyError, TypeError, binascii.Error, zlib.error) as error:
        raise SchemaError(f"A space descriptor has an array that cannot be unpacked: {error!r}.") from error
    if limit is not None and len(raw) != limit:
        raise SchemaError(f"A space descriptor has an array of {len(raw)} bytes or more where {limit} are expected.")
    return raw


def raw_bytes(array: np.ndarray) -> bytes:
    """The elements in C order, little-endian; the unused bytes of a long double are zero."""
    return little_endian(array).tobytes()


def little_endian(array: np.ndarray) -> np.ndarray:
    """The array as it is stored: C order, little-endian, padding of long doubles zero; itself where it is so
    already."""
    stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
    used = _used_bytes(array.dtype)
    if used < array.dtype.itemsize:
        stored = stored.copy()
        stored.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)[:, used:] = 0
    return stored


def dtype_to_json(dtype: np.dtype) -> str:
    """`float32`; for the byte order that is not this machine's, NumPy's code such as `>f4`."""
    return dtype.name if dtype.isnative else dtype.str


def dtype_from_json(name: Any) -> np.dtype:
    """The dtype of a descriptor's name.

    Raises:
        UnsupportedSpace: this machine has no such dtype (long doubles differ between processors).
    """
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in "biuf":
        raise UnsupportedSpace(f"A space descriptor has dtype {name!r}, which NumPy does not have on this machine.")
    return dtype


def _array(token: Token, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    size = math.prod(shape)
    tokens = token if isinstance(token, list) else [token] * min(size, 1)
    if isinstance(token, list) and len(token) != size:
        raise SchemaError(f"A space descriptor has {len(token)} numbers where shape {list(shape)} needs {size}.")
    numbers = [number_from_json(item, dtype.kind) for item in tokens]
    try:
        elements = np.array(numbers, dtype=dtype)
    except OverflowError as error:
        raise SchemaError(f"A space descriptor has a number that {dtype.name} cannot hold: {error}.") from error
    return np.full(shape, elements[0], dtype) if len(elements) == 1 else elements.reshape(shape)


def _numbers(flat: np.ndarray) -> Iterator[Token]:
    # A float64 holds every smaller float; a long double that it does not hold fails rule 5 and stays raw.
    if flat.dtype.kind == "f":
        with np.errstate(all="ignore"):  # signalling NaN, and long doubles beyond the largest float64
            flat = flat.astype(np.float64)
    return (number_to_json(number) for number in flat.tolist())


def _packed(raw: bytes) -> dict[str, Any]:
    return {"zlib": base64.b64encode(zlib.compress(raw, 9)).decode("ascii")}


def _used_bytes(dtype: np.dtype) -> int:
    # An x87 long double is 10 bytes in a field of 12 or 16; the rest is whatever memory held.
    extended = dtype.kind == "f" and dtype.itemsize > 8 and np.finfo(dtype).nmant == 63
    return 10 if extended else dtype.itemsize
