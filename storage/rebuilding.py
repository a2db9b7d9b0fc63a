"""A lost marker made again from the parts of its commit, by `repair` and by a writer that starts.

Rules:
1. The first two parts of a commit say what its marker says, but for the digests of the parts: the outline (markers.py).
   It carries a digest of itself.
2. A part is whole where it is there, of this run and commit, with as many rows as the outline says, with the CRC of
   every page, with the columns that most parts of its table have, and where DuckDB reads it as well: what stands
   between pages, and the footer, have no CRC. The marker that is made again vouches for whole parts with their digest.
   Of the others it has the rows and a digest that fits nothing, so that they are damaged parts like any other: readers
   refuse them, and `repair` declares what they held. Where no part is whole nothing is made.
3. A commit exists whose marker cannot be read, or whose number lies below another of its writer. One behind the newest
   may never have happened: it exists where all its parts are whole and the end of the run counted its steps as durable.
4. Nothing is made that holds a fragment which another commit holds: it was sent again. A compaction whose parts are not
   all whole is not made either while something that it covers is there.
5. What keeps a part from being read and is not its content (unreadable.py) says nothing of the part: nothing is made or
   put aside then.
6. Without fsync (`durability="process"`) a power cut tears the newest files together. There a writer makes a marker
   again only where all parts are whole; the rest is the tail that nobody paid for, and goes to quarantine (fencing.py).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import CorruptRecording
from rolltape.schema.messages import ProducerKey, Watermark

from .files import FileOps, make_folder, storage_errors
from .layout import MARKER_SUFFIX, PART_SUFFIX, CommitRange, RunFolder
from .markers import UNKNOWN_DIGEST, Marker, PartEntry, merged, read_marker, read_newest
from .part_checks import identity_faults
from .parts import OUTLINE
from .unreadable import check_free_file, content_errors, unreadable_now

BLOCK_BYTES: Final = 1 << 20
Columns = tuple[tuple[str, str], ...]
"""Name and type of each column."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A marker made again.

    Attributes:
        marker: what it says.
        damaged: what is wrong with those of its parts that are not whole (rule 2).
    """

    marker: Marker
    damaged: Mapping[PartEntry, str] = field(default_factory=dict)


def rebuilt_marker(run: RunFolder, commits: CommitRange, files: FileOps) -> Rebuilt:
    """The marker of `commits` from its parts.

    Raises CorruptRecording, which says why they do not suffice, and UnreadableNow (rule 5).
    """
    parts = {table: path for table in TABLES if files.exists(path := run.table(table) / commits.part_name)}
    if not parts:
        raise CorruptRecording("none of its parts is there")
    marker, rows = _outline(commits, parts.values(), files)
    entries: list[PartEntry] = []
    damaged: dict[PartEntry, str] = {}
    for table in (table for table in TABLES if table in rows):
        name = f"{table}/{commits.part_name}"
        if table not in parts:
            entry, fault = PartEntry(table, name, rows[table], 0, UNKNOWN_DIGEST), "is not there"
        else:
            entry, fault = _entry(run, commits, table, rows[table], files)
        entries.append(entry)
        if fault:
            damaged[entry] = fault
    if len(damaged) == len(entries):
        raise CorruptRecording("; ".join(f"{entry.file} {fault}" for entry, fault in damaged.items()) or "it had none")
    return Rebuilt(replace(marker, parts=tuple(entries)), damaged)


def rebuilt_markers(
    run: RunFolder,
    candidates: Iterable[CommitRange],
    readable: Mapping[CommitRange, Marker],
    certain: Iterable[CommitRange],
    durable: Mapping[ProducerKey, int],
    files: FileOps,
) -> tuple[dict[CommitRange, Rebuilt], dict[CommitRange, str]]:
    """Those of `candidates` that can be made again, and why others cannot.

    Args:
        run: the run.
        candidates: commits whose marker is lost.
        readable: the markers that are not.
        certain: those of `candidates` that exist for sure (rule 3).
        durable: steps that the end of the run counted as durable; empty where it has no end.
        files: how parts are read.

    Raises UnreadableNow (rule 5).
    """
    known, sure = dict(readable), set(certain)
    made: dict[CommitRange, Rebuilt] = {}
    refused: dict[CommitRange, str] = {}
    for commits in sorted(candidates, key=lambda c: (c.writer, c.first, -c.last, -c.again)):
        try:
            one = rebuilt_marker(run, commits, files)
            if any(commits.inside(other) for other in known):
                raise CorruptRecording("a compaction has covered it")
            marks = merged(other.watermarks for other in known.values())
            if commits not in sure and (one.damaged or not _counted(one.marker, marks, durable)):
                raise CorruptRecording("the end of the run did not count it")
            if one.damaged and any(other.inside(commits) for other in known):
                raise CorruptRecording("its parts are not whole, and what it covers is there")
            beside = [marker for other, marker in known.items() if not other.inside(commits)]
            if twice := _held(one.marker, beside):
                raise CorruptRecording(f"another commit holds fragments of {twice}")
        except CorruptRecording as error:
            refused[commits] = str(error)
            continue
        known[commits], made[commits] = one.marker, one
    return made, refused


def mend_newest(run: RunFolder, *, durable: bool, files: FileOps | None = None) -> tuple[str, ...]:
    """Make unreadable newest markers of a run that nobody records again, before what is durable is read from them.

    `durable`: whether commits were made with fsync (rule 6). Returns the names of those that were made.

    Raises LakeNotWritable, DiskFull, StorageError.
    """
    files = files or FileOps()
    unreadable = read_newest(run, files)[2] if files.exists(run.commits) else []
    return tuple(one.marker.commits.marker_name for one in mend(run, unreadable, durable=durable, files=files))


def mend(run: RunFolder, unreadable: Iterable[CommitRange], *, durable: bool, files: FileOps) -> list[Rebuilt]:
    """Make these markers again, as far as can be, on the disk; what each said before is kept in quarantine.

    Raises LakeNotWritable, DiskFull, StorageError.
    """
    if not (torn := set(unreadable)):
        return []
    readable: dict[CommitRange, Marker] = {}
    for name in files.names(run.commits):
        commits = CommitRange.parse(name, MARKER_SUFFIX)
        if commits is not None and commits not in torn:
            try:
                readable[commits] = read_marker(run, commits, files)
            except (CorruptRecording, FileNotFoundError):
                continue  # repair's, or compacted meanwhile
    made, _ = rebuilt_markers(run, torn, readable, torn, {}, files)
    mended = [one for one in made.values() if durable or not one.damaged]
    for one in mended:
        replace_marker(run, one.marker, files)
    return mended


def replace_marker(run: RunFolder, marker: Marker, files: FileOps) -> None:
    """Write a marker in place of the one that is there, if any, which is kept. Raises StorageError and its kinds."""
    name = marker.commits.marker_name
    path, temporary = run.commits / name, run.commits / f".{name}.repair"
    make_folder(files, run.quarantine, durable=True)
    with storage_errors(files, path):
        if files.exists(path):
            files.write(free_name(run, f"commits/{name}", files), files.read(path))
        if files.exists(temporary):
            files.unlink(temporary)
        files.write(temporary, marker.to_bytes())
        files.sync(temporary)
        files.rename(temporary, path)
        files.sync(run.commits)


def free_name(run: RunFolder, name: str, files: FileOps) -> Path:
    """A name in quarantine that nobody has, for `<folder>/<name>`."""
    base = run.quarantine / name.replace("/", ".")
    target, number = base, 1
    while files.exists(target):
        target, number = base.with_name(f"{base.name}.{number}"), number + 1
    return target


def _outline(commits: CommitRange, parts: Iterable[Path], files: FileOps) -> tuple[Marker, dict[str, int]]:
    why = "none of its parts says what it said, as those of older recordings do not"
    for path in parts:
        try:
            with _content_errors(path), files.open(path) as source, pq.ParquetFile(source) as file:
                text = (file.metadata.metadata or {}).get(OUTLINE.encode())
        except CorruptRecording as error:
            why = f"{path} {error}"
            continue
        try:
            if text is not None:
                return Marker.from_outline(text, commits.marker_name)
        except CorruptRecording as error:
            why = " ".join(str(error).split())
    raise CorruptRecording(why)


def _entry(run: RunFolder, commits: CommitRange, table: str, rows: int, files: FileOps) -> tuple[PartEntry, str]:
    """What the marker said of a part, and what is wrong with it, if anything."""
    path = run.table(table) / commits.part_name
    entry = PartEntry(table, f"{table}/{path.name}", rows, 0, UNKNOWN_DIGEST)
    try:
        with _content_errors(path):
            entry = replace(entry, bytes=files.size(path))
            with files.open(path) as source, pq.ParquetFile(source, page_checksum_verification=True) as file:
                if file.metadata.num_rows != rows:
                    return entry, f"has {file.metadata.num_rows:,} rows, its marker says {rows:,}"
                faults = identity_faults(commits, table, file.metadata.metadata or {}, run.run_id)
                if faults:
                    return entry, faults[0][1]
                columns = _columns(file.schema_arrow)
                read = sum(file.read_row_group(number).num_rows for number in range(file.num_row_groups))
                on_disk = isinstance(source, pa.OSFile)  # DuckDB opens files by their names
            if read != rows:
                return entry, f"has {read:,} rows of {rows:,}"
            if fault := _unlike_others(run, table, columns, files):
                return entry, fault
            if on_disk and (fault := _fault_for_sql(path)):
                return entry, fault
            return replace(entry, digest=_digest(path, files)), ""
    except CorruptRecording as error:
        return entry, str(error)


@contextmanager
def _content_errors(path: Path) -> Iterator[None]:
    """Errors of reading a part, as `content_errors` has them; one that is not there is a damaged one (rule 2)."""
    try:
        with content_errors(path, lambda said: f"cannot be read: {said}"):
            yield
    except FileNotFoundError as error:
        raise CorruptRecording("is not there") from error


def _columns(schema: pa.Schema) -> Columns:
    return tuple((field.name, str(field.type)) for field in schema)


def _unlike_others(run: RunFolder, table: str, columns: Columns, files: FileOps) -> str:
    """What is wrong with the columns of a part: all parts of a table have the same. Empty: nothing."""
    others: Counter[Columns] = Counter()
    folder = run.table(table)
    for path in [folder / name for name in files.names(folder) if name.endswith(PART_SUFFIX)]:
        with suppress(CorruptRecording), _content_errors(path), files.open(path) as source:
            others[_columns(pq.read_schema(source))] += 1
    canonical = {(column.name, str(column.type)) for column in TABLES[table] if column.type is not None}
    usual = max(others, key=lambda found: (others[found], len(canonical.intersection(found))), default=columns)
    unlike = next((pair for pair in zip(columns, usual, strict=False) if pair[0] != pair[1]), None)
    if unlike is not None:
        (name, kind), (expected, usually) = unlike
        return f"has a column {name} ({kind}) where other parts have {expected} ({usually})"
    return "" if len(columns) == len(usual) else f"has {len(columns)} columns where other parts have {len(usual)}"


def _fault_for_sql(path: Path) -> str:
    """What DuckDB says of a part when it decodes all of it; empty: nothing. Raises UnreadableNow (rule 5)."""
    import duckdb  # not before a marker is lost: a writer does without

    check_free_file()
    with duckdb.connect(config={"threads": 1}) as connection:
        try:
            connection.execute("SELECT max(hash(part)) FROM read_parquet($1) part", [str(path)]).fetchall()
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise unreadable_now(path, error) from error
        except duckdb.Error as error:
            return f"cannot be read: {' '.join(str(error).split())}"
    return ""


def _digest(path: Path, files: FileOps) -> str:
    state = hashlib.sha256()
    with files.open(path) as file:
        while block := file.read(BLOCK_BYTES):
            state.update(block)
    return f"sha256:{state.hexdigest()}"


def _counted(marker: Marker, known: Mapping[ProducerKey, Watermark], durable: Mapping[ProducerKey, int]) -> bool:
    """Whether the end of the run counted the steps of a commit as durable.

    Raises CorruptRecording where the marker does not say how far one of its producers is.
    """
    keys = [key for one in marker.fragments if (key := ProducerKey(one.producer, one.incarnation)) in durable]
    if unsaid := [str(key) for key in keys if key not in marker.watermarks]:
        raise CorruptRecording(f"it has fragments of {', '.join(sorted({*unsaid}))}, and no watermark of them")
    more = any(marker.watermarks[key].steps > known.get(key, Watermark()).steps for key in keys)
    return more and all(marker.watermarks[key].steps <= durable[key] for key in keys)


def _held(marker: Marker, others: Iterable[Marker]) -> str:
    """The key of a fragment of `marker` that another one holds as well; empty: there is none."""
    mine: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for own in marker.fragments:  # a compaction may have several of one key: another writer holds what is between
        mine.setdefault(own[:2], []).append(own[2:])
    for other in others:
        for producer, incarnation, first, last in other.fragments:
            ranges = mine.get((producer, incarnation), ())
            if any(first <= own[1] and own[0] <= last for own in ranges):
                return str(ProducerKey(producer, incarnation))
    return ""
