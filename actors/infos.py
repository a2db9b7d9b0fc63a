"""Infos of a fragment: keys that keep one type become columns of a struct, everything else JSON; nothing is lost.

Which keys are typed is settled once a run: the first fragment with infos proposes, the hub answers for all producers
(`agree`). A later value that does not fit its column goes to the row's JSON instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.info_json import encode_info

Proposal = dict[str, pa.DataType]
Agree = Callable[[Proposal], Proposal]

MAX_TYPED_BYTES = 4096
_PYTHON_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
}


def info_type(value: Any) -> pa.DataType | None:
    """The Arrow type in which `value` is kept exactly, or None: it belongs into JSON."""
    if (known := _PYTHON_TYPES.get(type(value))) is not None:
        return known
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        element = pa.from_numpy_dtype(value.dtype)
        if value.shape == ():
            return element
        if value.ndim == 1 and 0 < value.nbytes <= MAX_TYPED_BYTES:
            return pa.list_(element, value.shape[0])
    return None


class InfoColumns:
    """Collects infos row by row and closes them into the two info columns of a steps batch."""

    def __init__(self, agree: Agree) -> None:
        self._agree = agree
        self._types: Proposal | None = None
        self._keys: dict[str, tuple[list[int], list[Any]]] = {}

    @property
    def struct(self) -> pa.DataType | None:
        """The settled struct type of the `info` column, or None where the run has no typed infos so far."""
        return pa.struct(sorted(self._types.items())) if self._types else None

    def add(self, row: int, info: dict[Any, Any]) -> None:
        """Note the info of one row. Arrays are copied; `row` counts from 0 in the open fragment."""
        for key, value in info.items():
            rows, values = self._keys.setdefault(str(key), ([], []))
            rows.append(row)
            values.append(value.copy() if isinstance(value, np.ndarray) else value)

    def close(self, n: int, place: Callable[[list[int]], np.ndarray] = np.asarray) -> tuple[pa.Array | None, pa.Array]:
        """The `info` struct (None: no typed infos in this run) and the `info_json` strings of `n` rows.

        Args:
            n: rows of the fragment.
            place: maps the noted row numbers to rows of the batch; -1 drops a row that is not a step.
        """
        keys, self._keys = self._keys, {}
        if not keys:
            return (_null_struct(self.struct, n) if self.struct else None), pa.nulls(n, pa.string())
        if self._types is None:
            self._types = self._agree(_propose(keys))
        left: dict[int, dict[str, Any]] = {}
        columns: list[pa.Array] = []
        for key, kind in sorted(self._types.items()):
            rows, values = keys.pop(key, ([], []))
            columns.append(_typed(key, kind, place(rows).tolist() if rows else [], values, n, left))
        for key, (rows, values) in keys.items():
            for row, value in zip(place(rows).tolist(), values, strict=True):
                left.setdefault(row, {})[key] = value
        left.pop(-1, None)
        json = pa.array([encode_info(left[i]) if i in left else None for i in range(n)], pa.string()) if left else None
        struct = None
        if self._types:
            fields = [pa.field(name, kind) for name, kind in sorted(self._types.items())]
            struct = pa.StructArray.from_arrays(columns, fields=fields)
        return struct, json if json is not None else pa.nulls(n, pa.string())


def _propose(keys: dict[str, tuple[list[int], list[Any]]]) -> Proposal:
    proposal: Proposal = {}
    for key, (_, values) in keys.items():
        kinds = {info_type(v) for v in values}
        if len(kinds) == 1 and (kind := kinds.pop()) is not None:
            proposal[key] = kind
    return proposal


def _typed(
    key: str, kind: pa.DataType, rows: list[int], values: Iterable[Any], n: int, left: dict[int, dict[str, Any]]
) -> pa.Array:
    cells: list[Any] = [None] * n
    for row, value in zip(rows, values, strict=True):
        if row < 0:
            continue
        if info_type(value) == kind and _in_range(value):
            cells[row] = value
        else:
            left.setdefault(row, {})[key] = value
    return pa.array(cells, kind)


def _in_range(value: Any) -> bool:
    return type(value) is not int or -(1 << 63) <= value < 1 << 63


def _null_struct(kind: pa.DataType, n: int) -> pa.Array:
    return pa.StructArray.from_arrays([pa.nulls(n, field.type) for field in kind], fields=list(kind))
