"""A lost marker made again from the parts of its commit.

Rules:
1. The first part of a commit says what its marker says, but for the digests of the parts: the outline (markers.py). It
   carries a digest of itself.
2. Every part that the outline names has to be there, of this run and commit, with so many rows, and every page has to
   have its CRC. Then the marker that is made again says what the lost one said; otherwise nothing is made.
3. A commit exists whose marker cannot be read, or whose number lies below another of its writer. One behind the newest
   may never have happened: it exists where the end of the run counted its steps as durable.
4. Nothing is made that holds a fragment which another commit holds: it was sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import CorruptRecording
from rolltape.schema.messages import ProducerKey, Watermark

from .layout import CommitRange, RunFolder
from .markers import Marker, PartEntry, merged
from .part_checks import check_part, digest_of_file
from .part_files import open_part
from .parts import OUTLINE


def rebuilt_marker(run: RunFolder, commits: CommitRange) -> Marker:
    """The marker of `commits` from its parts. Raises CorruptRecording, which says why they do not suffice."""
    parts = {table: path for table in TABLES if (path := run.table(table) / commits.part_name).is_file()}
    if not parts:
        raise CorruptRecording("none of its parts is there")
    marker, rows = _outline(commits, parts.values())
    if missing := sorted({*rows} - {*parts}):
        raise CorruptRecording(f"its parts of {', '.join(missing)} are not there")
    entries = tuple(_entry(run, table, parts[table], rows[table]) for table in TABLES if table in rows)
    return replace(marker, parts=entries)


def rebuilt_markers(
    run: RunFolder,
    candidates: Iterable[CommitRange],
    readable: Mapping[CommitRange, Marker],
    certain: Iterable[CommitRange],
    durable: Mapping[ProducerKey, int],
) -> tuple[dict[CommitRange, Marker], dict[CommitRange, str]]:
    """Those of `candidates` that can be made again, and why others cannot.

    Args:
        run: the run.
        candidates: commits whose marker is lost.
        readable: the markers that are not.
        certain: those of `candidates` that exist for sure (rule 3).
        durable: steps that the end of the run counted as durable; empty where it has no end.
    """
    known, sure = dict(readable), set(certain)
    made: dict[CommitRange, Marker] = {}
    refused: dict[CommitRange, str] = {}
    for commits in sorted(candidates, key=lambda c: (c.writer, c.first, -c.last, -c.again)):
        try:
            marker = rebuilt_marker(run, commits)
            if any(commits.inside(other) for other in known):
                raise CorruptRecording("a compaction has covered it")
            marks = merged(one.watermarks for one in known.values())
            if commits not in sure and not _counted(marker, marks, durable):
                raise CorruptRecording("the end of the run did not count it")
            beside = [one for other, one in known.items() if not other.inside(commits)]
            if twice := _held(marker, beside):
                raise CorruptRecording(f"another commit holds fragments of {twice}")
        except CorruptRecording as error:
            refused[commits] = str(error)
            continue
        known[commits] = made[commits] = marker
    return made, refused


def _outline(commits: CommitRange, parts: Iterable[Path]) -> tuple[Marker, dict[str, int]]:
    why = "none of its parts says what it said, as those of older recordings do not"
    for path in parts:
        try:
            with open_part(str(path)) as file:
                text = (file.metadata.metadata or {}).get(OUTLINE.encode())
            if text is not None:
                return Marker.from_outline(text, commits.marker_name)
        except (CorruptRecording, OSError, pa.ArrowException, ValueError) as error:
            why = " ".join(str(error).split())
    raise CorruptRecording(why)


def _entry(run: RunFolder, table: str, path: Path, rows: int) -> PartEntry:
    """What the marker said of a part. Raises CorruptRecording where it is not whole."""
    try:
        entry = PartEntry(table, f"{table}/{path.name}", rows, path.stat().st_size, digest_of_file(path))
        faults = check_part(path, table, entry, run.run_id, rows=False).faults
        if faults:
            raise CorruptRecording(f"{entry.file} {faults[0][1]}")
        with open_part(str(path)) as file:
            read = sum(file.read_row_group(number).num_rows for number in range(file.num_row_groups))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise CorruptRecording(f"{table}/{path.name} cannot be read: {' '.join(str(error).split())}") from error
    if read != rows:
        raise CorruptRecording(f"{entry.file} has {read:,} rows of {rows:,}")
    return entry


def _counted(marker: Marker, known: Mapping[ProducerKey, Watermark], durable: Mapping[ProducerKey, int]) -> bool:
    """Whether the end of the run counted the steps of a commit as durable."""
    keys = [key for one in marker.fragments if (key := ProducerKey(one.producer, one.incarnation)) in durable]
    more = any(marker.watermarks[key].steps > known.get(key, Watermark()).steps for key in keys)
    return more and all(marker.watermarks[key].steps <= durable[key] for key in keys)


def _held(marker: Marker, others: Iterable[Marker]) -> str:
    """The key of a fragment of `marker` that another one holds as well; empty: there is none."""
    mine: dict[tuple[int, int], tuple[int, int]] = {f[:2]: f[2:] for f in marker.fragments}
    for other in others:
        for producer, incarnation, first, last in other.fragments:
            own = mine.get((producer, incarnation))
            if own is not None and first <= own[1] and own[0] <= last:
                return str(ProducerKey(producer, incarnation))
    return ""
