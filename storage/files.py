"""The file operations that publish data, in one replaceable place, and what their errors mean.

Everything that a writer does to a disk goes through `FileOps`, one method a system call as far as a crash can
tell, so that a test can stop between any two, in the middle of a write, or answer with any error of the
operating system.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from rolltape.schema.errors import DiskFull, LakeNotWritable, StorageError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


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
