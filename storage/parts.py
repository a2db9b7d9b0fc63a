"""One part: record batches of one table in, the bytes of one Parquet file out.

A part is made in memory and then written by one call. Compressed it is a fraction of the batches that are
held anyway, the interpreter is free while pyarrow encodes, the digest costs no second reading, and when the
disk is full the need is known to the byte.

Settings, and what each is for (docs/format.md; measured in docs/decisions/0003-commit-protocol.md):

1. Constants by dictionary, counting integers by DELTA_BINARY_PACKED, floats of observations by
   BYTE_STREAM_SPLIT, the rest plain; then zstd. The table of columns says which is which, nested leaves
   included.
2. Statistics on key columns only: those of a picture are a picture.
3. A page of frames holds several consecutive pictures of one stream, so that zstd finds the last one in its
   window: rows are put in the order of (kind, sub_env, agent, episode, t) by slices, without a copy of a
   picture. Row groups are bounded by bytes, because they decide what reading one frame costs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.columns import PAYLOAD_VERSION, TABLES, Encoding
from rolltape.schema.picture_changes import ChangeReader, sizes_of

from .layout import FORMAT, CommitRange

KIB: Final = 1 << 10
MIB: Final = 1 << 20

SMALL_FRAME_BYTES: Final = 64 * KIB
LARGE_FRAME_BYTES: Final = 128 * KIB
"""Frames above this get larger row groups. Those in between, as of Atari, get zstd-1, which finds the last picture best
and is the fastest; smaller and larger ones zstd-3, which then is a sixth smaller at the same speed."""
FRAME_GROUP_BYTES: Final = 12 * MIB
LARGE_FRAME_GROUP_BYTES: Final = 16 * MIB
ROW_GROUP_BYTES: Final = 64 * MIB
ROW_GROUP_ROWS: Final = 1 << 20
PAGE_BYTES: Final = 1 * MIB
OUTLINE: Final = "commit_outline"
"""The key in a part's metadata of what it says of its whole commit."""
OUTLINES: Final = 2
"""How many parts of a commit say it, the first ones: any one of them may be damaged."""


@dataclass(frozen=True, slots=True)
class Part:
    """An encoded part: its bytes, how many rows, and `sha256:<hex>` of the bytes."""

    table: str
    data: pa.Buffer
    rows: int
    digest: str


def encode_part(
    table: str,
    batches: Sequence[pa.RecordBatch],
    *,
    run_id: str,
    commits: CommitRange,
    level: int = 0,
    group_bytes: int = 0,
    outline: str = "",
) -> Part:
    """Encode all rows of `batches`, which have one schema, as the part of `commits`.

    Args:
        table: a key of `TABLES`.
        batches: at least one; within a batch frames stand in the order [sub_env, t] per kind.
        run_id: goes into the part's key-value metadata, like writer, commit, table and versions.
        level: zstd level; 0 chooses: 1, or by the size of frames.
        group_bytes: of pictures in a row group; 0 chooses by their size.
        outline: of the whole commit, kept in its first two parts (markers.py).
    """
    whole = _unified(batches)
    sink = pa.BufferOutputStream()
    if table == "frames":
        pages = FramePages.of(whole, group_bytes)
        groups = map(ChangeReader().whole, pages.row_groups(group_by_stream(whole)))
        options = pages.options(level)
    else:
        groups = iter([whole.slice(at, n) for at, n in _row_groups(whole)])
        options: dict[str, Any] = {"data_page_size": PAGE_BYTES, "compression_level": level or 1}
    with pq.ParquetWriter(sink, whole.schema, **column_options(table, whole.schema), **options) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=group.num_rows)
        writer.add_key_value_metadata(part_metadata(table, run_id, commits, outline))
    data = sink.getvalue()
    return Part(table, data, whole.num_rows, digest_of(data))


def part_metadata(table: str, run_id: str, commits: CommitRange, outline: str = "") -> dict[str, str]:
    """What a part says of itself, and the first two of its commit."""
    return {
        "format": str(FORMAT),
        "payload_version": str(PAYLOAD_VERSION),
        "run_id": run_id,
        "table": table,
        "writer": str(commits.writer),
        "commit": f"{commits.first}-{commits.last}" if commits.first != commits.last else str(commits.last),
        **({OUTLINE: outline} if outline else {}),
    }


