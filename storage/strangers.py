"""Strangers in a run's folder: files that are not ours, and parts that no marker makes exist."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from rolltape.schema.columns import TABLES

from .findings import RunReport
from .layout import MARKER_SUFFIX, PART_SUFFIX, CommitRange, RunFolder

PAGE_NAME: Final = re.compile(r"p\d+\.\d+")
KNOWN_FILES: Final = frozenset({"run.json", "run.json.copy", "end.json", "infos.arrow", "live.json"})


def find_strangers(
    run: RunFolder, report: RunReport, marked: Collection[CommitRange], *, over: bool
) -> tuple[list[Path], list[Path]]:
    """Note what lies in a run's folder and is not of the recording.

    Args:
        report: gets the notes.
        marked: the ranges that have a marker, be it a damaged one.
        over: whether nobody writes the run any more; until then a part without a marker may get one.

    Returns what is not ours among parts, markers and pages, and the parts that have no marker.
    """
    aliens: list[Path] = []
    unmarked: list[Path] = []
    for path in sorted(run.path.iterdir()):
        known = path.name in KNOWN_FILES or path in run.folders()
        if not known and not path.name.startswith("."):
            report.add("note", "alien", path.name, "it is not ours; nothing reads it")
    for folder, suffix in [*((name, PART_SUFFIX) for name in TABLES), ("commits", MARKER_SUFFIX)]:
        for path in sorted(_entries(run.path / folder)):
            if path.name.startswith("."):
                continue
            commits = CommitRange.parse(path.name, suffix)
            if commits is None:
                aliens.append(path)
                text = "it is not ours; our readers ignore it, a plain glob may not"
                report.add("note", "alien", _name(run, path), text, "rolltape repair moves it to quarantine")
            elif folder != "commits" and commits not in marked and over:
                if not path.exists():
                    continue
                unmarked.append(path)
                text = "no marker: a commit that never happened, or a copy; our readers ignore it"
                report.add("note", "unmarked", _name(run, path), text, "rolltape repair moves it to quarantine")
    for path in sorted(_entries(run.producers)):
        if not (path.suffix == ".page" and PAGE_NAME.fullmatch(path.stem)):
            aliens.append(path)
            report.add("note", "alien", _name(run, path), "it is not ours; nothing reads it")
    notes = len(list(run.quarantine.glob("*"))) if run.quarantine.is_dir() else 0
    if notes:
        report.add("note", "quarantine", "quarantine", f"{notes} names lie there, moved aside before")
    return aliens, unmarked


def _name(run: RunFolder, path: Path) -> str:
    return str(path.relative_to(run.path))


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []  # a table without rows may have no folder
