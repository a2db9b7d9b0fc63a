"""Recorded infos and those of a replay, compared key by key: the same bits, or the first key that differs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.info_json import decode_info, encode_value

from .exact_bytes import same_signs
from .infos import InfoColumns, InfoTypes


@dataclass(frozen=True, slots=True)
class InfoRows:
    """Infos of some rows, as they are recorded.

    Attributes:
        typed: the keys that have columns; None where none has.
        texts: JSON of the others.
    """

    typed: pa.StructArray | None
    texts: pa.Array

    @classmethod
    def of(cls, steps: pa.Table) -> InfoRows:
        """Those of a table of steps."""
        typed = steps["info"].combine_chunks() if "info" in steps.column_names else None
        return cls(typed, steps["info_json"].combine_chunks())

    def like(self) -> InfoColumns:
        """What takes infos of a replay, with the types of these."""
        types = {} if self.typed is None else {field.name: field.type for field in self.typed.type}
        return InfoColumns(InfoTypes(lambda _: types))

    def slice(self, start: int, n: int) -> InfoRows:
        """`n` rows from `start` on."""
        return InfoRows(None if self.typed is None else self.typed.slice(start, n), self.texts.slice(start, n))

    def take(self, rows: np.ndarray) -> InfoRows:
        """Some rows."""
        which = pa.array(rows)
        return InfoRows(None if self.typed is None else self.typed.take(which), self.texts.take(which))

    @property
    def is_empty(self) -> bool:
        """Whether no row has any."""
        return self.typed is None and self.texts.null_count == len(self.texts)

    def row(self, row: int) -> dict[str, Any]:
        """The info of one row."""
        values = {} if self.typed is None else self.typed[row].as_py() or {}
        return {key: value for key, value in values.items() if value is not None} | decode_info(self.texts[row].as_py())

    def is_same(self, other: InfoRows) -> bool:
        """Whether all is the same bits; False also where that has to be looked at key by key, as with a NaN."""
        if not self.texts.equals(other.texts):
            return False
        if self.typed is None or other.typed is None:
            return self.typed is other.typed
        return self.typed.equals(other.typed) and same_signs(self.typed, other.typed)


def unlike_row(
    recorded: InfoRows, replayed: InfoRows, ignored: Collection[str] = (), *, loose: bool = False
) -> tuple[int, str, Any, Any] | None:
    """The first row and key in which infos differ, and both values; None where all is the same."""
    if recorded.is_same(replayed):
        return None
    for row in range(len(recorded.texts)):
        was, now = recorded.row(row), replayed.row(row)
        if (key := unlike_key(was, now, ignored, loose=loose)) is not None:
            return row, key, was.get(key), now.get(key)
    return None


def unlike_key(
    was: dict[str, Any], now: dict[str, Any], ignored: Collection[str] = (), *, loose: bool = False
) -> str | None:
    """The first key in which two infos differ.

    Args:
        ignored: keys that are not compared.
        loose: numbers are compared as the recorded type holds them.
    """
    for key in (*was, *(k for k in now if k not in was)):
        if key in ignored:
            continue
        if key not in was or key not in now:
            return key
        a, b = was[key], now[key]
        if loose and _is_number(a) and _is_number(b):
            b = type(a)(b)
        if encode_value(a) != encode_value(b):
            return key
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, np.generic) and value.dtype.kind in "biuf")
