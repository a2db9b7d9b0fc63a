"""Where things lie in a lake: folders, names of parts and markers, and which parts exist (docs/format.md).

Rules:
1. A part exists when the marker of exactly its writer and range exists.
2. A part whose range lies inside another existing part's range of the same writer and table is ignored; so is one of
   the same range that was written again (`again` is higher).
3. Names that do not parse as ours (temporary, hidden, alien) are never data.
4. A listing is exact although writers and a compactor work meanwhile: markers are listed before and after the
   parts. A part is published before its marker, so a marker of the first listing has all its parts in the
   second; a compactor deletes markers before parts, so nothing was deleted below a marker that is still there
   in the third.

Only names and listings: nothing here opens or writes a file.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import LakeNotFound

from .unreadable import is_passing, unreadable_now

FORMAT: Final = 1
"""Version of the folder, the names, the markers and the parts; stands in `run.json`, every marker and every part."""

PART_SUFFIX: Final = ".parquet"
MARKER_SUFFIX: Final = ".json"

_WRITER = re.compile(r"w(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)
_COMMIT = r"(\d{8}|[1-9]\d{8,})"  # eight digits, and more only where they are needed: one name for each number
_RANGE = re.compile(rf"({_WRITER.pattern})-{_COMMIT}-{_COMMIT}(?:-([1-9]\d*))?(\.parquet|\.json)", re.ASCII)
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

RETIRED_NAME: Final = "retired.json"
"""A run that has this file is not listed any more; it is deleted after a grace."""

LISTING_ATTEMPTS: Final = 10
"""How often a listing is repeated when a compaction moves names under it."""


class WriterId(NamedTuple):
    """A writer's slot in the run and its life in that slot, both from 0; prints as `w<slot>.<incarnation>`."""

    slot: int
    incarnation: int

    def __str__(self) -> str:
        return f"w{self.slot}.{self.incarnation}"

    @classmethod
    def parse(cls, text: str) -> WriterId:
        """The inverse of `str`. Raises ValueError for anything else."""
        match = _WRITER.fullmatch(text)
        if match is None:
            raise ValueError(f"not a writer id: {text!r}; expected w<slot>.<incarnation>")
        return cls(int(match[1]), int(match[2]))


class CommitRange(NamedTuple):
    """Commits `first` to `last`, both inclusive and from 1, of one writer: what a part or a marker stands for.

    `again` counts how often a compaction wrote the same range anew, to encode it smaller.
    """

    writer: WriterId
    first: int
    last: int
    again: int = 0

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return f"{self.writer}-{self.first:08d}-{self.last:08d}" + (f"-{self.again}" if self.again else "")

    @property
    def compacted(self) -> bool:
        """Whether a compaction made it and not a writer."""
        return self.first != self.last or self.again > 0

    @property
    def part_name(self) -> str:
        """Name of the part of this range in every table's folder."""
        return self.stem + PART_SUFFIX

    @property
    def marker_name(self) -> str:
        """Name of the marker of this range in `commits/`."""
        return self.stem + MARKER_SUFFIX

    def inside(self, other: CommitRange) -> bool:
        """Whether every commit of this range is one of `other`'s, which is larger or was written later."""
        if self.writer != other.writer or not other.first <= self.first <= self.last <= other.last:
            return False
        return other.last - other.first > self.last - self.first or other.again > self.again

    @classmethod
    def parse(cls, name: str, suffix: str) -> CommitRange | None:
        """The range that a part (`PART_SUFFIX`) or marker (`MARKER_SUFFIX`) is named for; None for other names."""
        match = _RANGE.fullmatch(name)
        if match is None or match[7] != suffix:
            return None
        found = cls(WriterId(int(match[2]), int(match[3])), int(match[4]), int(match[5]), int(match[6] or 0))
        return found if 1 <= found.first <= found.last else None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run; `path` is `<lake>/runs/<run_id>`. Nothing is created by asking."""

    path: Path

    @classmethod
    def of(cls, lake: str | Path, run_id: str) -> Self:
        """The folder of `run_id` in `lake`, whether it exists or not. Raises ValueError for what is no run id."""
        if not is_run_id(run_id):
            raise ValueError(f"not a run id: {run_id!r}; expected the 26 characters of a ULID")
        return cls(Path(lake) / "runs" / run_id)

    @property
    def run_id(self) -> str:
        """The run's ULID: the folder's name."""
        return self.path.name

    @property
    def run_json(self) -> Path:
        """What is recorded."""
        return self.path / "run.json"

    @property
    def run_copy(self) -> Path:
        """A copy of `run.json`, for the day when that is damaged."""
        return self.path / "run.json.copy"

    @property
    def end_json(self) -> Path:
        """How it ended; absent while running or after a crash."""
        return self.path / "end.json"

    @property
    def commits(self) -> Path:
        """Markers."""
        return self.path / "commits"

    @property
    def writers(self) -> Path:
        """Claims of writer ids; never deleted."""
        return self.path / "writers"

    @property
    def staging(self) -> Path:
        """A folder of temporary names for each living writer."""
        return self.path / "staging"

    @property
    def compaction_lock(self) -> Path:
        """Held by the process that compacts."""
        return self.path / ".compaction.lock"

    @property
    def quarantine(self) -> Path:
        """What was moved aside; never deleted by us."""
        return self.path / "quarantine"

    @property
    def producers(self) -> Path:
        """Memory-mapped counters of producers."""
        return self.path / "producers"

    def table(self, name: str) -> Path:
        """The folder of one table's parts."""
        return self.path / name

    def folders(self) -> tuple[Path, ...]:
        """Every folder of a run, the tables in the order in which a commit publishes them."""
        tables = tuple(self.table(name) for name in TABLES)
        return (*tables, self.commits, self.writers, self.staging, self.quarantine, self.producers)


