"""Inspection of recordings: is everything there, as it was written, once, and accounted for?

What is checked, in this order:
1. `run.json`, `end.json`: readable, of a format that this version reads, with the digests that they carry; the small
   files that the end vouches for.
2. Markers: readable, named for what they say; commits of a writer without holes; fragments of a producer without holes
   and not twice.
3. Parts: length and sha256 as their marker says, footer, rows, and what they say of themselves. In threads.
4. Counts: the rows of the parts are what the watermarks and the end say, what is declared as gone added.
5. Episodes, where `rows` asks for them: the steps of each are there once, from 0 to its length; so are its pictures
   where all are kept.
6. The ledger: produced = durable + declared lost for every life of every producer, once the run is over.
7. Clocks: steps were not made after their commit, nor before the run.
8. Files that are not ours, and the catalog against the parts.

Rules:
1. Nothing is changed, with one exception: a run that ended without settling its accounts (its driver died) is settled,
   which adds ledger rows and `end.json` and nothing else (settlement.py). `settle_it=False` leaves that out.
2. What is wrong is a finding, never an exception; a recording that cannot be inspected at all is one with a finding.
3. Damage that the ledger declares (a part that repair moved aside) is a loss and not damage: it is known.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from rolltape.schema.errors import CorruptRecording, LakeNotFound, RolltapeError, StorageError, UnreadableNow
from rolltape.schema.messages import ProducerKey, Watermark

from .clocks import check_clocks
from .episode_checks import check_episodes
from .files import FileOps
from .findings import RunReport
from .fragment_coverage import fragments_declared, hole_declared, uncovered
from .layout import (
    MARKER_SUFFIX,
    PART_SUFFIX,
    CommitRange,
    RunFolder,
    WriterId,
    is_run_id,
    list_tables,
    missing_commits,
    outermost,
)
from .ledger import Loss, accounts, balance_text, losses_of_part, read_pages
from .markers import Marker, merged, read_newest
from .part_checks import UNREADABLE_NOW, PartCheck, check_part, unreadable_fault
from .rebuilding import Rebuilt
from .run_info import produced_of, read_json
from .settlement import is_settleable
from .settling import settle
from .small_files import read_end, read_info
from .strangers import find_strangers
from .summaries import is_alive
from .unreadable import is_passing

THREADS_FROM_BYTES: Final = 4 << 20
"""Parts of fewer bytes together are read before threads have begun."""
REPAIR: Final = "rolltape repair moves it to quarantine and declares what is missing"
REBUILD: Final = "rolltape repair makes it again from its parts, or declares what they held"
AGAIN: Final = (
    "try again when there are free files and memory and the disk answers; where it never does, move the file away, and "
    "rolltape repair declares what it held"
)


def all_runs(lake: str | Path) -> list[RunFolder]:
    """Every folder in `runs/` that is named like a run, also those without a `run.json`. Raises LakeNotFound."""
    runs = Path(lake) / "runs"
    if not runs.is_dir():
        raise LakeNotFound(f"No lake at {lake}: there is no folder {runs}.")
    return [RunFolder(path) for path in sorted(runs.iterdir()) if is_run_id(path.name) and path.is_dir()]


def verify_run(
    run: RunFolder,
    *,
    settle_it: bool = True,
    threads: int | None = None,
    rows: bool = True,
) -> RunReport:
    """Inspect one run.

    Args:
        run: its folder.
        settle_it: declare what is lost of a run that ended without doing so.
        threads: that hash and read parts; None for one a core.
        rows: also read to which episodes rows belong; without it only bytes are checked.

    Returns the report; raises nothing that a damaged recording could cause.
    """
    return Inspection(run, threads=threads, rows=rows).report_of(settle_it=settle_it)


@dataclass(slots=True)
class Inspection:
    """One inspection of one run; what it read is kept for a repair.

    Attributes:
        report: what was found.
        info, end: the content of `run.json` and `end.json`, None where they cannot be read or are not there.
        markers: the readable ones, by range.
        bad_markers: ranges whose marker cannot be read.
        checks: of the existing parts.
        losses: what the ledger declares.
        over: whether nobody writes it any more.
    """

    run: RunFolder
    threads: int | None = None
    rows: bool = True
    report: RunReport = field(init=False)
    info: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    end_damaged: bool = False
    markers: dict[CommitRange, Marker] = field(default_factory=dict)
    bad_markers: list[CommitRange] = field(default_factory=list)
    holes: list[tuple[WriterId, int, int]] = field(default_factory=list)
    checks: list[PartCheck] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    aliens: list[Path] = field(default_factory=list)
    unmarked: list[Path] = field(default_factory=list)
    over: bool = True

    def __post_init__(self) -> None:
        self.report = RunReport(self.run.run_id, str(self.run.path))

    def report_of(self, *, settle_it: bool) -> RunReport:
        """Inspect, settle where that is due, and return the report."""
        began = time.monotonic()
        try:
            self._inspect(settle_it)
        except (OSError, RolltapeError, pa.ArrowException) as error:
            said = f"the run cannot be inspected: {' '.join(str(error).split())}"
            code, remedy = (UNREADABLE_NOW, AGAIN) if is_passing(error) else ("unreadable", "")
            self.report.add("damage", code, "", said, remedy)
        self.report.seconds = time.monotonic() - began
        return self.report

    def _inspect(self, settle_it: bool) -> None:
        self.info = read_info(self.run, self.report)
        if self.info is None:
            return
        self.end, self.end_damaged = read_end(self.run, self.report)
        self.over = is_settleable(self.run, self.info, self.end) and not (
            self.end_damaged and is_alive(self.run, self.info)
        )
        self._say_status()
        if settle_it and self.over and not self.end_damaged:
            self._settle()
        self._read_markers()
        tables = list_tables(self.run)
        self._check_parts(tables)
        self._read_ledger()
        self._judge_parts()
        self._check_missing_parts(tables)
        self._check_fragments()
        self._check_counts()
        if self.rows:
            check_episodes(self.report, self.checks, lacks=self._lacks, all_pictures=self._keeps_all_pictures())
        self._check_accounts()
        check_clocks(self.report, self.checks, self.markers)
        marked = {*self.markers, *self.bad_markers}
        self.aliens, self.unmarked = find_strangers(self.run, self.report, marked, over=self.over)
        for loss in self.losses:
            if loss.stage != "unseen":
                self.report.add("loss", loss.cause, loss.file or "", str(loss))
        self.report.losses = self.losses

    # ---- 1 ----

    def _say_status(self) -> None:
        if self.end is not None and not self.end_damaged:
            self.report.status = str(self.end["status"])
        else:
            self.report.status = "crashed" if self.over else "running"
        if not self.over:
            self.report.add("note", "running", "", "the run goes on: what is checked is what was durable a moment ago")

    def _settle(self) -> None:
        assert self.info is not None
        try:
            if read_newest(self.run, FileOps())[2]:
                raise StorageError("the newest marker cannot be read. Rolltape repair mends it first")
            said = settle(self.run, self.info, self.end)
        except CorruptRecording:
            return  # found again, with its name, among the parts
        except StorageError as error:
            self.report.add("note", "not_settled", "", f"its accounts cannot be settled here: {error}")
            return
        if said:
            self.report.settled = said
            self.end = read_json(self.run.end_json)
            self.report.status = str((self.end or {}).get("status", self.report.status))

    # ---- 2 ----

    def _read_markers(self) -> None:
        ranges: list[CommitRange] = []
        for name in sorted(os.listdir(self.run.commits)):  # noqa: PTH208 - names
            commits = CommitRange.parse(name, MARKER_SUFFIX)
            if commits is None:
                continue
            try:
                data = (self.run.commits / name).read_bytes()
                marker = Marker.from_bytes(data, name)
            except FileNotFoundError:
                continue  # compacted meanwhile
            except (CorruptRecording, OSError) as error:
                self.bad_markers.append(commits)
                said = " ".join(str(error).split())
                code, remedy = (UNREADABLE_NOW, AGAIN) if is_passing(error) else ("marker", REBUILD)
                self.report.add("damage", code, f"commits/{name}", said, remedy)
                continue
            if b'"digest": "sha256:' not in data[data.rfind(b'"fenced"') :]:
                self.report.add("note", "no_seal", f"commits/{name}", "it carries no digest of itself")
            self.markers[commits] = marker
            ranges.append(commits)
        self.holes = missing_commits(c.marker_name for c in (*ranges, *self.bad_markers))
        declared = _try_losses(self.run)
        for writer, first, last in self.holes:
            hole = CommitRange(writer, first, last)
            if not hole_declared(declared, hole):
                text = f"commits {first} to {last} of {writer} have no marker, though later ones have"
                self.report.add("damage", "hole", f"commits/{hole.marker_name}", text, REBUILD)

    def in_a_hole(self, commits: CommitRange) -> bool:
        """Whether these commits have no marker though later ones of their writer have."""
        return any(w == commits.writer and a <= commits.first and commits.last <= b for w, a, b in self.holes)

    def take_in(self, made: Mapping[CommitRange, Rebuilt]) -> None:
        """Go on as if these markers had been there."""
        self.markers |= {commits: one.marker for commits, one in made.items()}
        for commits, one in made.items():
            for entry, fault in one.damaged.items():
                path = self.run.path / entry.file
                if path.exists():
                    self.checks.append(PartCheck(path, entry.table, commits, entry, [("part_digest", fault)]))
        self.bad_markers = [commits for commits in self.bad_markers if commits not in made]
        self.holes = missing_commits(c.marker_name for c in (*self.markers, *self.bad_markers))
        self.unmarked = [p for p in self.unmarked if CommitRange.parse(p.name, PART_SUFFIX) not in made]

    # ---- 3 ----

    def _check_parts(self, tables: Mapping[str, list[Path]]) -> None:
        jobs = []
        for table, paths in tables.items():
            for path in paths:
                commits = CommitRange.parse(path.name, PART_SUFFIX)
                marker = self.markers.get(commits) if commits else None
                if marker is None:
                    continue  # its marker is damaged, which is said already
                entry = next((p for p in marker.parts if p.file == f"{table}/{path.name}"), None)
                jobs.append((path, table, entry))
        jobs.sort(key=lambda job: -(job[2].bytes if job[2] else 0))

        def one(job: tuple[Path, str, Any]) -> PartCheck:
            return check_part(*job, self.run.run_id, rows=self.rows)

        threads = self.threads or os.cpu_count() or 1
        if threads == 1 or sum(job[2].bytes for job in jobs if job[2]) < THREADS_FROM_BYTES:
            checks = list(map(one, jobs))
        else:
            with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
                checks = list(pool.map(one, jobs))
        self.checks += [check for check in checks if not check.vanished]
        self.checks.sort(key=lambda check: (check.table, check.commits))
        self.report.parts = len(self.checks)
        self.report.bytes = sum(check.bytes for check in self.checks)
        for check in self.checks:
            self.report.rows[check.table] = self.report.rows.get(check.table, 0) + check.rows

    def _judge_parts(self) -> None:
        for check in self.checks:
            for code, text in check.faults:
                remedy = AGAIN if code == UNREADABLE_NOW else REPAIR
                self.report.add("damage", code, self._name(check.path), text, remedy)

    def _check_missing_parts(self, tables: Mapping[str, list[Path]]) -> None:
        """Every part of a marker that is not covered by a larger one is there, or declared as gone."""
        declared = {loss.file for loss in self.losses if loss.file and loss.stage == "gone"}
        listed = {self._name(path) for paths in tables.values() for path in paths}
        for commits, marker in self.visible():
            for part in marker.parts:
                if part.file in listed or part.file in declared:
                    continue
                if not self.over and not (self.run.commits / commits.marker_name).exists():
                    continue  # compacted meanwhile
                text = f"its marker {commits.marker_name} says that it exists, with {part.rows:,} rows"
                self.report.add("damage", "part_missing", part.file, text, "rolltape repair declares what is missing")

    def visible(self) -> list[tuple[CommitRange, Marker]]:
        """The markers that no larger one covers, by writer and first commit."""
        return [(commits, self.markers[commits]) for commits in outermost(self.markers)]

    # ---- 4 ----

    def watermarks(self) -> dict[ProducerKey, Watermark]:
        """What is durable, as the readable markers say."""
        return merged(marker.watermarks for marker in self.markers.values())

    def _check_fragments(self) -> None:
        for what, key, first, last in uncovered((marker for _, marker in self.visible()), self.watermarks()):
            if what == "twice":
                self.report.add(
                    "damage", "fragments_twice", "", f"fragments {first} to {last} of {key} are stored twice"
                )
            elif not fragments_declared(self.losses, key, first, last):
                text = f"fragments {first} to {last} of {key} were acknowledged and no commit holds them"
                self.report.add("damage", "fragments_missing", "", text, "rolltape repair declares what is missing")

    def _check_counts(self) -> None:
        rows = self.report.rows
        marks = self.watermarks().values()
        for table, expected in (("steps", sum(m.steps for m in marks)), ("episodes", sum(m.episodes for m in marks))):
            gone, unknown = self._gone(table)
            if unknown or self._damaged(table) or not self.over:
                continue
            found = rows.get(table, 0) + gone
            if found != expected:
                text = f"the parts hold {found:,} {table}, the watermarks say {expected:,}"
                self.report.add("damage", "counts", "", text)
            said = (self.end or {}).get(table)
            if isinstance(said, int) and not self.report.settled and said not in (found, found - gone):
                self.report.add(
                    "damage", "end_counts", "end.json", f"it says {said:,} {table}, the parts hold {found:,}"
                )

    def _gone(self, table: str) -> tuple[int, bool]:
        """Rows of a table that are declared as gone, and whether some number of them is unknown."""
        gone = [loss for loss in self.losses if loss.table == table and loss.stage == "gone"]
        return sum(loss.rows or 0 for loss in gone), any(loss.rows is None for loss in gone)

    def _damaged(self, table: str) -> bool:
        """Whether rows of a table are missing in a way that is said already."""
        if self.bad_markers or any(finding.code in ("hole", "fragments_missing") for finding in self.report.findings):
            return True
        return any(
            finding.severity == "damage" and finding.path.startswith(f"{table}/") for finding in self.report.findings
        )

    # ---- 5 ----

    def _lacks(self, table: str) -> bool:
        """Whether rows of a table are missing in a way that is declared, or said already."""
        return any(loss.table == table and loss.stage == "gone" for loss in self.losses) or self._damaged(table)

    def _keeps_all_pictures(self) -> bool:
        frames = (self.info or {}).get("frames") or {}
        return isinstance(frames, Mapping) and frames.get("policy") == "observation" and frames.get("every", 1) == 1

    # ---- 6 ----

    def _read_ledger(self) -> None:
        for check in self.checks:
            if check.table == "ledger" and not check.faults:
                try:
                    self.losses += losses_of_part(check.path)
                except (CorruptRecording, UnreadableNow, OSError, pa.ArrowException, KeyError) as error:
                    check.faults.append(unreadable_fault(error))

    def _check_accounts(self) -> None:
        produced = produced_of(self.end)
        self.report.accounts = accounts(read_pages(self.run), self.watermarks(), self.losses, produced)
        if not self.over:
            return
        wrong = [account for account in self.report.accounts if not account.balanced]
        ledger_damaged = self._damaged("ledger")
        if wrong and not ledger_damaged:
            remedy = "rolltape repair declares it" if not self.report.settled else ""
            self.report.add("damage", "accounts", "", f"counts do not reconcile: {balance_text(wrong)}", remedy)
        if self.end is None and not self.end_damaged:
            text = "the run ended without an end.json: its driver died"
            self.report.add("damage", "no_end", "end.json", text, "rolltape verify or repair settles its accounts")

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.run.path))


def _try_losses(run: RunFolder) -> list[Loss]:
    found: list[Loss] = []
    for path in list_tables(run, ("ledger",))["ledger"]:
        try:
            found += losses_of_part(path)
        except (StorageError, OSError, pa.ArrowException, KeyError):
            continue  # said where the parts are checked
    return found
