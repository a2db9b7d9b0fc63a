"""Disks that fail: small ones of their own, mounted for a test, and a writer whose file operations fail on demand."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rolltape.actors.writer import Writer
from rolltape.storage.files import FileOps

FAULT = "fault"
"""A file beside the lake, read before every file operation of the writer: a name of errno, or seconds to wait."""
MIB = 1 << 20


@contextmanager
def disk(folder: Path, mib: int, kind: str = "tmpfs") -> Iterator[Path]:
    """A file system of `mib` MiB, tmpfs or ext4 in a file, at a folder below `folder`; gone after the block.

    Skips the test where this user may not mount.
    """
    place = folder / "disk"
    place.mkdir(parents=True)
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)]
    else:
        image = folder / "disk.img"
        with image.open("wb") as file:
            file.truncate(mib * MIB)
        _or_skip(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)])
        command = ["mount", "-o", "loop,errors=remount-ro", str(image), str(place)]
    _or_skip(command)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def mount_again(folder: Path) -> None:
    """Take an ext4 `disk` off and mount it anew, as after a restart of its machine."""
    place, image = folder / "disk", folder / "disk.img"
    subprocess.run(["umount", str(place)], check=True, capture_output=True)
    subprocess.run(["fsck.ext4", "-p", str(image)], check=False, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, capture_output=True)


def turn_read_only(place: Path) -> None:
    """What ext4 does to itself after an error, whatever is open."""
    subprocess.run(["mount", "-o", "remount,abort", str(place)], check=True, capture_output=True)


def fill(place: Path, leave: int) -> Path:
    """Write a file that leaves `leave` bytes; delete it to make room."""
    ballast = place / "ballast"
    room = os.statvfs(place)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(4096, room.f_bavail * room.f_frsize - leave))
    return ballast


def _or_skip(command: list[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a disk of its own: mounting one takes root")
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"needs a disk of its own: there is no {command[0]} here")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs a disk of its own, and may not mount one: {error.stderr.strip()}")


class WriterOnBadDisk(Writer):
    """A writer whose file operations do what the file `fault` beside the lake says."""

    def __init__(self, run_path: str, *args: Any, **kwargs: Any) -> None:
        _break_files(Path(run_path).parent.parent.parent / FAULT)
        super().__init__(run_path, *args, **kwargs)


def _break_files(path: Path) -> None:
    real = {name: getattr(FileOps, name) for name in ("write", "sync", "link")}

    def broken(name: str) -> Any:
        def operation(this: FileOps, target: Path, *rest: Any) -> Any:
            fault = path.read_text() if path.exists() else ""
            if fault.startswith("E"):
                number = getattr(errno, fault)
                raise OSError(number, os.strerror(number), str(target))
            if fault:
                time.sleep(float(fault))  # the disk that is slow
            return real[name](this, target, *rest)

        return operation

    for name in real:
        setattr(FileOps, name, broken(name))


def set_fault(folder: Path, fault: str) -> None:
    """`fault` is "EIO" or the like, seconds that each operation takes, or "" for a disk that works."""
    temporary = folder / f".{FAULT}"
    temporary.write_text(fault)
    temporary.rename(folder / FAULT)