def digest_of(data: bytes | pa.Buffer) -> str:
    """What a marker says of a part's bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# ---- columns ----


def column_options(table: str, schema: pa.Schema) -> dict[str, Any]:
    """Arguments of `pq.ParquetWriter` that follow from the table of columns."""
    declared = {column.name: column for column in TABLES[table]}
    dictionaries: list[str] = []
    encodings: dict[str, str] = {}
    statistics: list[str] = []
    for field in schema:
        column = declared.get(field.name)
        encoding: Encoding = column.encoding if column is not None else "plain"
        for path, leaf in leaves(field.name, field.type):
            stored = _encoding_of(encoding, leaf, single=path == field.name)
            if stored == "DICTIONARY":
                dictionaries.append(path)
            elif stored != "PLAIN":
                encodings[path] = stored
            if column is not None and column.statistics:
                statistics.append(path)
    return {
        "compression": "zstd",
        "write_page_checksum": True,
        "use_dictionary": dictionaries,
        "column_encoding": encodings,
        "write_statistics": statistics,
    }


def _encoding_of(encoding: Encoding, leaf: pa.DataType, *, single: bool) -> str:
    """Parquet's name of the encoding of one leaf column; `single`: the column is this leaf and nothing else.

    Half floats stay plain: DuckDB 2.0 cannot read them split.
    """
    if encoding in ("values", "facts") and (pa.types.is_float32(leaf) or pa.types.is_float64(leaf)):
        return "BYTE_STREAM_SPLIT"
    if encoding == "delta" or (encoding == "facts" and pa.types.is_integer(leaf) and leaf.bit_width >= 32):
        return "DELTA_BINARY_PACKED"
    few = encoding in ("dictionary", "facts") or (encoding == "values" and single and pa.types.is_integer(leaf))
    return "DICTIONARY" if few and not pa.types.is_boolean(leaf) else "PLAIN"


def leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The Parquet leaf columns below an Arrow column, as (dotted path, value type)."""
    if isinstance(kind, pa.BaseExtensionType):
        yield from leaves(path, kind.storage_type)
    elif pa.types.is_dictionary(kind):
        yield from leaves(path, kind.value_type)
    elif pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            child = kind.field(index)
            yield from leaves(f"{path}.{child.name}", child.type)
    elif pa.types.is_map(kind):
        yield from leaves(f"{path}.key_value.key", kind.key_type)
        yield from leaves(f"{path}.key_value.value", kind.item_type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path, kind


def _unified(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """One table over the batches' memory, with one dictionary a column: each fragment came with its own."""
    return pa.Table.from_batches(batches).unify_dictionaries()


def _row_groups(table: pa.Table) -> Iterator[tuple[int, int]]:
    """(offset, rows) of row groups bounded by rows and by bytes; at least one, also when there are no rows."""
    row_bytes = max(1, table.nbytes // max(1, table.num_rows))
    rows = max(1, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // row_bytes))
    for at in range(0, max(1, table.num_rows), rows):
        yield at, min(rows, table.num_rows - at)


# ---- frames ----


def group_by_stream(table: pa.Table) -> list[pa.RecordBatch]:
    """The rows of a table of frames in the order of (kind, sub_env, agent, episode, t), by slices."""
    runs: list[tuple[tuple[str, int, str, int, int], pa.RecordBatch]] = []
    for batch in table.to_batches():
        kinds, agents = batch.column("kind"), batch.column("agent_id")
        codes = [_codes(kinds), _codes(agents), batch.column("sub_env").to_numpy(zero_copy_only=False)]
        changed = np.zeros(batch.num_rows, dtype=bool)
        for code in codes:
            changed[1:] |= code[1:] != code[:-1]
        starts = [0, *np.flatnonzero(changed).tolist(), batch.num_rows]
        for start, stop in pairwise(starts):
            key = (
                kinds[start].as_py() or "",
                batch.column("sub_env")[start].as_py() or 0,
                agents[start].as_py() or "",
                batch.column("episode")[start].as_py() or 0,
                batch.column("t")[start].as_py() or 0,
            )
            runs.append((key, batch.slice(start, stop - start)))
    runs.sort(key=lambda run: run[0])  # stable: what has equal keys stays in the order in which it came
    return [piece for _, piece in runs]


def _codes(column: pa.Array) -> np.ndarray:
    codes = column.indices if pa.types.is_dictionary(column.type) else column.dictionary_encode().indices
    return codes.fill_null(-1).to_numpy(zero_copy_only=False)


@dataclass(frozen=True, slots=True)
class FramePages:
    """Pages and row groups of one file of frames, from the mean size of its pictures in bytes.

    `asked_bytes` is the size of a row group; 0: as follows from the size of the pictures.
    """

    frame_bytes: int
    asked_bytes: int = 0

    @classmethod
    def of(cls, table: pa.Table, asked_bytes: int = 0) -> FramePages:
        """By the pictures of a table, whatever of them is there (picture_changes.py)."""
        return cls(max(1, int(sizes_of(table).sum()) // max(1, table.num_rows)), asked_bytes)

    @property
    def large(self) -> bool:
        """Whether a picture is a large one."""
        return self.frame_bytes > LARGE_FRAME_BYTES

    @property
    def level(self) -> int:
        """The zstd level that suits."""
        return 1 if SMALL_FRAME_BYTES < self.frame_bytes <= LARGE_FRAME_BYTES else 3

    @property
    def group_bytes(self) -> int:
        """Decoded bytes of a row group."""
        return self.asked_bytes or (LARGE_FRAME_GROUP_BYTES if self.large else FRAME_GROUP_BYTES)

    def options(self, level: int) -> dict[str, Any]:
        """Arguments of `pq.ParquetWriter`; level 0 chooses."""
        # A reader decodes whole row groups, so they alone decide what one frame costs, and pages inside of one only
        # make zstd begin anew: one page a row group.
        return {"compression_level": level or self.level, "data_page_size": self.group_bytes}

    def row_groups(self, pieces: Sequence[pa.RecordBatch]) -> Iterator[pa.Table]:
        """Tables of at most `group_bytes` over the pieces in their order."""
        group: list[pa.RecordBatch] = []
        room = rows = max(1, self.group_bytes // self.frame_bytes)
        for piece in pieces:
            at = 0
            while at < piece.num_rows:
                taken = piece.slice(at, room)
                group.append(taken)
                at += taken.num_rows
                room -= taken.num_rows
                if room == 0:
                    yield pa.Table.from_batches(group)
                    group, room = [], rows
        if group:
            yield pa.Table.from_batches(group)
