"""Repair: what is damaged is put aside, what is missing is declared, and the next run is not in its way.

Rules:
1. Nothing is deleted: what is damaged or not ours is moved to `quarantine/` as `<folder>.<name>`, with a note of when
   and why in `quarantine/repair-<time>.json`. What is replaced is copied there first.
2. Losses are declared first, in one commit; then files are moved. A repair that is killed in between is done again, and
   declares nothing twice.
3. A marker that speaks of a part that is gone is replaced, by rename, with one that does not; the old one is kept. What
   it says of fragments and watermarks stays: they were durable.
4. A lost marker is made again from the parts of its commit (rebuilding.py), before anything is declared. Those of them
   that are damaged are then damaged parts like any other.
5. `run.json` comes back from its copy. A damaged `end.json` is written anew, from the parts.
6. A run that somebody writes is left alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from rolltape.schema.errors import CorruptRecording, StorageError, UnreadableNow

from .files import FileOps, make_folder, storage_errors
from .findings import RunReport
from .json_seal import seal_of
from .layout import PART_SUFFIX, CommitRange, RunFolder, list_tables
from .ledger import Loss
from .markers import Marker, PartEntry
from .part_checks import UNREADABLE_NOW
from .rebuilding import Rebuilt, free_name, rebuilt_markers, replace_marker
from .run_info import check_format, durable_steps, produced_of, read_end_info, read_json, write_end_info
from .settlement import Outstanding, declare, durable_of, outstanding
from .settling import end_of
from .small_files import not_of
from .summaries import is_alive
from .undeclared import bad_entries, undeclared
from .verify import AGAIN, Inspection

ROUNDS: Final = 3
"""A marker that is put aside may uncover others; then it is looked again."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a repair does: `rebuild`, `quarantine`, `restore`, `rewrite`, `declare`, or `end`; to which name,
    and why."""

    kind: str
    path: str
    why: str


@dataclass(slots=True)
class RepairReport:
    """What a repair did, or would do.

    Attributes:
        before, after: the inspections; `after` is None for a dry run.
        actions: in their order.
        losses: what is declared.
    """

    run_id: str
    before: RunReport
    after: RunReport | None = None
    actions: list[Action] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)

    def as_json(self) -> Mapping[str, Any]:
        """The report for programs."""
        return {
            "run_id": self.run_id,
            "actions": [{"kind": a.kind, "path": a.path, "why": a.why} for a in self.actions],
            "declared": [str(loss) for loss in self.losses],
            "before": self.before.as_json(),
            "after": None if self.after is None else self.after.as_json(),
        }


def repair_run(run: RunFolder, *, dry_run: bool = False, files: FileOps | None = None) -> RepairReport:
    """Repair one run; with `dry_run` only say what would be done.

    Raises:
        UnreadableNow: something cannot be read at the moment; nothing was done because of it.
        StorageError: the run is being recorded, or its `run.json` is damaged and so is the copy.
        UnsupportedFormat: it is in another format.
        LakeNotWritable, DiskFull: the disk.
    """
    files = files or FileOps()
    _refuse_living(run)
    found = _inspected(run)
    report = RepairReport(run.run_id, found.report)
    for _ in range(1 if dry_run else ROUNDS):
        repair = _Repair(run, files, dry_run, found)
        repair.do()
        report.actions += repair.actions
        report.losses += repair.losses
        if not repair.actions or dry_run:
            break
        found = _inspected(run)
    if not dry_run:
        if report.actions:
            _note(run, report, files)
        report.after = found.report
    return report


def _inspected(run: RunFolder) -> Inspection:
    found = Inspection(run)
    report = found.report_of(settle_it=False)
    if now := [finding for finding in report.of("damage") if finding.code == UNREADABLE_NOW]:
        raise UnreadableNow(f"{run.path / now[0].path}: {now[0].text}. Nothing was repaired: {AGAIN}.")
    return found


class _Repair:
    """One round: what follows from an inspection."""

    def __init__(self, run: RunFolder, files: FileOps, dry_run: bool, found: Inspection) -> None:
        self.run, self.files, self.dry_run, self.found = run, files, dry_run, found
        self.actions: list[Action] = []
        self.losses: list[Loss] = []
        self.refused: dict[CommitRange, str] = {}
        self.end_is_wrong = False

    def do(self) -> None:
        self._restore_info()
        found = _inspected(self.run) if self.actions and not self.dry_run else self.found
        if any(finding.code == "copy" for finding in found.report.findings):
            self._copy_info()
        if found.info is None:
            return
        for folder in self.run.folders():
            make_folder(self.files, folder, durable=True)
        if found.end_damaged:
            self._aside(self.run.end_json, "it cannot be used")
        found = self._rebuild(found)
        assert found.info is not None
        rewritten = self._rewritten(found)
        self.losses = undeclared(found, time.time_ns() // 1000)
        if self.losses:
            self._act("declare", "ledger", "; ".join(map(str, self.losses)))
            if not self.dry_run:
                declare(self.run, found.info, Outstanding(tuple(self.losses)), files=self.files)
        for commits in found.bad_markers:
            self._aside_with_parts(commits)
        for check in found.checks:
            if check.faults:
                self._aside(check.path, "; ".join(text for _, text in check.faults))
        for commits, parts in rewritten.items():
            self._rewrite(commits, found.markers[commits], parts)
        for finding in found.report.of("damage"):
            if finding.code == "small_file":
                self._aside(self.run.path / finding.path, finding.text)
                self.end_is_wrong = True
        for path in found.aliens:
            self._aside(path, "it is not ours")
        for path in found.unmarked:
            self._aside(path, "it has no marker")
        self._settle(found)

    # ---- run.json ----

    def _restore_info(self) -> None:
        try:
            info = read_json(self.run.run_json)
            why = "there is none" if info is None else not_of(self.run, info)
            if info is not None and seal_of(info) is False:
                why = "its digest does not fit"
        except CorruptRecording as error:
            info, why = None, str(error)
        if not why:
            assert info is not None
            check_format(self.run, info.get("format"))
            return
        try:
            copy = read_json(self.run.run_copy)
        except CorruptRecording:
            copy = None
        if copy is None or seal_of(copy) is not True or not_of(self.run, copy):
            if info is not None and not not_of(self.run, info):
                return  # it can be read, and there is nothing better
            raise StorageError(
                f"{self.run.run_json} is damaged ({why}), and its copy {self.run.run_copy.name} is damaged or not "
                f"there. Take run.json from a backup of the lake; nothing else has what it says. Nothing was changed."
            )
        check_format(self.run, copy.get("format"))
        self._aside(self.run.run_json, why)
        self._act("restore", "run.json", "from its copy")
        if not self.dry_run:
            with storage_errors(self.files, self.run.run_json):
                temporary = self.run.path / ".run.json.repair"
                if self.files.exists(temporary):
                    self.files.unlink(temporary)
                self.files.write(temporary, self.files.read(self.run.run_copy))
                self.files.sync(temporary)
                self.files.rename(temporary, self.run.run_json)
                self.files.sync(self.run.path)

    def _copy_info(self) -> None:
        self._aside(self.run.run_copy, "it is not what run.json says")
        self._act("restore", self.run.run_copy.name, "from run.json")
        if not self.dry_run:
            with storage_errors(self.files, self.run.run_copy):
                self.files.write(self.run.run_copy, self.files.read(self.run.run_json))
                self.files.sync(self.run.run_copy)

    # ---- markers ----

    def _rebuild(self, found: Inspection) -> Inspection:
        """Make lost markers again where that can be done; what is found after that."""
        unmarked = {c for path in found.unmarked if (c := CommitRange.parse(path.name, PART_SUFFIX)) is not None}
        certain = {*found.bad_markers, *(c for c in unmarked if found.in_a_hole(c))}
        behind = {c for c in unmarked if all(c.first > o.last for o in found.markers if o.writer == c.writer)}
        end = None if found.end_damaged else found.end
        durable = durable_steps(end)
        made, self.refused = rebuilt_markers(self.run, certain | behind, found.markers, certain, durable, self.files)
        for commits, one in made.items():
            self._act("rebuild", f"commits/{commits.marker_name}", _what_it_is_made_from(one))
            if not self.dry_run:
                replace_marker(self.run, one.marker, self.files)
        if not made:
            return found
        if self.dry_run:
            found.take_in(made)
            return found
        return _inspected(self.run)

    # ---- files ----

    def _act(self, kind: str, path: str, why: str) -> None:
        self.actions.append(Action(kind, path, why))

    def _aside(self, path: Path, why: str) -> None:
        if not path.exists() and not path.is_symlink():
            return
        name = str(path.relative_to(self.run.path))
        self._act("quarantine", name, why)
        if self.dry_run:
            return
        target = free_name(self.run, name, self.files)
        with storage_errors(self.files, target):
            self.files.rename(path, target)
            self.files.sync(path.parent)
            self.files.sync(self.run.quarantine)

    def _aside_with_parts(self, commits: CommitRange) -> None:
        for table in reversed(list(list_tables(self.run))):
            self._aside(self.run.table(table) / commits.part_name, "its marker is damaged")
        why = self.refused.get(commits, "none of its parts is there")
        self._aside(self.run.commits / commits.marker_name, f"it cannot be read, nor made again: {why}")

    def _rewritten(self, found: Inspection) -> dict[CommitRange, tuple[PartEntry, ...]]:
        """The markers that speak of parts that are gone, with the parts that stay."""
        gone: dict[CommitRange, set[str]] = {}
        for commits, entry, _ in bad_entries(found):
            gone.setdefault(commits, set()).add(entry.file)
        return {c: tuple(p for p in found.markers[c].parts if p.file not in names) for c, names in gone.items()}

    def _rewrite(self, commits: CommitRange, marker: Marker, parts: tuple[PartEntry, ...]) -> None:
        name = f"commits/{commits.marker_name}"
        gone = [part.file for part in marker.parts if part not in parts]
        self._act("rewrite", name, f"it speaks of {', '.join(gone)}")
        if self.dry_run:
            return
        replace_marker(self.run, replace(marker, parts=parts), self.files)

    # ---- the end ----

    def _settle(self, found: Inspection) -> None:
        """Declare what is still undeclared, and write the end where it is missing, damaged, or says something else."""
        info = found.info
        assert info is not None
        end = None if found.end_damaged else found.end
        counts_changed = any(action.kind != "rebuild" for action in self.actions)
        if self.dry_run and (self.actions or end is None or self.end_is_wrong):
            if counts_changed or end is None or self.end_is_wrong:
                self._act("end", "end.json", "written anew from what is there")
            return
        cause = "tail_lost" if found.bad_markers else "crashed" if end is None else "gave_up"
        due = outstanding(self.run, info, durable_of(self.run), cause=cause, produced=produced_of(end))
        if not (due or counts_changed or end is None or self.end_is_wrong):
            return
        if self.dry_run:
            self._act("declare", "ledger", "; ".join(map(str, due.losses)))
            self._act("end", "end.json", "written anew from what is there")
            return
        if due:
            self._act("declare", "ledger", "; ".join(map(str, due.losses)) or f"{len(due.episodes)} open episodes")
            self.losses += due.losses
            declare(self.run, info, due, files=self.files)
        if found.end_damaged:
            end = {"reason": "its end.json was damaged; what it said is unknown"}
        self._act("end", "end.json", "written anew from what is there")
        if self.run.end_json.exists():
            with storage_errors(self.files, self.run.quarantine):
                self.files.write(free_name(self.run, "end.json", self.files), self.files.read(self.run.end_json))
        write_end_info(self.run, {**end_of(self.run, info, end), "repaired_ns": time.time_ns()}, files=self.files)


def _what_it_is_made_from(one: Rebuilt) -> str:
    parts = len(one.marker.parts)
    if not one.damaged:
        return f"from its {parts} parts, which are whole"
    faults = "; ".join(f"{entry.file} {fault}" for entry, fault in one.damaged.items())
    return f"from {parts - len(one.damaged)} of its {parts} parts, which are whole; {faults}"


def _refuse_living(run: RunFolder) -> None:
    for path in (run.run_json, run.run_copy):
        try:
            info = read_json(path)
            end = read_end_info(run)
        except CorruptRecording:
            continue
        if info is not None and end is None and is_alive(run, info):
            raise StorageError(f"Run {run.run_id} is being recorded. Repair it when it has ended; nothing was changed.")
        return


def _note(run: RunFolder, report: RepairReport, files: FileOps) -> None:
    path = run.quarantine / f"repair-{time.time_ns()}.json"
    content = {"time_ns": time.time_ns(), "actions": [[a.kind, a.path, a.why] for a in report.actions]}
    with storage_errors(files, path):
        files.write(path, (json.dumps(content, indent=2) + "\n").encode())
