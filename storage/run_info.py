"""`run.json` and `end.json`: what is recorded and how it ended, replaced whole or not at all.

Rules:
1. Each carries a digest of its own content (json_seal.py).
2. `run.json` has a copy, `run.json.copy`: without it nobody can read the recording, and no part has what it says.
3. `end.json` carries digests of the other small files: from then on they do not change.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rolltape.schema.errors import CorruptRecording, LakeNotFound, UnsupportedFormat
from rolltape.schema.messages import ProducerKey

from .files import FileOps, make_folder, storage_errors
from .json_seal import KEY, sealed
from .layout import FORMAT, RunFolder
from .unreadable import content_errors


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
    """Replace `run.json` and its copy with `info` and the format's version.

    Raises LakeNotWritable, DiskFull or StorageError.
    """
    content = sealed({"format": FORMAT, **info})
    _replace(files or FileOps(), run.run_json, content)
    _replace(files or FileOps(), run.run_copy, content)


def read_run_info(run: RunFolder, *, files: FileOps | None = None) -> dict[str, Any]:
    """The content of `run.json`. Raises LakeNotFound without one, CorruptRecording where it cannot be used."""
    info = read_json(run.run_json, files=files, remedy=f" `rolltape repair {run.run_id}` restores it from its copy.")
    if info is None:
        raise LakeNotFound(f"No run at {run.path}: there is no {run.run_json.name}.")
    check_format(run, info.get("format"))
    return {name: value for name, value in info.items() if name != KEY}


def check_format(run: RunFolder, found: Any) -> None:
    """Raise UnsupportedFormat for a newer or an older format than this version's, CorruptRecording for none."""
    if found == FORMAT:
        return
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise CorruptRecording(f"{run.run_json} is damaged: it says format {found!r}, expected {FORMAT}.")
    if found > FORMAT:
        raise UnsupportedFormat(
            f"Run {run.run_id} is in format {found}, this Rolltape reads format {FORMAT}: a newer one wrote it. "
            f"Install a newer Rolltape to read {run.path}."
        )
    raise UnsupportedFormat(
        f"Run {run.run_id} is in the older format {found}, this Rolltape reads format {FORMAT}. Bring it forward with "
        f"`rolltape migrate {run.run_id} --lake {run.path.parent.parent}`; the old files are kept as a backup."
    )


def write_end_info(run: RunFolder, info: Mapping[str, Any], *, files: FileOps | None = None) -> None:
    """Replace `end.json`. Raises LakeNotWritable, DiskFull or StorageError."""
    content = {name: value for name, value in info.items() if name not in (KEY, "files")}
    _replace(files or FileOps(), run.end_json, sealed({"format": FORMAT, **content, "files": small_files(run)}))


def small_files(run: RunFolder) -> dict[str, str]:
    """Digests of the small files of a run that has ended, by their names relative to it."""
    found = {}
    for path in (run.run_json, run.path / "infos.arrow", *sorted(run.producers.glob("p*.page"))):
        try:
            found[str(path.relative_to(run.path))] = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        except OSError:
            continue  # it has none of these, or cannot read it: then nothing vouches for it
    return found


def read_end_info(run: RunFolder, *, files: FileOps | None = None) -> dict[str, Any] | None:
    """The content of `end.json`; None while the run goes on or when it crashed. Raises CorruptRecording."""
    found = read_json(run.end_json, files=files, remedy=f" `rolltape repair {run.run_id}` writes a new one.")
    return None if found is None else {name: value for name, value in found.items() if name not in (KEY, "files")}


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


def read_json(path: Path, *, files: FileOps | None = None, remedy: str = "") -> dict[str, Any] | None:
    """The object in a JSON file; None where there is none. Raises CorruptRecording or UnreadableNow, naming it.

    Args:
        path: the file.
        files: how it is read.
        remedy: what to do where it is damaged; ends the message.
    """
    try:
        with content_errors(path, lambda said: f"{path} cannot be read: {said}{'.' if remedy else ''}{remedy}"):
            content = json.loads((files or FileOps()).read(path))
    except FileNotFoundError:
        return None
    if not isinstance(content, dict):
        raise CorruptRecording(f"{path} does not hold a JSON object.{remedy}")
    return content


def leaves_out(info: Mapping[str, Any]) -> bool:
    """Whether a run leaves steps out on purpose (`keep_last`, `throttle.sample`)."""
    config = info.get("config") or {}
    return bool(config.get("keep_last")) or (config.get("throttle") or {}).get("sample", 1) > 1


def produced_of(end: Mapping[str, Any] | None) -> dict[ProducerKey, int]:
    """What each life produced, as the end of a run noted it."""
    return _noted(end, "produced")


def durable_steps(end: Mapping[str, Any] | None) -> dict[ProducerKey, int]:
    """How many steps of each life were durable, as the end of a run noted it."""
    return _noted(end, "durable")


def _noted(end: Mapping[str, Any] | None, what: str) -> dict[ProducerKey, int]:
    found: dict[ProducerKey, int] = {}
    noted = (end or {}).get("reconciled")
    for key, numbers in noted.items() if isinstance(noted, Mapping) else ():
        try:
            found[ProducerKey.parse(key)] = int(numbers[what])
        except (ValueError, KeyError, TypeError):
            continue  # damaged: then the pages alone say it
    return found


def durability_of(info: Mapping[str, Any]) -> Literal["machine", "process"]:
    """What the commits of a run outlive: with `process` they were made without fsync."""
    config = info.get("config")
    commit = config.get("commit") if isinstance(config, Mapping) else None
    return "process" if isinstance(commit, Mapping) and commit.get("durability") == "process" else "machine"
