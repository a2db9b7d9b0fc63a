"""What this machine is: cores, memory, and how fast the disk of a lake takes bytes for good.

The disk is measured once for each file system and remembered in the user's folder, because it costs a moment.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rolltape.schema.config_presets import Host

CHUNK: Final = 4 << 20
ENOUGH_BYTES: Final = 32 << 20
ENOUGH_S: Final = 0.1
REMEMBERED_S: Final = 30 * 86_400.0
CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def this_process() -> dict[str, Any]:
    """What `run.json` says of the machine and process that began a run."""
    return {
        "name": socket.gethostname(),
        "pid": os.getpid(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }


def user_folder() -> Path:
    """Where presets and choices of this user are kept: `rolltape` in XDG_CONFIG_HOME, or in ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "rolltape"


def host_name() -> str:
    """The name by which a tuned preset knows its machine."""
    return socket.gethostname()


def host_of(lake: Path, *, remembered: Path | None = None) -> Host:
    """This machine, with the disk that `lake` is on or will be on.

    Args:
        lake: need not exist.
        remembered: file of what was measured before; None: in the user's folder.
    """
    return Host(cores(), memory_bytes(), disk_bytes_s(lake, remembered or user_folder() / "disks.json"))


def cores() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of the machine, or the limit of its container."""
    import psutil  # 30 ms that a command without a profile need not spend

    total = psutil.virtual_memory().total
    try:
        limit = CGROUP_LIMIT.read_text().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdecimal() else total


def disk_bytes_s(lake: Path, remembered: Path) -> float | None:
    """Bytes a second that are written and synced where `lake` is; None where nothing can be written.

    Measured at most every 30 days a file system, in a tenth of a second or in one chunk of 4 MiB.
    """
    folder = lake.expanduser().resolve()
    while not folder.is_dir():
        folder = folder.parent
    key = str(folder.stat().st_dev)
    known = _remembered(remembered)
    entry = known.get(key)
    if entry and time.time() - entry["at"] < REMEMBERED_S:
        return entry["bytes_s"]
    try:
        measured = measure_disk(folder)
    except OSError:
        return None  # whether a lake can be made there is for the recording to say
    try:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        temporary = remembered.with_name(f".{remembered.name}.{secrets.token_hex(4)}")
        temporary.write_text(json.dumps({**known, key: {"bytes_s": measured, "at": time.time()}}))
        temporary.replace(remembered)
    except OSError:
        pass  # a home that cannot be written: it is measured again next time
    return measured


def measure_disk(folder: Path, clock: Callable[[], float] = time.monotonic) -> float:
    """Write and sync chunks into a file that is removed again; bytes a second. Raises OSError."""
    chunk = secrets.token_bytes(CHUNK)  # bytes that no file system makes smaller
    path = folder / f".rolltape-disk-{secrets.token_hex(4)}"
    written = 0
    try:
        with path.open("wb", buffering=0) as file:
            start = clock()
            while written < ENOUGH_BYTES and (not written or clock() - start < ENOUGH_S):
                file.write(chunk)
                os.fsync(file.fileno())
                written += CHUNK
            return written / max(clock() - start, 1e-6)
    finally:
        path.unlink(missing_ok=True)


def _remembered(path: Path) -> dict[str, dict[str, float]]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
