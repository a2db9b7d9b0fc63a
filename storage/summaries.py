"""What can be told about a run without reading its rows: the line that it gets in a list of runs."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psutil

from .files import FileOps
from .layout import RunFolder
from .markers import Marker, merged, read_newest
from .run_info import read_end_info, read_run_info

SILENT_S: Final = 120.0
"""A run without an end that changed nothing for so long has crashed, where its process cannot be asked."""

CLOCK_SLACK_S: Final = 60.0
"""How far the clock may have been set since a process started that made a run."""

LAST_S: Final = 253_402_300_799
"""The end of the year 9999, after which Python has no dates; an id may say a later time."""

_CROCKFORD: Final = {c: i for i, c in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}

RUNS_COLUMNS: Final = {
    "run_id": "VARCHAR",
    "env_id": "VARCHAR",
    "created": "TIMESTAMPTZ",
    "status": "VARCHAR",
    "steps": "BIGINT",
    "episodes": "BIGINT",
    "mean_return": "DOUBLE",
    "bytes": "BIGINT",
    "seed": "BIGINT",
    "frames": "VARCHAR",
    "num_envs": "BIGINT",
    "workers": "BIGINT",
    "autoreset": "VARCHAR",
    "skipped": "BIGINT",
    "config": "VARCHAR",
}
"""Columns of the `runs` table: `episodes` that ended in any way, `mean_return` of the completed ones, `bytes` of
existing parts, `frames` the policy, `autoreset` null for single environments, `skipped` steps left out
on purpose, `config` the configuration as JSON."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What `run.json`, `end.json` and the newest markers say.

    Attributes:
        status: running, completed, stopped, failed, or crashed (no end was written and nobody is at work).
        steps: durable rows of the steps table.
        skipped: steps that were left out on purpose.
        info: the content of `run.json`.
        end: the content of `end.json`; None while running and after a crash.
    """

    run_id: str
    status: str
    steps: int
    info: Mapping[str, Any]
    end: Mapping[str, Any] | None
    skipped: int = 0

    @property
    def created(self) -> datetime:
        """UTC time of creation, in milliseconds, which the run id carries."""
        return created_at(self.run_id)

    def row(self) -> dict[str, Any]:
        """The values of `RUNS_COLUMNS` that are known without listing parts."""
        config = self.info.get("config") or {}
        frames = self.info.get("frames") or config.get("frames") or {}
        return {
            "run_id": self.run_id,
            "env_id": self.info.get("env_id"),
            "created": self.created.isoformat(),
            "status": self.status,
            "steps": self.steps,
            "seed": self.info.get("seed", config.get("seed")),
            "frames": frames.get("policy") if isinstance(frames, Mapping) else frames,
            "num_envs": self.info.get("num_envs"),
            "workers": self.info.get("workers"),
            "autoreset": (self.info.get("env") or {}).get("autoreset"),
            "skipped": self.skipped,
            "config": json.dumps(config) if config else None,
        }


def summarize(run: RunFolder, wall_s: Callable[[], float] = time.time) -> RunSummary:
    """Summarise one run from its small files. Raises LakeNotFound, CorruptRecording or UnreadableNow."""
    info = read_run_info(run)
    end = read_end_info(run)
    if end is not None:
        status = str(end.get("status", "completed"))
    else:
        status = "running" if is_alive(run, info, wall_s) else "crashed"
    marks = merged(marker.watermarks for marker in newest_markers(run))
    steps, skipped = (sum(getattr(mark, name) for mark in marks.values()) for name in ("steps", "skipped"))
    return RunSummary(run.run_id, status, steps, info, end, skipped)


def unreadable_row(run_id: str) -> dict[str, Any]:
    """The values of `RUNS_COLUMNS` of a run whose `run.json` or `end.json` cannot be used; the rest is unknown."""
    return {"run_id": run_id, "created": created_at(run_id).isoformat(), "status": "unreadable"}


def newest_markers(run: RunFolder) -> list[Marker]:
    """The newest readable marker of each writer of a run; of a damaged one the one before."""
    try:
        return read_newest(run, FileOps())[1]
    except FileNotFoundError:
        return []


given_up: Final[set[str]] = set()
"""Runs that this process recorded and whose end it could not write; it lives on, they do not."""


def is_alive(run: RunFolder, info: Mapping[str, Any], wall_s: Callable[[], float] = time.time) -> bool:
    """Whether somebody still writes a run that has no end.

    On the host that made it its process is asked (`host` and `pid` of `run.json`); elsewhere the files' times tell.
    This process knows better which runs it gave up, a notebook whose disk was gone for example.
    """
    if run.run_id in given_up:
        return False
    host, pid = info.get("host"), info.get("pid")
    if isinstance(host, Mapping):
        host, pid = host.get("name", host.get("hostname")), host.get("pid", pid)
    if host == socket.gethostname() and isinstance(pid, int):
        since_ns = info["host"].get("since_ns") if isinstance(info.get("host"), Mapping) else None
        return _is_same_process(pid, since_ns / 1e9 if since_ns else created_at(run.run_id).timestamp())
    newest = max((_modified_s(path) for path in (run.run_json, run.commits, run.producers)), default=0.0)
    return wall_s() - newest < SILENT_S


def created_at(run_id: str) -> datetime:
    """UTC time at which a run id was made, in milliseconds."""
    value = 0
    for character in run_id[:10]:
        value = value << 5 | _CROCKFORD[character]
    return datetime.fromtimestamp(min(value / 1000, LAST_S), UTC)


def _is_same_process(pid: int, run_created_s: float) -> bool:
    try:
        return psutil.Process(pid).create_time() <= run_created_s + CLOCK_SLACK_S
    except psutil.Error:
        return False


def _modified_s(path: os.PathLike[str]) -> float:
    try:
        return os.stat(path).st_mtime  # noqa: PTH116
    except OSError:
        return 0.0
