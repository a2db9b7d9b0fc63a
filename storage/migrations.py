"""Bringing recordings of older on-disk formats forward, one step a version, with a backup of what is changed.

Rules:
1. `STEPS` has one step for every older format: from n to n + 1. A recording goes through all from its own on.
2. Before anything is changed, the files that will be are copied to `<lake>/backups/<run>-format<n>-<time>/`, durably.
   Parts are only ever added to, never rewritten in place; where a step leaves them alone they are not copied.
3. `run.json` says the format and is replaced last: a migration that was killed is done again from the start, and a step
   takes what it has already changed as it is.
4. `restore_run` puts the files of a backup back, and keeps the backup.
5. A newer format than ours is refused; so is a run that is being recorded.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.errors import CorruptRecording, LakeNotFound, StorageError, UnsupportedFormat

from .files import FileOps, make_folder, storage_errors
from .json_seal import KEY, sealed
from .layout import FORMAT, MARKER_SUFFIX, CommitRange, RunFolder
from .part_checks import digest_of_file
from .run_info import read_json, write_end_info, write_run_info
from .summaries import is_alive

BACKUPS: Final = "backups"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it does in a sentence, and the function that does it to a run's files but `run.json`."""

    what: str
    apply: Callable[[RunFolder, FileOps], None]


@dataclass(slots=True)
class MigrationReport:
    """What a migration did, or would do.

    Attributes:
        found, reached: formats before and after; equal where there was nothing to do.
        steps: what was done, in sentences.
        files: how many files were copied to the backup.
        backup: its folder; None for a dry run and where there was nothing to do.
    """

    run_id: str
    found: int
    reached: int
    steps: list[str] = field(default_factory=list)
    files: int = 0
    backup: Path | None = None

    def as_json(self) -> Mapping[str, Any]:
        """The report for programs."""
        return {
            "run_id": self.run_id,
            "found": self.found,
            "reached": self.reached,
            "steps": self.steps,
            "files": self.files,
            "backup": None if self.backup is None else str(self.backup),
        }


def migrate_run(run: RunFolder, *, dry_run: bool = False, files: FileOps | None = None) -> MigrationReport:
    """Bring one run to the present format; with `dry_run` only say what would be done.

    Raises:
        UnsupportedFormat: it is in a newer format, or in one that no step begins with.
        CorruptRecording: a file that has to be read is damaged; nothing but the backup was written for that file.
        StorageError: the run is being recorded; LakeNotFound, LakeNotWritable, DiskFull.
    """
    files = files or FileOps()
    info, found = _format_of(run)
    report = MigrationReport(run.run_id, found, FORMAT)
    if found == FORMAT:
        return report
    report.steps = [STEPS[number].what for number in range(found, FORMAT)]
    changed = _changed(run)
    report.files = len(changed)
    if dry_run:
        return report
    if not run.end_json.exists() and is_alive(run, info):
        raise StorageError(f"Run {run.run_id} is being recorded. Migrate it when it has ended; nothing was changed.")
    report.backup = _back_up(run, changed, found, files)
    for number in range(found, FORMAT):
        STEPS[number].apply(run, files)
    write_run_info(run, {k: v for k, v in info.items() if k not in (KEY, "format")}, files=files)
    return report


def restore_run(run: RunFolder, backup: Path | None = None, *, files: FileOps | None = None) -> Path:
    """Put the files of a backup back in their places; the newest one of the run where none is named. Returns which.

    Raises LakeNotFound where there is none, LakeNotWritable, DiskFull, StorageError.
    """
    files = files or FileOps()
    folder = run.path.parent.parent / BACKUPS
    if backup is None:
        found = sorted(folder.glob(f"{run.run_id}-format*"), key=lambda path: path.name.rpartition("-")[2])
        if not found:
            raise LakeNotFound(f"No backup of run {run.run_id} in {folder}: it was never migrated there.")
        backup = found[-1]
    names = [path for path in sorted(backup.rglob("*")) if path.is_file() and path.name != "backup.json"]
    names.sort(key=lambda path: path.name != "run.json")  # first: from then on it is of the old format
    for path in names:
        _replace(files, run.path / path.relative_to(backup), files.read(path))
    if not (backup / run.run_copy.name).exists() and run.run_copy.exists():
        with storage_errors(files, run.run_copy):
            files.unlink(run.run_copy)
    return backup


