"""Infos of a fragment: keys that keep one type become columns of a struct, everything else JSON; nothing is lost.

1. Which keys are typed is settled once a run, with its first rows: the first fragment proposes what it saw, the hub
   answers for all producers (`agree`). From then on the struct is the same, because all parts of a run have the same
   columns.
2. A key that comes later, one that is no name for a column, or a value that is not of its column's type, goes to the
   row's JSON.
3. What is noted is a copy: environments go on with their dicts and arrays. What goes to JSON becomes text at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.info_json import encode_value, join_info, key_names

Proposal = dict[str, pa.DataType]
Agree = Callable[[Proposal], Proposal]

MAX_TYPED_BYTES = 4096
MAX_TUPLE = 64
"""Arrays of a tuple that is typed: the mask of a MultiDiscrete has one an axis."""
BYTES_PER_VALUE = 16
NUMBER_KINDS = pa.int64(), pa.float64(), pa.bool_()
"""Of Python's int, float and bool."""
_SCALAR_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    **{np.dtype(code).type: pa.from_numpy_dtype(np.dtype(code)) for code in "?bhilBHILefd"},
}


def info_type(value: Any) -> pa.DataType | None:
    """The Arrow type in which `value` is kept exactly, or None: it belongs into JSON."""
    kind = type(value)
    if (known := _SCALAR_TYPES.get(kind)) is not None:
        if kind is int and not -(1 << 63) <= value < 1 << 63:
            return None
        return None if kind is str and not _is_utf8(value) else known
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        if not value.dtype.isnative:
            return None
        element = pa.from_numpy_dtype(value.dtype)
        if value.shape == ():
            return element
        if value.ndim == 1 and 0 < value.nbytes <= MAX_TYPED_BYTES:
            return pa.list_(element, value.shape[0])
    if (
        isinstance(value, tuple)
        and kind is tuple
        and 0 < len(value) <= MAX_TUPLE
        and all(type(item) is np.ndarray for item in value)
    ):
        items = [info_type(item) for item in value]
        if all(item is not None and pa.types.is_fixed_size_list(item) for item in items):
            return pa.struct([pa.field(str(place), item) for place, item in enumerate(items)])
    return None


class InfoTypes:
    """Which keys of a producer's infos are typed.

    Attributes:
        types: what was settled; None before the first fragment with rows is closed.
    """

    def __init__(self, agree: Agree) -> None:
        self._agree = agree
        self.types: Proposal | None = None

    def settle(self, proposal: Proposal) -> Proposal:
        """What holds; the first call asks the hub."""
        if self.types is None:
            self.types = self._agree(proposal)
        return self.types

    @property
    def struct(self) -> pa.DataType | None:
        """The settled struct type of the `info` column, or None where the run has no typed infos."""
        return pa.struct(sorted(self.types.items())) if self.types else None


class InfoColumns:
    """Collects a fragment's infos row by row and closes them into the two info columns of its steps batch.

    Attributes:
        keys: by key, what was noted of it in the order of rows: row, value and type.
        nbytes: of what was noted, about.
    """

    def __init__(self, types: InfoTypes) -> None:
        self._types = types
        self.keys: dict[str, list[tuple[int, Any, pa.DataType]]] = {}
        self._json: dict[int, dict[str, str]] = {}
        self._only_json: set[str] = set()
        self.nbytes = 0

    def add(self, row: int, info: dict[Any, Any]) -> None:
        """Note the info of one row, copied; `row` counts from 0 in the open fragment."""
        names = None
        for key, value in info.items():
            name = key
            if type(key) is not str:
                names = names or key_names(info)
                name = names[key]
            kind = info_type(value)
            if kind is None:
                text = encode_value(value)
                self._json.setdefault(row, {})[name] = text
                self._only_json.add(name)
                self.nbytes += len(name) + len(text)
                continue
            if isinstance(value, np.ndarray):
                value = value.copy()
                self.nbytes += value.nbytes
            elif type(value) is tuple:
                value = tuple(item.copy() for item in value)
                self.nbytes += sum(item.nbytes for item in value)
            elif type(value) is str:
                self.nbytes += len(value)
            self.nbytes += BYTES_PER_VALUE
            noted = self.keys.get(name)
            if noted is None:
                self.keys[name] = [(row, value, kind)]
            else:
                noted.append((row, value, kind))

    def drop(self, first: int) -> None:
        """Forget the rows from `first` on, also what was noted in part."""
        for row in [row for row in self._json if row >= first]:
            del self._json[row]
        for name, noted in list(self.keys.items()):
            while noted and noted[-1][0] >= first:
                noted.pop()
            if not noted:
                del self.keys[name]

    def close(self, n: int, place: Callable[[list[int]], np.ndarray] = np.asarray) -> tuple[pa.Array | None, pa.Array]:
        """The `info` struct (None: no typed infos in this run) and the `info_json` strings of `n` rows. Once.

        Args:
            n: rows of the fragment.
            place: maps the noted row numbers to rows of the batch; -1 drops a row that is not a step.
        """
        types = self._types.settle(self._proposal())
        keys, json = self.keys, self._json
        columns: list[pa.Array] = []
        for name, kind in sorted(types.items()):
            cells: list[Any] = [None] * n
            noted = keys.pop(name, [])
            rows = place([row for row, _, _ in noted]).tolist() if noted else []
            for (at, value, own), row in zip(noted, rows, strict=True):
                if own != kind:
                    json.setdefault(at, {})[name] = encode_value(value)
                elif row >= 0:
                    cells[row] = value
            columns.append(pa.array(cells, kind))
        for name, noted in keys.items():
            for at, value, _ in noted:
                json.setdefault(at, {})[name] = encode_value(value)
        struct = None
        if types:
            fields = [pa.field(name, kind) for name, kind in sorted(types.items())]
            struct = pa.StructArray.from_arrays(columns, fields=fields)
        return struct, _texts(json, n, place)

    def _proposal(self) -> Proposal:
        return {
            name: noted[0][2]
            for name, noted in self.keys.items()
            if name not in self._only_json
            and _is_column_name(name)
            and all(kind == noted[0][2] for _, _, kind in noted)
        }


def _texts(json: dict[int, dict[str, str]], n: int, place: Callable[[list[int]], np.ndarray]) -> pa.Array:
    if not json:
        return pa.nulls(n, pa.string())
    texts: list[str | None] = [None] * n
    for row, items in zip(place(list(json)).tolist(), json.values(), strict=True):
        if row >= 0:
            texts[row] = join_info(items)
    return pa.array(texts, pa.string())


def _is_column_name(name: str) -> bool:
    """Whether every reader takes it: DuckDB knows neither a field without a name nor what follows a NUL."""
    return bool(name) and "\0" not in name and _is_utf8(name)


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
