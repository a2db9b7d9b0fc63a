"""A run read back without Rolltape: names, JSON and plain pyarrow, by the rules of docs/format.md alone.

Also a digest of rows that does not depend on how they lie in memory, so that what a producer sent can be compared with
what is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rolltape.schema.picture_changes import whole as with_whole_pictures

TABLES: Final = ("frames", "steps", "ledger", "episodes")
NAME: Final = re.compile(r"(w\d+\.\d+)-(\d{8,})-(\d{8,})")
ORDER: Final = {
    "steps": ["sub_env", "episode", "t"],
    "frames": ["kind", "sub_env", "episode", "t"],
    "episodes": ["sub_env", "episode"],
    "ledger": ["worker", "incarnation", "rows"],
    "normalization": ["moment", "place", "sub_env", "episode", "t"],
    "metrics": ["time", "source", "of_worker"],
    "control": ["viewer", "sub_env", "number"],
}
"""Columns that put the rows of one fragment into one order."""

STREAMS: Final = -(1 << 30)
"""Producers from this number downwards bring log records."""

Fragment = tuple[int, int, int]
"""Producer, incarnation, sequence."""


@dataclass
class Found:
    """What stands on the disk.

    Attributes:
        tables: all rows of each table, dictionaries decoded; tables without a part are missing.
        fragments: every fragment that a marker names, in the order found; one that comes twice is there twice.
        watermarks: (producer, incarnation) -> sequence, steps, episodes: the furthest of all markers.
        parts: names of all parts by table.
    """

    run: Path
    tables: dict[str, pa.Table] = field(default_factory=dict)
    fragments: list[Fragment] = field(default_factory=list)
    watermarks: dict[tuple[int, int], dict[str, int]] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def recorders(self) -> set[tuple[int, int]]:
        """Keys of what stepped environments. Writers bring their samples under keys below 0, from the fifth second on."""
        return {key for key in self.watermarks if key[0] >= 0}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows as dicts."""
        return self.tables[table].to_pylist() if table in self.tables else []

    def column(self, table: str, name: str) -> list[Any]:
        """One column as a list; empty where the table has no part."""
        return self.tables[table].column(name).to_pylist() if table in self.tables else []

    def fragment_digests(self) -> dict[Fragment, str]:
        """The digest of the rows of each fragment, over all tables but the episodes that a predecessor left."""
        pieces: dict[Fragment, dict[str, pa.Table]] = {}
        for name, table in self.tables.items():
            keys = [table.column(k).to_numpy() for k in ("worker", "incarnation", "fragment")]
            if not table.num_rows or name == "logs":  # its rows say who spoke, not who brought them
                continue
            order = np.lexsort(keys[::-1])
            stacked = np.stack(keys)[:, order]
            cuts = np.flatnonzero((np.diff(stacked, axis=1) != 0).any(axis=0)) + 1
            for rows in np.split(order, cuts):
                worker, incarnation, fragment = (int(k[rows[0]]) for k in keys)
                pieces.setdefault((worker, incarnation, fragment), {})[name] = table.take(rows)
        return {fragment: digest(tables) for fragment, tables in pieces.items()}


def read_back(run: Path) -> Found:
    """Read everything that exists in a run's folder; checks each part against its marker."""
    found = Found(run)
    markers = [json.loads(p.read_text()) for p in sorted((run / "commits").glob("w*.json")) if NAME.match(p.name)]
    markers = [m for m in markers if not any(_covers(other, m) for other in markers)]
    markers.sort(key=lambda m: (_writer(m["writer"]), m["first"]))
    tables: dict[str, list[pa.Table]] = {}
    for marker in markers:
        for producer, incarnation, first, last in marker["fragments"]:
            if producer <= STREAMS:
                continue
            found.fragments += [(producer, incarnation, n) for n in range(first, last + 1)]
        for key, mark in marker["watermarks"].items():
            producer, incarnation = map(int, key[1:].split("."))
            if producer <= STREAMS:
                continue
            known = found.watermarks.setdefault((producer, incarnation), mark)
            if mark["sequence"] > known["sequence"]:
                found.watermarks[producer, incarnation] = mark
        for part in marker["parts"]:
            data = (run / part["file"]).read_bytes()
            assert len(data) == part["bytes"], part
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == part["digest"], part
            table = pq.read_table(pa.BufferReader(data))
            assert table.num_rows == part["rows"], part
            tables.setdefault(part["table"], []).append(_decoded(table))
            found.parts.setdefault(part["table"], []).append(Path(part["file"]).name)
    found.tables = {name: pa.concat_tables(pieces) for name, pieces in tables.items()}
    return found


def _covers(outer: dict[str, Any], inner: dict[str, Any]) -> bool:
    """Rule 2 of docs/format.md."""
    if outer["writer"] != inner["writer"] or outer["first"] > inner["first"] or inner["last"] > outer["last"]:
        return False
    larger = outer["last"] - outer["first"] > inner["last"] - inner["first"]
    return larger or outer.get("again", 0) > inner.get("again", 0)


def _writer(text: str) -> tuple[int, ...]:
    return tuple(map(int, text[1:].split(".")))


def _decoded(table: pa.Table) -> pa.Table:
    for place, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            plain = column.with_type(column.type.value_type)
            table = table.set_column(place, plain, table.column(place).cast(column.type.value_type))
    return table


def digest_of_sent(batches: dict[str, pa.RecordBatch]) -> str:
    """The digest of a fragment as it was held to be sent, its pictures whole."""
    return digest(
        {n: pa.Table.from_batches([with_whole_pictures(b) if n == "frames" else b]) for n, b in batches.items()}
    )


def digest(tables: dict[str, pa.Table]) -> str:
    """One digest of the rows of all tables of a fragment, in whatever order and representation they come."""
    whole = hashlib.sha256()
    for name in sorted(tables):
        table = _decoded(tables[name]).combine_chunks()
        table = table.take(pc.sort_indices(table, [(key, "ascending") for key in ORDER[name]]))
        for column in sorted(table.column_names):
            whole.update(f"{name}.{column}:{table.num_rows}:".encode())
            _add(whole, table.column(column).combine_chunks())
    return whole.hexdigest()[:16]


def _add(whole: Any, array: pa.Array) -> None:
    """Hash values and nulls, not buffers."""
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    whole.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    kind = array.type
    if pa.types.is_null(kind):
        return
    array = array.drop_null()
    if pa.types.is_struct(kind):
        for place, child in enumerate(array.flatten()):
            whole.update(kind.field(place).name.encode())
            _add(whole, child)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        whole.update(pc.list_value_length(array).cast(pa.int64()).to_numpy().tobytes())
        _add(whole, array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        whole.update(pc.binary_length(array).cast(pa.int64()).to_numpy().tobytes())
        whole.update(b"".join(array.cast(pa.binary()).to_pylist()))
    elif pa.types.is_boolean(kind):
        whole.update(np.packbits(array.to_numpy(zero_copy_only=False)).tobytes())
    elif pa.types.is_timestamp(kind):
        whole.update(array.cast(pa.int64()).to_numpy().tobytes())
    else:
        whole.update(np.ascontiguousarray(array.to_numpy()).tobytes())
