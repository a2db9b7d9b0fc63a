"""The smallest encoding of a table, found by trying: what the archive level of a compaction uses.

The first rows of what is to be merged are encoded in every way that readers know, and each column takes the one that
was smallest. A way that costs more time is taken only where it saves more than `WORTH`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from .merging import Encoding, PartReader
from .parts import MIB, PAGE_BYTES, FramePages, column_options, group_by_stream, leaves

SAMPLE_BYTES: Final = 16 * MIB
"""Decoded rows that columns are tried on."""
FRAMES_SAMPLE_BYTES: Final = 64 * MIB
LEVELS: Final = (1, 3, 9, 15)
"""zstd levels that are tried for columns of steps and episodes, the quickest first."""
FRAME_WAYS: Final = ((3, 0), (12, 0), (12, 32 * MIB), (19, 32 * MIB))
"""zstd level and bytes of a row group (0: by the pictures) that are tried for frames: a larger group costs who reads a
single one."""
WORTH: Final = 0.01


def choose_encoding(reader: PartReader, schema: pa.Schema, table: str, frames_group_bytes: int = 0) -> Encoding:
    """The smallest encoding of the first rows of `reader`, which have `schema`.

    `frames_group_bytes`: the row groups that a user asked for, because they cost who reads a single picture; 0: any.
    """
    if table == "frames":
        return _of_frames(_sample(reader, FRAMES_SAMPLE_BYTES, schema), schema, frames_group_bytes)
    return _of_columns(_sample(reader, SAMPLE_BYTES, schema), schema, table)


def _sample(reader: PartReader, nbytes: int, schema: pa.Schema) -> pa.Table:
    taken: list[pa.Table] = []
    size = 0
    for group in reader.row_groups():
        rows = max(1, int(group.num_rows * min(1.0, (nbytes - size) / max(1, group.nbytes))))
        taken.append(group.slice(0, rows))
        size += taken[-1].nbytes
        if size >= nbytes:
            break
    return pa.concat_tables(taken) if taken else schema.empty_table()


# ---- frames ----


def _of_frames(sample: pa.Table, schema: pa.Schema, asked_bytes: int) -> Encoding:
    options = column_options("frames", schema)
    best: tuple[int, Encoding] | None = None
    pieces = group_by_stream(sample)
    ways = {(level, asked_bytes or group_bytes) for level, group_bytes in FRAME_WAYS}
    for level, group_bytes in sorted(ways):
        pages = FramePages.of(sample, group_bytes)
        mine = pages.options(level)
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, schema, **options, **mine) as writer:
            for group in pages.row_groups(pieces):
                writer.write_table(group, row_group_size=max(1, group.num_rows))
        size = sink.tell()
        if best is None or size < best[0] * (1 - WORTH):
            best = size, Encoding({"compression_level": level}, group_bytes)
    assert best is not None
    return best[1]


# ---- other tables ----


def _of_columns(sample: pa.Table, schema: pa.Schema, table: str) -> Encoding:
    kinds = dict(leaf for field in schema for leaf in leaves(field.name, field.type))
    usual = column_options(table, schema)
    best: dict[str, tuple[int, str, int]] = {}  # path -> bytes, encoding, level
    for level in LEVELS:
        for way in ("usual", "PLAIN", "DICTIONARY", "BYTE_STREAM_SPLIT", "DELTA_BINARY_PACKED"):
            wanted = {path: _of(usual, path) if way == "usual" else way for path in kinds}
            tried = {p: e for p, e in wanted.items() if way == "usual" or e in _allowed(kinds[p])}
            if not tried:
                continue
            encodings = {path: tried.get(path, "PLAIN") for path in kinds}
            for path, size in _sizes(sample, usual | _options(encodings), level):
                if path in tried and (path not in best or size < best[path][0] * (1 - WORTH)):
                    best[path] = size, tried[path], level
    chosen = _options({path: encoding for path, (_, encoding, _) in best.items()})
    return Encoding(chosen | {"compression_level": {path: level for path, (_, _, level) in best.items()}})


def _of(options: Mapping[str, Any], path: str) -> str:
    return "DICTIONARY" if path in options["use_dictionary"] else options["column_encoding"].get(path, "PLAIN")


def _options(encodings: Mapping[str, str]) -> dict[str, Any]:
    return {
        "use_dictionary": [path for path, way in encodings.items() if way == "DICTIONARY"],
        "column_encoding": {p: w for p, w in encodings.items() if w not in ("DICTIONARY", "PLAIN")},
    }


def _allowed(kind: pa.DataType) -> tuple[str, ...]:
    """Encodings that pyarrow writes and DuckDB reads. Half floats stay plain: DuckDB 2.0 cannot read them split."""
    if pa.types.is_boolean(kind) or pa.types.is_float16(kind) or pa.types.is_null(kind):
        return ()
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return ("PLAIN", "DICTIONARY", "BYTE_STREAM_SPLIT")
    if (pa.types.is_integer(kind) and kind.bit_width >= 32) or pa.types.is_timestamp(kind):
        return ("PLAIN", "DICTIONARY", "DELTA_BINARY_PACKED")
    return ("PLAIN", "DICTIONARY")


def _sizes(sample: pa.Table, options: Mapping[str, Any], level: int) -> Iterator[tuple[str, int]]:
    """Compressed bytes of every leaf column."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, sample.schema, **options, compression_level=level, data_page_size=PAGE_BYTES) as writer:
        writer.write_table(sample, row_group_size=max(1, sample.num_rows))
    footer = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata
    for number in range(footer.num_columns):
        groups = [footer.row_group(g).column(number) for g in range(footer.num_row_groups)]
        yield groups[0].path_in_schema, sum(column.total_compressed_size for column in groups)
