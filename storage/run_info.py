"""`run.json` and `end.json`: what is recorded and how it ended, replaced whole or not at all."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rolltape.schema.errors import CorruptRecording, LakeNotFound

from .files import FileOps, make_folder, storage_errors
from .layout import FORMAT, RunFolder


def create_run(run: RunFolder, info: Mapping[str, Any], *, files: FileOps | None = None) -> None:
    """Make the folders of a new run, then its `run.json`: a run without one was never started.

    Raises LakeNotWritable, DiskFull or StorageError.
    """
    files = files or FileOps()
    with storage_errors(files, run.path):
        for folder in run.folders():
            make_folder(files, folder, durable=True)
    write_run_info(run, info, files=files)


def write_run_info(run: RunFolder, info: Mapping[str, Any], *, files: FileOps | None = None) -> None:
    """Replace `run.json` with `info` and the format's version.

    Raises LakeNotWritable, DiskFull or StorageError.
    """
    _replace(files or FileOps(), run.run_json, {"format": FORMAT, **info})


def read_run_info(run: RunFolder, *, files: FileOps | None = None) -> dict[str, Any]:
    """The content of `run.json`. Raises LakeNotFound without one, CorruptRecording where it cannot be used."""
    info = _read(files or FileOps(), run.run_json)
    if info is None:
        raise LakeNotFound(f"No run at {run.path}: there is no {run.run_json.name}.")
    if info.get("format") != FORMAT:
        raise CorruptRecording(
            f"{run.run_json} has format {info.get('format')!r}; this version reads format {FORMAT}. "
            f"A newer Rolltape may have written it."
        )
    return info


def write_end_info(run: RunFolder, info: Mapping[str, Any], *, files: FileOps | None = None) -> None:
    """Replace `end.json`. Raises LakeNotWritable, DiskFull or StorageError."""
    _replace(files or FileOps(), run.end_json, {"format": FORMAT, **info})


def read_end_info(run: RunFolder, *, files: FileOps | None = None) -> dict[str, Any] | None:
    """The content of `end.json`; None while the run goes on or when it crashed. Raises CorruptRecording."""
    return _read(files or FileOps(), run.end_json)


def _replace(files: FileOps, path: Path, content: Mapping[str, Any]) -> None:
    data = (json.dumps(content, indent=2) + "\n").encode()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with storage_errors(files, path, needed=len(data)):
            try:
                files.write(temporary, data)
                files.sync(temporary)  # a power cut after the rename must not leave an empty file under the name
                files.rename(temporary, path)
                files.sync(path.parent)
            except OSError:
                if files.exists(temporary):
                    files.unlink(temporary)
                raise
    except FileNotFoundError:
        raise LakeNotFound(f"No run at {path.parent}: there is no such folder.") from None


def _read(files: FileOps, path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(files.read(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CorruptRecording(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CorruptRecording(f"{path} does not hold a JSON object.")
    return content
