"""The small files of a run, inspected: `run.json` and its copy, `end.json`, and the others that the end vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from rolltape.schema.errors import CorruptRecording, StorageError

from .findings import RunReport
from .json_seal import seal_of
from .layout import MARKER_SUFFIX, RunFolder
from .run_info import check_format, read_json
from .unreadable import is_passing, unreadable_now


def read_info(run: RunFolder, report: RunReport) -> dict[str, Any] | None:
    """The content of `run.json`; None where there is none that can be gone by, which the report says.

    Raises UnreadableNow.
    """
    try:
        info = read_json(run.run_json)
    except CorruptRecording as error:
        report.add("damage", "run_json", "run.json", str(error), "rolltape repair restores it from its copy")
        return None
    if info is None:
        try:
            begun = any(run.commits.glob(f"w*{MARKER_SUFFIX}")) or run.run_copy.exists()
        except OSError:
            begun = True
        if begun:
            remedy = "rolltape repair restores it from its copy"
            report.add("damage", "run_json", "run.json", "there is none, but something was recorded", remedy)
        else:
            report.add("note", "not_begun", "", "no run.json: the run was never started")
            report.status = "not begun"
        return None
    try:
        check_format(run, info.get("format"))
    except StorageError as error:
        report.add("damage", "format", "run.json", str(error))
        return None
    _check_seal(report, info, "run.json", _remedy_of_info(run))
    if (why := not_of(run, info)) and seal_of(info) is not False:
        report.add("damage", "run_json", "run.json", why, "rolltape repair restores it from its copy")
        return None
    try:
        same = run.run_copy.read_bytes() == run.run_json.read_bytes()
    except OSError as error:
        if is_passing(error):
            raise unreadable_now(run.run_copy, error) from error
        same = False
    if not same:
        report.add("note", "copy", run.run_copy.name, "it is missing or not what run.json says", "rolltape repair")
    return info


def read_end(run: RunFolder, report: RunReport) -> tuple[dict[str, Any] | None, bool]:
    """The content of `end.json`, None where it cannot be read or is not there; and whether it is damaged.

    Raises UnreadableNow.
    """
    remedy = "rolltape repair moves it aside and writes a new one"
    try:
        end = read_json(run.end_json)
    except CorruptRecording as error:
        report.add("damage", "end_json", "end.json", str(error), remedy)
        return None, True
    if end is None:
        return None, False
    damaged = seal_of(end) is False or not isinstance(end.get("status"), str)
    if seal_of(end) is True and damaged:
        report.add("damage", "end_json", "end.json", "it is another file: it says no status", remedy)
    _check_seal(report, end, "end.json", remedy)
    files = end.get("files")
    for name, digest in files.items() if isinstance(files, Mapping) else ():
        path = run.path / name
        try:
            found = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        except OSError as error:
            if is_passing(error):
                raise unreadable_now(path, error) from error
            report.add("damage", "small_file", name, f"it cannot be read: {error.strerror or error}")
            continue
        if found != digest and name != "run.json":  # that has a seal of its own, and a resumed run a new one
            report.add("damage", "small_file", name, "its content is not what the end of the run vouches for")
    return end, damaged


def not_of(run: RunFolder, info: Mapping[str, Any]) -> str:
    """Why a JSON file is not the `run.json` of a run, though it is whole; empty where it is."""
    if info.get("run_id", run.run_id) != run.run_id:
        return f"it is of run {info['run_id']}"
    return "" if isinstance(info.get("spaces"), Mapping) else "it is another file: it describes no spaces"


def _remedy_of_info(run: RunFolder) -> str:
    try:
        copy = read_json(run.run_copy)
    except CorruptRecording:
        copy = None
    if copy is None or seal_of(copy) is not True or not_of(run, copy):
        return f"compare it with a backup of the lake: {run.run_copy.name} is damaged too, and nothing else says it"
    return "rolltape repair restores it from its copy"


def _check_seal(report: RunReport, content: Mapping[str, Any], name: str, remedy: str) -> None:
    fits = seal_of(content)
    if fits is False:
        text = "it was changed after it was written: its digest does not fit"
        report.add("damage", "seal", name, text, remedy)
    elif fits is None:
        report.add("note", "no_seal", name, "it carries no digest of itself, so that changes go unnoticed")
