"""Merging parts of one table into one, row group by row group, in bounded memory.

Rules:
1. Rows keep their order; only frames are put into the order of their streams, `WINDOW_BYTES` of them at a time.
2. A row group that is large enough is taken as it is; smaller ones are put together up to the limits of parts.py.
3. Before a row is taken from a part, its bytes are compared with the digest in its marker: what is damaged is not
   written anew under a digest that fits.
4. Memory is a window of rows, or a row group of the largest size, what pyarrow needs to decode and encode it, and a
   buffer: not more for a part of gigabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.errors import CorruptRecording

from .files import FileOps, Sink
from .layout import CommitRange, RunFolder
from .markers import PartEntry
from .parts import (
    MIB,
    PAGE_BYTES,
    ROW_GROUP_BYTES,
    ROW_GROUP_ROWS,
    FramePages,
    column_options,
    group_by_stream,
    part_metadata,
)

WINDOW_BYTES: Final = 128 * MIB
"""Frames, decoded, that are put into the order of their streams at a time."""
BUFFER_BYTES: Final = 4 * MIB


def allocate_for_merging() -> None:
    """Give Arrow's memory of this process to the allocator that merges fastest; for a process that does nothing else.

    Row groups come and go by the hundred megabytes. mimalloc, the default, gives their pages back each time, and has
    them cleared again; jemalloc keeps them for a second. Where there is none, nothing changes.
    """
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a merged part is encoded; the defaults are those of a writer.

    Attributes:
        options: arguments of `pq.ParquetWriter` over those of parts.py.
        frame_group_bytes: size of a row group of frames; 0: by the size of the pictures.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    frame_group_bytes: int = 0


class PartReader:
    """The rows of several parts of one table in their order.

    Args:
        run: the run's folder.
        entries: what their markers say.
        files: how they are opened.
    """

    def __init__(self, run: RunFolder, entries: Sequence[PartEntry], files: FileOps) -> None:
        self._run, self._entries, self._files = run, entries, files

    def check(self) -> None:
        """Compare every part with its digest. Raises CorruptRecording, which names the part."""
        for entry in self._entries:
            digest = hashlib.sha256()
            with self._opened(entry) as file:
                while chunk := file.read(BUFFER_BYTES):
                    digest.update(chunk)
            if f"sha256:{digest.hexdigest()}" != entry.digest:
                raise CorruptRecording(
                    f"{self._run.path / entry.file} is damaged: its content is not what its marker says. It was left "
                    f"as it is, and so were the parts that were to be merged with it."
                )

    def schemas(self) -> list[pa.Schema]:
        """The schema of each part."""
        found = []
        for entry in self._entries:
            with self._opened(entry) as file:
                found.append(pq.ParquetFile(file).schema_arrow)
        return found

    def row_groups(self) -> Iterator[pa.Table]:
        """The row groups as they are stored."""
        for entry in self._entries:
            with self._opened(entry) as file, pq.ParquetFile(file) as part:
                for number in range(part.num_row_groups):
                    yield part.read_row_group(number, use_threads=False)

    def _opened(self, entry: PartEntry) -> pa.NativeFile:
        path = self._run.path / entry.file
        try:
            return self._files.open(path)
        except FileNotFoundError as error:
            raise CorruptRecording(f"{path} is missing, though its marker says that it exists.") from error


def merge_parts(
    reader: PartReader,
    schema: pa.Schema,
    sink: Sink,
    table: str,
    run_id: str,
    commits: CommitRange,
    encoding: Encoding,
    outline: str = "",
) -> PartEntry:
    """Write all rows of `reader` into `sink` as the part of `commits`.

    Args:
        reader: parts that have `schema`.
        table: a key of `TABLES`.
        run_id: goes into the part's metadata.
        encoding: how.
        outline: of the whole range, kept in its first two parts (markers.py).
    """
    counted = _CountingSink(sink)
    options: dict[str, Any] = {"data_page_size": PAGE_BYTES, "compression_level": 1}
    groups = _whole_groups(reader.row_groups())
    if table == "frames":
        first = next(windows := _windows(reader.row_groups()), schema.empty_table())
        pages = FramePages.of(first, encoding.frame_group_bytes)
        options = pages.options(0)
        groups = _frame_groups(first, windows, pages)
    options = {**column_options(table, schema), **options, **encoding.options}
    rows = 0
    with (
        pa.BufferedOutputStream(pa.PythonFile(counted, "w"), BUFFER_BYTES) as buffered,
        pq.ParquetWriter(buffered, schema, **options) as writer,
    ):
        for group in groups:
            writer.write_table(group, row_group_size=max(1, group.num_rows))
            rows += group.num_rows
        writer.add_key_value_metadata(part_metadata(table, run_id, commits, outline))
    return PartEntry(table, f"{table}/{commits.part_name}", rows, counted.size, f"sha256:{counted.digest.hexdigest()}")


class _CountingSink:
    """A file object over a `Sink` that counts and digests what goes through."""

    closed = False

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._sink.write(view)
        self.digest.update(view)
        self.size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def _whole_groups(groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Row groups put together up to the limits of a part's (rule 2)."""
    held: list[pa.Table] = []
    rows = size = 0
    for group in groups:
        if held and (rows + group.num_rows > ROW_GROUP_ROWS or size + group.nbytes > ROW_GROUP_BYTES):
            yield _joined(held)
            held, rows, size = [], 0, 0
        held.append(group)
        rows, size = rows + group.num_rows, size + group.nbytes
    if held:
        yield _joined(held)


def _windows(groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    size = 0
    for group in groups:
        held.append(group)
        size += group.nbytes
        if size >= WINDOW_BYTES:
            yield _joined(held)
            held, size = [], 0
    if held:
        yield _joined(held)


def _frame_groups(first: pa.Table, rest: Iterator[pa.Table], pages: FramePages) -> Iterator[pa.Table]:
    window: pa.Table | None = first
    while window is not None:
        yield from pages.row_groups(group_by_stream(window))
        window = next(rest, None)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table over their memory, with one dictionary a column: each part came with its own."""
    if len(tables) == 1:
        return tables[0]
    whole = pa.concat_tables(tables)
    try:
        return whole.unify_dictionaries()
    except pa.ArrowInvalid:  # more values than an int8 numbers: each chunk keeps its own
        return whole