def _format_of(run: RunFolder) -> tuple[dict[str, Any], int]:
    info = read_json(run.run_json)
    if info is None:
        raise LakeNotFound(f"No run at {run.path}: there is no {run.run_json.name}.")
    found = info.get("format")
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise CorruptRecording(f"{run.run_json} is damaged: it says format {found!r}.")
    if found > FORMAT:
        raise UnsupportedFormat(
            f"Run {run.run_id} is in format {found}, this Rolltape writes format {FORMAT}: a newer one wrote it. There "
            f"is no way back from a newer format but its own backup; install a newer Rolltape to read it."
        )
    if found < FORMAT and any(number not in STEPS for number in range(found, FORMAT)):
        raise UnsupportedFormat(f"Run {run.run_id} is in format {found}, from which no step leads to format {FORMAT}.")
    return info, found


def _changed(run: RunFolder) -> list[Path]:
    """The files that steps may change: all small ones. Parts are not among them."""
    small = [run.run_json, run.end_json, run.run_copy]
    return [path for path in (*small, *sorted(run.commits.glob(f"w*{MARKER_SUFFIX}"))) if path.is_file()]


def _back_up(run: RunFolder, paths: list[Path], found: int, files: FileOps) -> Path:
    backup = run.path.parent.parent / BACKUPS / f"{run.run_id}-format{found}-{time.time_ns()}"
    with storage_errors(files, backup):
        for folder in (backup, backup / run.commits.name):
            make_folder(files, folder, durable=True)
        for path in paths:
            target = backup / path.relative_to(run.path)
            files.write(target, files.read(path))
            files.sync(target)
        note = {"run_id": run.run_id, "format": found, "time_ns": time.time_ns()}
        files.write(backup / "backup.json", (json.dumps(note) + "\n").encode())
        files.sync(backup / "backup.json")
        files.sync(backup / run.commits.name)
        files.sync(backup)
    return backup


def _replace(files: FileOps, path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with storage_errors(files, path, needed=len(data)):
        files.write(temporary, data)
        files.sync(temporary)
        files.rename(temporary, path)
        files.sync(path.parent)


# ---- steps ----


def _digests(run: RunFolder, files: FileOps) -> None:
    """Format 0 had markers without digests, of parts or of themselves, and no ledger."""
    with storage_errors(files, run.path):
        for folder in run.folders():
            make_folder(files, folder, durable=True)
    for path in sorted(run.commits.glob(f"w*{MARKER_SUFFIX}")):
        if CommitRange.parse(path.name, MARKER_SUFFIX) is None:
            continue
        content = read_json(path) or {}
        if content.get("format") != 0:
            continue  # done before this migration was killed
        try:
            parts = [_digested(run, part) for part in content["parts"]]
        except (KeyError, TypeError) as error:
            raise CorruptRecording(f"{path} cannot be read: {error!r}") from error
        new = {**content, "format": 1, "parts": parts, "fenced": content.get("fenced", [])}
        _replace(files, path, (json.dumps(sealed(new)) + "\n").encode())
    end = read_json(run.end_json)
    if end is not None and end.get("format") == 0:
        write_end_info(run, {name: value for name, value in end.items() if name != "format"}, files=files)


def _digested(run: RunFolder, part: Mapping[str, Any]) -> dict[str, Any]:
    path = run.path / part["file"]
    try:
        rows = pq.read_metadata(path).num_rows
        size, digest = path.stat().st_size, digest_of_file(path)
    except (OSError, pa.ArrowException) as error:
        raise CorruptRecording(f"{path} cannot be read: {error}. Its marker says that it exists.") from error
    if rows != part["rows"]:
        raise CorruptRecording(f"{path} has {rows:,} rows, its marker says {part['rows']:,}.")
    return {"table": part["table"], "file": part["file"], "rows": rows, "bytes": size, "digest": digest}


STEPS: Final[dict[int, Step]] = {
    0: Step("markers get digests of their parts and of themselves; run.json a copy; there is a ledger", _digests),
}
"""By the format that they begin with."""
