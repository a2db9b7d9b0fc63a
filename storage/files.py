"""The file operations that publish data, in one replaceable place, and what their errors mean.

Everything that a writer does to a disk goes through `FileOps`, one method a system call as far as a crash can
tell, so that a test can stop between any two, in the middle of a write, or answer with any error of the
operating system.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from rolltape.schema.errors import DiskFull, LakeNotWritable, StorageError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
SYNC_EVERY_BYTES = 32 << 20
NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Sink(Protocol):
    """A file that is being written from its beginning to its end."""

    def write(self, data: bytes | memoryview) -> None:
        """Add all of `data`."""
        ...

    def close(self) -> None:
        """No more is written; twice is once."""
        ...


class FileSink:
    """A `Sink` on a real file that did not exist.

    It is synced while it grows: gigabytes that wait for one fsync would make the fsyncs of all others wait with them.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._dirty = 0

    def write(self, data: bytes | memoryview) -> None:
        """Add all of `data`."""
        view = memoryview(data)
        self._dirty += len(view)
        while view:
            view = view[self._file.write(view) :]
        if self._dirty >= SYNC_EVERY_BYTES:
            os.fsync(self._file.fileno())
            self._dirty = 0

    def close(self) -> None:
        """No more is written."""
        self._file.close()


class FileOps:
    """The real thing. Every method raises OSError as the system call does."""

    def mkdir(self, path: Path) -> None:
        """Create a folder that does not exist (FileExistsError otherwise)."""
        path.mkdir()

    def names(self, folder: Path) -> list[str]:
        """All names in a folder."""
        return os.listdir(folder)  # noqa: PTH208 - without a Path a name

    def read(self, path: Path) -> bytes:
        """A whole small file."""
        return path.read_bytes()

    def exists(self, path: Path) -> bool:
        """Whether a name is there; raises OSError where that cannot be said."""
        try:
            path.lstat()
        except FileNotFoundError:
            return False
        return True

    def same(self, one: Path, other: Path) -> bool:
        """Whether two names are one file."""
        return one.samefile(other)

    def write(self, path: Path, data: bytes | pa.Buffer) -> None:
        """Create a file that does not exist and put all of `data` into it; not yet durable."""
        with path.open("xb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]

    def create(self, path: Path) -> Sink:
        """Create a file that does not exist, to be written piece by piece; not yet durable."""
        return FileSink(path)

    def open(self, path: Path) -> pa.NativeFile:
        """A file for reading at any place."""
        return pa.OSFile(str(path))

    def size(self, path: Path) -> int:
        """Bytes of a file."""
        return path.stat().st_size

    def modified_s(self, path: Path) -> float:
        """UTC time in seconds at which a file or the names of a folder changed last."""
        return path.stat().st_mtime

    @contextmanager
    def locked(self, path: Path, *, wait: bool) -> Iterator[bool]:
        """Hold an exclusive lock on a file that stays; yields whether it was got. The kernel frees it when we die."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def sync(self, path: Path) -> None:
        """Make a file's content, or a folder's names, durable."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name that nobody has (FileExistsError otherwise); atomic."""
        target.hardlink_to(source)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file or folder; a file at `target` is replaced; atomic."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder (ENOTEMPTY otherwise)."""
        path.rmdir()

    def free_bytes(self, path: Path) -> int:
        """Room on the file system of `path`, in bytes."""
        return shutil.disk_usage(path).free


def make_folder(files: FileOps, folder: Path, *, durable: bool) -> None:
    """Create a folder and its parents where they are missing; `durable` syncs the names of those created."""
    if files.exists(folder):
        return
    make_folder(files, folder.parent, durable=durable)
    try:
        files.mkdir(folder)
    except FileExistsError:  # another process was faster
        return
    if durable:
        files.sync(folder.parent)


@contextmanager
def storage_errors(files: FileOps, path: Path, *, needed: int | None = None) -> Iterator[None]:
    """Turns an OSError of the block into DiskFull, LakeNotWritable or StorageError, which name `path` or the
    file.

    FileNotFoundError and FileExistsError pass unchanged: they mean something to the protocol.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        if error.filename is not None and error.filename2 is None:
            path = Path(error.filename)
        raise explain(files, error, path, needed) from error


def explain(files: FileOps, error: OSError, path: Path, needed: int | None = None) -> StorageError:
    """The storage error that an OSError at `path` stands for; `needed` are the bytes that were to be written."""
    if error.errno in NO_ROOM:
        try:
            free = f"{files.free_bytes(path.parent):,} bytes are free"
        except OSError:
            free = "what is free is unknown"
        need = "" if needed is None else f" {needed:,} bytes were to be written and"
        return DiskFull(
            f"No room at {path} ({error.strerror}):{need} {free}. What was acknowledged is safe; free some space."
        )
    if error.errno in NOT_ALLOWED:
        return LakeNotWritable(
            f"Cannot write {path} ({error.strerror}). Check who owns the lake and whether its disk is read-only."
        )
    return StorageError(f"Cannot write {path}: {error.strerror or error}. What was acknowledged is safe.")


def folder_bytes(path: Path) -> int:
    """What a file or a folder takes on the disk, as `du` counts it; what vanishes meanwhile counts nothing."""
    size = 0
    for one in (path, *path.rglob("*")) if path.is_dir() else (path,):
        try:
            size += one.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return size
