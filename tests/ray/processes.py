"""The processes of the Ray that this process started: which they are, and how they are killed and stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

ENV_WORKER, WRITER, HUB = "ray::EnvWorker", "ray::Writer", "ray::TelemetryHub"
GATEWAY = "ray::GatewayProcess"
ACTORS = (ENV_WORKER, WRITER, HUB, GATEWAY)

T = TypeVar("T")


def actors(title: str, root: int | None = None) -> list[int]:
    """Pids of the living actors of a kind below `root` (this process), oldest first."""
    found: list[tuple[float, int]] = []
    for process in psutil.Process(root).children(recursive=True):
        try:
            words = process.cmdline()
            if words and words[0].startswith(title) and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process.create_time(), process.pid))
        except psutil.Error:
            continue  # it has just ended
    return [pid for _, pid in sorted(found)]


def one(title: str) -> int:
    """The pid of the only living actor of a kind."""
    return wait_for(lambda: actors(title) if len(actors(title)) == 1 else None, f"one {title}")[0]


def kill(pid: int) -> float:
    """SIGKILL, and wait until the process is gone; returns when it was sent, on the monotonic clock."""
    process = psutil.Process(pid)
    sent = time.monotonic()
    process.kill()
    wait_for(lambda: not _lives(process), f"the end of {pid}")
    return sent


def stop(pid: int) -> None:
    """SIGSTOP."""
    os.kill(pid, signal.SIGSTOP)


def go_on(pid: int) -> None:
    """SIGCONT; nothing where it is gone."""
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie, which whoever adopted it may leave behind."""
    try:
        return _lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_for(ask: Callable[[], T], what: str, timeout_s: float = 30.0, pause_s: float = 0.02) -> T:
    """The first true answer of `ask`. Fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(pause_s)
    return answer
