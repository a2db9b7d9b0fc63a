"""Values as environments really return them -> arrays of exactly the dtype and shape that the space declares.

1. An array that has the dtype and shape is returned itself: no copy, no look at its numbers.
2. Anything else that NumPy reads as numbers is converted when every number keeps its value: 1.0 to an
   integer, a float64 that float32 can hold, 0 and 1 to bool, a list of Python integers.
3. What would be rounded, wrapped, cut off or reshaped raises SchemaMismatch: nothing is recorded that was not
observed. NaN stays NaN under rule 2, but may lose its payload; under rule 1 it keeps it. Bounds of the space
are not looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import SchemaMismatch
from .space_paths import Path, show_path


def exact_array(value: Any, dtype: np.dtype, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """`value` as an array of this dtype and shape, by the rules above.

    Args:
        value: an array, a NumPy or Python scalar, nested lists, or what else `np.asarray` takes.
        dtype: the dtype wanted.
        shape: the shape wanted.
        path: where the value lies, for the message.

    Raises:
        SchemaMismatch: rule 3; the message names path, expected and found.
    """
    if type(value) is np.ndarray and value.dtype == dtype and value.shape == shape:
        return value
    if shape == () and type(value) is dtype.type:
        return np.array(value, dtype)
    array = _as_array(value, dtype)
    if array is None:
        raise _mismatch(path, dtype, shape, f"a {type(value).__qualname__}: {_short(value)}")
    if array.shape != shape:
        raise _mismatch(path, dtype, shape, f"{array.dtype}{list(array.shape)}")
    if array.dtype == dtype:
        return array
    converted = _converted_at_once(array, dtype)
    if converted is not None:
        return converted
    lost = _lost(array, dtype)
    if lost is None:
        raise _mismatch(path, dtype, shape, f"{array.dtype}{list(array.shape)}")
    if lost.any():
        first = array[lost][0] if array.ndim else array[()]
        found = f"{array.dtype}{list(array.shape)} with {first!s}, which {dtype} cannot hold"
        raise _mismatch(path, dtype, shape, found)
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def _converted_at_once(array: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """The converted array where comparing it tells that nothing was lost; None where one has to look closer."""
    if array.dtype.kind == dtype.kind or {array.dtype.kind, dtype.kind} == {"i", "u"}:
        with np.errstate(all="ignore"):
            converted = array.astype(dtype)
        # NumPy compares floats in the wider of the two, and integers of any two dtypes by value.
        if (converted == array).all():
            return converted
    return None


def _as_array(value: Any, dtype: np.dtype) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        return None  # ragged lists, or an object that refuses: reported by the caller
    if array.dtype.kind in "biu" or not isinstance(value, (list, tuple, int)):
        return array if array.dtype.kind in "biuf" else None
    # Among Python numbers, large integers became float64 or objects on the way: look at them one by one.
    items = list(np.array(value, dtype=object).flat)
    if dtype.kind in "iu" and all(isinstance(item, (int, np.integer)) for item in items):
        try:
            return np.array([int(item) for item in items], dtype).reshape(array.shape)
        except OverflowError:
            return None
    return array if array.dtype.kind == "f" and all(_is_float64(item) for item in items) else None


def _is_float64(item: Any) -> bool:
    return isinstance(item, (float, np.floating)) or (isinstance(item, (int, np.integer)) and int(float(item)) == item)


def _lost(array: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """Which elements would change their value in that dtype; None where the kinds do not go together."""
    match array.dtype.kind, dtype.kind:
        case "b", _:
            return np.zeros(array.shape, bool)
        case _, "b":
            return ~((array == 0) | (array == 1))
        case "i" | "u", "i" | "u":
            return _outside(array, dtype)
        case "f", "i" | "u":
            limits = np.iinfo(dtype)
            wide = array.astype(np.promote_types(array.dtype, np.float64))
            # 2.0 ** bits is exact as a float, the largest integer is not. NaN fails every comparison.
            kept = (wide >= float(limits.min)) & (wide < 2.0 ** int(limits.max).bit_length())
            return ~(kept & (wide == np.trunc(wide)))
        case "i" | "u", "f":
            return _lost_on_return(array, dtype)
        case "f", "f":
            with np.errstate(all="ignore"):
                back = array.astype(dtype).astype(array.dtype)
            return ~((back == array) | (np.isnan(back) & np.isnan(array)))
    return None


def _outside(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    # NumPy compares integers of different signedness and Python integers by value.
    limits = np.iinfo(dtype)
    own = np.iinfo(array.dtype)
    lost = np.zeros(array.shape, bool)
    if own.min < limits.min:
        lost |= array < limits.min
    if own.max > limits.max:
        lost |= array > limits.max
    return lost


def _lost_on_return(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(all="ignore"):
        as_float = array.astype(dtype)
        # What rounded up to one past the largest integer must not be converted back: processors differ there.
        fits = as_float.astype(np.longdouble) < 2.0 ** int(np.iinfo(array.dtype).max).bit_length()
        back = np.where(fits, as_float, 0).astype(array.dtype)
    return ~(fits & (back == array))


def _mismatch(path: Path, dtype: np.dtype, shape: tuple[int, ...], found: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"{show_path(path)}: expected {dtype}{list(shape)}, found {found}. "
        "Return what the space declares, or declare the space that the environment returns."
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
