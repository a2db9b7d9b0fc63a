"""What processes use: processor time by role, most memory held, and how busy the machine is with other things."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

ROLES = {"ray::EnvWorker": "producers", "ray::Writer": "writer", "ray::TelemetryHub": "hub"}
"""By the title that Ray gives the process of an actor; a call that is running is added to it after a dot."""
OTHER = "other"


def peak_rss_bytes(pid: int | str = "self") -> int:
    """The most memory that a process ever held, shared memory included.

    From /proc: `getrusage` would tell the maximum of the parent as well, which a child inherits.
    """
    status = Path(f"/proc/{pid}/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    memory = psutil.Process(None if pid == "self" else int(pid)).memory_info()
    return getattr(memory, "peak_wset", memory.rss)


def machine_busy_s() -> float:
    """Processor seconds that the machine has worked since it started, over all processors."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(times, name, 0.0) for name in names)


class RayUsage:
    """Processor seconds of the processes below this one since it was made, by role. Make it when all have started."""

    def __init__(self) -> None:
        self._before = _ray_processes()

    def pids(self, role: str) -> list[int]:
        """The processes that had a role at the beginning."""
        return [pid for pid, (known, _) in self._before.items() if known == role]

    def before_s(self, role: str) -> float:
        """What the processes of a role had used by the beginning: their start, imports included."""
        return sum(cpu_s for known, cpu_s in self._before.values() if known == role)

    def since_s(self, role: str) -> float:
        """What those of a role that still live have used since the beginning."""
        used = 0.0
        for pid, (role_now, cpu_s) in _ray_processes().items():
            known, before_s = self._before.get(pid, (role_now, 0.0))
            if known == role:
                used += cpu_s - before_s
        return used


def _ray_processes() -> dict[int, tuple[str, float]]:
    found: dict[int, tuple[str, float]] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            title = process.cmdline()
            times = process.cpu_times()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        name = title[0].split(".")[0].split("(")[0] if title else ""
        found[process.pid] = (ROLES.get(name, OTHER), times.user + times.system)
    return found