class RunIds:
    """Makes ULIDs: 48 bits of milliseconds, 80 of chance; each greater than the one before, also when clocks
    step back.

    Args:
        wall_ns: UTC time in nanoseconds.
    """

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._last = 0
        self._lock = threading.Lock()

    def new(self) -> str:
        """A new run id, 26 characters."""
        fresh = (self._wall_ns() // 1_000_000) << 80 | secrets.randbits(80)
        with self._lock:
            self._last = value = max(fresh, self._last + 1)
        return _written(value)


def _written(value: int) -> str:
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


new_run_id = RunIds().new


def is_run_id(text: str) -> bool:
    """Whether `text` has the form of a run id."""
    return _ULID.fullmatch(text) is not None


def existing_parts(marked: Set[CommitRange], parts: Iterable[str]) -> list[str]:
    """The names among one table's `parts` that exist by rules 1 to 3, given the ranges that have a marker; in order
    of writer and first commit."""
    return [part.part_name for part in outermost(r for r in _ranges(parts, PART_SUFFIX) if r in marked)]


def outermost(ranges: Iterable[CommitRange]) -> list[CommitRange]:
    """Those that lie inside no other, in order of writer and first commit."""
    kept: list[CommitRange] = []
    for part in sorted(ranges, key=lambda r: (r.writer, r.first, -r.last, -r.again)):
        if not (kept and part.inside(kept[-1])):  # what can cover it comes before it, so it is the last one kept
            kept.append(part)
    return kept


def missing_commits(markers: Iterable[str]) -> list[tuple[WriterId, int, int]]:
    """The commits, as (writer, first, last), that are missing below the newest marker of a writer.

    Writers number their commits 1, 2, 3, … without holes; one is missing while a compaction swaps names under
    a listing, or for good when a marker was lost.
    """
    holes: list[tuple[WriterId, int, int]] = []
    done: dict[WriterId, int] = {}
    for marker in sorted(_ranges(markers, MARKER_SUFFIX)):
        last = done.get(marker.writer, 0)
        if marker.first > last + 1:
            holes.append((marker.writer, last + 1, marker.first - 1))
        done[marker.writer] = max(last, marker.last)
    return holes


def list_parts(run: RunFolder, table: str) -> list[Path]:
    """The exact list of one table's parts, ordered by writer and first commit."""
    return list_tables(run, (table,))[table]


def list_tables(run: RunFolder, tables: Sequence[str] = tuple(TABLES)) -> dict[str, list[Path]]:
    """The exact lists of parts of several tables as of one moment: a commit is in all of them or in none.

    Raises LakeNotFound when there is no such run, UnreadableNow. A hole that stays (a lost marker) is no error here.
    """
    before = _names(run.commits, run)
    for _ in range(LISTING_ATTEMPTS):
        names = {table: _names(run.table(table), run) for table in tables}
        after = _names(run.commits, run)
        if before <= after and (before == after or not missing_commits(before)):
            break
        before = after
    else:
        names = {table: _names(run.table(table), run) for table in tables}
    marked = set(_ranges(before, MARKER_SUFFIX))
    listed: dict[str, list[Path]] = {}
    for table in tables:
        folder = run.table(table)
        listed[table] = [folder / name for name in existing_parts(marked, names[table])]
    return listed


def list_runs(lake: str | Path) -> list[RunFolder]:
    """The runs of a lake that have a `run.json`, oldest first. Raises LakeNotFound when there is no such folder."""
    runs = Path(lake) / "runs"
    try:
        names = sorted(entry.name for entry in runs.iterdir() if is_run_id(entry.name))
    except FileNotFoundError:
        if not Path(lake).is_dir():
            raise LakeNotFound(f"No lake at {lake}: there is no such folder. Record something into it first.") from None
        return []
    except NotADirectoryError:
        file = runs if Path(lake).is_dir() else lake
        raise LakeNotFound(f"No lake at {lake}: {file} is a file, and a folder is needed.") from None
    except OSError as error:
        if is_passing(error):
            raise unreadable_now(runs, error) from error
        raise
    found = [RunFolder(runs / name) for name in names]
    return [run for run in found if run.run_json.is_file() and not (run.path / RETIRED_NAME).exists()]


def _ranges(names: Iterable[str], suffix: str) -> list[CommitRange]:
    return [parsed for name in names if (parsed := CommitRange.parse(name, suffix)) is not None]


def _names(folder: Path, run: RunFolder) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        if not run.path.is_dir():
            raise LakeNotFound(f"No run at {run.path}: there is no such folder.") from None
        return set()  # a run that has not come so far
    except OSError as error:
        if is_passing(error):
            raise unreadable_now(folder, error) from error
        raise
