"""One part against its marker: length, digest, footer and rows, and what its rows say of episodes.

Nothing here raises for a file that is not as it should be, or that cannot be read at the moment (unreadable.py): what
is wrong is an answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .layout import FORMAT, PART_SUFFIX, CommitRange
from .markers import UNKNOWN_DIGEST, PartEntry
from .unreadable import is_passing

BLOCK_BYTES: Final = 1 << 20
UNREADABLE_NOW: Final = "unreadable_now"
"""Code of a finding that is about the machine at this moment; a repair does nothing then."""
NO_SEGMENTS: Final = np.empty((0, 3), np.int64)


@dataclass(slots=True)
class PartCheck:
    """What is wrong with a part, and what it holds.

    Attributes:
        faults: (code, text) of everything that is wrong; empty for a part that is as it was written.
        rows: its rows, 0 where it cannot be read.
        segments: int64 (n, 3) of (episode, first t, last t): consecutive rows of one episode. Of steps and of the
            pictures of observations.
        episodes: columns of its rows, for a part of the table episodes.
        times_us: least and greatest `time` of its steps in UTC microseconds, None for none.
        vanished: it was there a moment ago: compacted.
    """

    path: Path
    table: str
    commits: CommitRange
    entry: PartEntry | None
    faults: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    segments: np.ndarray = field(default_factory=lambda: NO_SEGMENTS)
    episodes: pa.Table | None = None
    times_us: tuple[int, int] | None = None
    vanished: bool = False


def check_part(path: Path, table: str, entry: PartEntry | None, run_id: str, *, rows: bool = True) -> PartCheck:
    """Check one part; `entry` is what its marker says of it, None where it says nothing.

    `rows`: also read the columns that say to which episode a row belongs.
    """
    commits = CommitRange.parse(path.name, PART_SUFFIX)
    assert commits is not None  # the listing has nothing else
    check = PartCheck(path, table, commits, entry)
    try:
        check.bytes = path.stat().st_size
        if entry is None:
            check.faults.append(("part_unlisted", "its marker does not speak of it"))
        else:
            _check_bytes(check, entry)
        if not check.faults:
            _check_content(check, run_id, rows)
    except FileNotFoundError:
        check.vanished = True
    except (OSError, MemoryError, pa.ArrowException, ValueError, KeyError) as error:
        check.faults.append(unreadable_fault(error))
    return check


def unreadable_fault(error: BaseException) -> tuple[str, str]:
    """The fault of a part that cannot be read; with the code UNREADABLE_NOW where that says nothing of its content."""
    said = " ".join(str(error).split()) or type(error).__name__
    if is_passing(error):
        return UNREADABLE_NOW, f"cannot be read at the moment, which does not say that it is damaged: {said}"
    return "part_unreadable", f"cannot be read: {said}"


def digest_of_file(path: Path) -> str:
    """`sha256:<hex>` of a file; other threads go on meanwhile."""
    state = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        block = bytearray(BLOCK_BYTES)
        view = memoryview(block)
        while n := file.readinto(block):
            state.update(view[:n])
    return f"sha256:{state.hexdigest()}"


def _check_bytes(check: PartCheck, entry: PartEntry) -> None:
    if entry.digest == UNKNOWN_DIGEST:
        check.faults.append(("part_digest", "was damaged together with its marker"))
    elif check.bytes != entry.bytes:
        check.faults.append(("part_size", f"has {check.bytes:,} bytes, its marker says {entry.bytes:,}"))
    elif digest_of_file(check.path) != entry.digest:
        check.faults.append(("part_digest", "its content is not what was written: the digest differs"))


def _check_content(check: PartCheck, run_id: str, rows: bool) -> None:
    with pq.ParquetFile(check.path) as file:
        footer = file.metadata
        check.rows = footer.num_rows
        if check.entry is not None and check.rows != check.entry.rows:
            check.faults.append(("part_rows", f"has {check.rows:,} rows, its marker says {check.entry.rows:,}"))
        check.faults += identity_faults(check.commits, check.table, footer.metadata or {}, run_id)
        if not rows or check.faults:
            return
        names = set(file.schema_arrow.names)
        if check.table == "steps":
            check.segments = segments_of(file.read(columns=["episode", "t"]))
            check.times_us = _times(footer)
        elif check.table == "frames":
            table = file.read(columns=["episode", "t", "kind"])
            check.segments = segments_of(
                table, pc.call_function("equal", [table["kind"].cast("string"), pa.scalar("observation")])
            )
        elif check.table == "episodes":
            wanted = ("sub_env", "episode", "status", "length", "skipped", "worker", "incarnation", "fragment")
            check.episodes = file.read(columns=[name for name in wanted if name in names])


def identity_faults(
    commits: CommitRange, table: str, found: Mapping[bytes, bytes], run_id: str
) -> list[tuple[str, str]]:
    """What is wrong with what a part's metadata says of the part, as `faults` of a check."""
    last = str(commits.last) if commits.first == commits.last else f"{commits.first}-{commits.last}"
    expected = {"run_id": run_id, "table": table, "writer": str(commits.writer), "commit": last}
    faults = []
    for name, value in expected.items():
        said = found.get(name.encode(), b"").decode(errors="replace")
        if said != value:
            faults.append(("part_identity", f"says of itself {name} = {said or 'nothing'}, expected {value}"))
    version = found.get(b"format", b"").decode(errors="replace")
    if not version.isdecimal() or int(version) > FORMAT:
        faults.append(("part_format", f"is in format {version or 'unknown'}, this version reads up to {FORMAT}"))
    return faults


def segments_of(table: pa.Table, mask: pa.ChunkedArray | None = None) -> np.ndarray:
    """(episode, first t, last t) of consecutive rows; of those rows for which `mask` holds."""
    if mask is not None:
        table = table.filter(mask)
    if not table.num_rows:
        return NO_SEGMENTS
    episode, t = table["episode"].to_numpy(), table["t"].to_numpy()
    breaks = np.empty(len(t), bool)
    breaks[0] = True
    np.not_equal(np.diff(t), 1, out=breaks[1:])
    breaks[1:] |= episode[1:] != episode[:-1]
    first = np.flatnonzero(breaks)
    last = np.append(first[1:], len(t)) - 1
    return np.column_stack([episode[first], t[first], t[last]]).astype(np.int64)


def _times(footer: pq.FileMetaData) -> tuple[int, int] | None:
    """The range of `time`, from the statistics of the row groups."""
    low: list[int] = []
    high: list[int] = []
    names = [footer.schema.column(i).path for i in range(footer.num_columns)]
    if "time" not in names:
        return None
    at = names.index("time")
    for group in range(footer.num_row_groups):
        statistics = footer.row_group(group).column(at).statistics
        if statistics is not None and statistics.has_min_max:
            low.append(int(statistics.min_raw))
            high.append(int(statistics.max_raw))
    return (min(low), max(high)) if low else None
