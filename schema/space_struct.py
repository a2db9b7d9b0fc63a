"""Dict and Tuple: a struct with one field a sub-space.

1. A field is called as its key; in a Tuple, as its index. A key that is no string is written by `str`; a
   character that some reader cannot take (NUL, a lone surrogate) is escaped; a name that is taken gets
   underscores. Where the name is not the key, the field's metadata has the key (`rolltape.key`).
2. Fields keep the order of the space. DuckDB, to whom `a` and `A` are one name, calls the second `A_1`.
3. Parquet has no struct without fields: an empty Dict or Tuple has one, `_empty`, bool, always null.
4. A batch is a dict or tuple of batches; a sequence of n values is taken too. A tuple that could be either is
   read as Gymnasium's form where that fits: arrays for arrays, n values for the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from .space_node import FixedNode, Node
from .space_paths import Path

EMPTY: Final = pa.field("_empty", pa.bool_(), metadata={b"rolltape.storage": b"placeholder of an empty space"})


class StructNode(Node):
    """A Dict or Tuple, with one part (node) a key."""

    def __init__(self, path: Path, keys: Sequence[Hashable], parts: Sequence[Node], *, is_dict: bool) -> None:
        self.path = path
        self.metadata = {}
        self.leaves = None
        self._keys = tuple(keys)
        self._key_set = frozenset(keys)
        self._parts: Sequence[Node] = tuple(parts)
        self._is_dict = is_dict
        named = zip(parts, field_names(self._keys), keys, strict=True)
        self._fields = [_field(part, name, key) for part, name, key in named] or [EMPTY]
        self.arrow_type = pa.struct(self._fields)

    def from_values(self, values: Sequence[Any]) -> pa.Array:
        """A column with one row for each value."""
        columns = [part.from_values(column) for part, column in zip(self._parts, self._columns(values), strict=True)]
        return self._struct(columns, len(values))

    def from_batches(self, batches: Sequence[Any], lengths: Sequence[int]) -> pa.Array:
        """A column with the rows of several batches, each in either form."""
        apart = [self._batch_parts(batch, n) for batch, n in zip(batches, lengths, strict=True)]
        if None not in apart:
            columns = [
                part.from_batches([batch_parts[i] for batch_parts in apart], lengths)  # type: ignore[index]
                for i, part in enumerate(self._parts)
            ]
            return self._struct(columns, sum(lengths))
        if len(batches) == 1:
            return self.from_values(batches[0])
        return pa.concat_arrays([self.from_batches([batch], [n]) for batch, n in zip(batches, lengths, strict=True)])

    def decode(self, column: pa.Array) -> list[Any]:
        """Dicts in the order of the space, or tuples."""
        if not self._parts:
            return [self._assembled(()) for _ in range(len(column))]
        columns = [part.to_values(column.field(i)) for i, part in enumerate(self._parts)]
        return [self._assembled(items) for items in zip(*columns, strict=True)]

    def to_batch(self, column: pa.Array, *, writable: bool = False) -> Any:
        """A dict or tuple of batches."""
        # Where the struct is null its fields hold anything; `flatten` makes them null too.
        children = column.flatten() if column.null_count else [column.field(i) for i in range(len(self._parts))]
        parts = zip(self._parts, children, strict=False)
        return self._assembled(part.to_batch(child, writable=writable) for part, child in parts)

    def is_batch(self, batch: Any, n: int) -> bool:
        """A dict with the keys, or a tuple of the length, whose parts are batches."""
        if not self._has_form(batch):
            return False
        return all(part.is_batch(batch[key], n) for key, part in zip(self._keys, self._parts, strict=True))

    def batch_length(self, batch: Any) -> int | None:
        """The length of the first part that says it; of a sequence of values its own."""
        if not self._has_form(batch):
            return len(batch) if _is_sequence(batch) and self._is_dict else None
        lengths = (part.batch_length(batch[key]) for key, part in zip(self._keys, self._parts, strict=True))
        return next((length for length in lengths if length is not None), None)

    def slice_batch(self, batch: Any, start: int, stop: int) -> Any:
        """A dict or tuple of parts."""
        return self._assembled(
            part.slice_batch(batch[key], start, stop) for key, part in zip(self._keys, self._parts, strict=True)
        )

    def _assembled(self, items: Iterable[Any]) -> Any:
        return dict(zip(self._keys, items, strict=True)) if self._is_dict else tuple(items)

    def _has_form(self, value: Any) -> bool:
        if self._is_dict:
            return isinstance(value, Mapping) and value.keys() == self._key_set
        return _is_sequence(value) and len(value) == len(self._keys)

    def _taken_apart(self, value: Any) -> list[Any]:
        """The parts of a value or batch, in the order of the space."""
        if not self._has_form(value):
            raise self._wrong_form(value)
        return [value[key] for key in self._keys]

    def _columns(self, values: Sequence[Any]) -> list[list[Any]]:
        apart = [self._taken_apart(value) for value in values]
        return [[parts[i] for parts in apart] for i in range(len(self._keys))]

    def _batch_parts(self, batch: Any, n: int) -> list[Any] | None:
        """The parts of a batch of parts; None where it is a sequence of n values."""
        if not self._is_dict and self.is_batch(batch, n):
            return list(batch)
        if _is_sequence(batch) and len(batch) == n and all(map(self._has_form, batch)):
            return None
        return self._taken_apart(batch)

    def _wrong_form(self, value: Any) -> Exception:
        if not self._is_dict:
            size = f" of {len(value)}" if _is_sequence(value) else ""
            return self.mismatch(f"a tuple of {len(self._keys)}", f"a {type(value).__qualname__}{size}")
        expected = f"a dict with {_listed(self._keys)}"
        if not isinstance(value, Mapping):
            return self.mismatch(expected, f"a {type(value).__qualname__}")
        missing = [key for key in self._keys if key not in value]
        unknown = [key for key in value if key not in self._key_set]
        found = [f"{text} {_listed(keys)}" for text, keys in (("no", missing), ("an unknown", unknown)) if keys]
        return self.mismatch(expected, " and ".join(found))

    def _struct(self, columns: Sequence[pa.Array], rows: int, valid: np.ndarray | None = None) -> pa.Array:
        children = list(columns) or [pa.nulls(rows, EMPTY.type)]
        mask = None if valid is None else pa.array(~valid)
        return pa.StructArray.from_arrays(children, fields=self._fields, mask=mask)


class FixedStructNode(FixedNode, StructNode):
    """A Dict or Tuple of which every part is fixed."""

    _parts: Sequence[FixedNode]

    def __init__(self, path: Path, keys: Sequence[Hashable], parts: Sequence[FixedNode], *, is_dict: bool) -> None:
        StructNode.__init__(self, path, keys, parts, is_dict=is_dict)
        self.leaves = tuple(leaf for part in parts for leaf in part.leaves)

    def split(self, value: Any) -> list[np.ndarray]:
        """The leaf arrays of one value."""
        items = self._taken_apart(value)
        return [array for part, item in zip(self._parts, items, strict=True) for array in part.split(item)]

    def split_values(self, values: Sequence[Any]) -> list[np.ndarray]:
        """The leaf arrays of several values, stacked."""
        columns = self._columns(values)
        return [array for part, column in zip(self._parts, columns, strict=True) for array in part.split_values(column)]

    def split_batch(self, batch: Any, n: int) -> list[np.ndarray]:
        """The leaf arrays of a batch in either form."""
        items = self._batch_parts(batch, n)
        if items is None:
            return self.split_values(batch)
        return [array for part, item in zip(self._parts, items, strict=True) for array in part.split_batch(item, n)]

    def from_leaves(self, arrays: Sequence[np.ndarray], rows: int, valid: np.ndarray | None = None) -> pa.Array:
        """A column of leaf arrays, in the order of `leaves`."""
        rest = iter(arrays)
        columns = [part.from_leaves([next(rest) for _ in part.leaves], rows) for part in self._parts]
        return self._struct(columns, rows, valid)


def field_names(keys: Sequence[Hashable]) -> list[str]:
    """The field name of each key, all different, by rule 1; a string that needs no escape always keeps its
    own."""
    names = [_escaped(key if isinstance(key, str) else str(key)) for key in keys]
    taken = {name for name, key in zip(names, keys, strict=True) if name == key}
    for i, key in enumerate(keys):
        if names[i] == key:
            continue
        while names[i] in taken:
            names[i] += "_"
        taken.add(names[i])
    return names


def _escaped(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def _field(part: Node, name: str, key: Hashable) -> pa.Field:
    field = part.field(name)
    if name == key or isinstance(key, int):
        return field
    return field.with_metadata({**part.metadata, b"rolltape.key": ascii(key).encode("ascii")})


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _listed(keys: Iterable[Hashable]) -> str:
    shown = [repr(key) for key in keys]
    return ", ".join(shown[:8]) + (f" … ({len(shown)} in all)" if len(shown) > 8 else "") or "no keys"
