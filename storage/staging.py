"""A writer's staging folder: the only place from which it publishes anything.

Rules:
1. A file is written here under a temporary name, made durable, and then linked to its final name.
2. The link is atomic, and fails when the name is taken. A plain rename would replace what is there; renameat2
   with RENAME_NOREPLACE would do as well, but Python has no call for it and NFS and FUSE refuse it, while
   every file system with hard links has link(2). The first name goes when the commit is done; one that a
   crash leaves goes with the folder.
3. NFS may carry out a link and lose its answer: where the taken name is the very file, the link has worked.
4. A file or the folder that is gone means that a successor removed it (fencing.py), or that the run was
   deleted.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from rolltape.schema.errors import Fenced, LakeNotFound, StorageError

from .files import FileOps, Sink, storage_errors
from .layout import RunFolder, WriterId

NO_HARD_LINKS = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV})


class StagingFolder:
    """A folder of temporary names out of which one process publishes. All methods raise Fenced, LakeNotFound, DiskFull,
    LakeNotWritable or StorageError.

    Args:
        name: of the folder in `staging/`.
        durable: whether fsync is paid.
        replaced: what to say when it is gone, because somebody else goes on.
    """

    def __init__(self, run: RunFolder, name: str, files: FileOps, *, durable: bool, replaced: str) -> None:
        self.run = run
        self.folder = run.staging / name
        self.durable = durable
        self._files = files
        self._replaced = replaced

    def put(self, name: str, data: bytes | pa.Buffer) -> None:
        """Write a file that does not exist, durably."""
        path = self.folder / name
        with self._errors(path, needed=len(data)):
            self._files.write(path, data)
            if self.durable:
                self._files.sync(path)

    @contextmanager
    def fill(self, name: str) -> Iterator[Sink]:
        """A file that does not exist, to be written piece by piece; durable when the block is left in peace."""
        path = self.folder / name
        with self._errors(path):
            sink = self._files.create(path)
            try:
                yield sink
            finally:
                sink.close()
            if self.durable:
                self._files.sync(path)

    def publish(self, name: str, target: Path) -> None:
        """Give a staged file its final name, which nobody has (rules 2, 3). Durable after `sync_folder`."""
        source = self.folder / name
        with self._errors(target):
            try:
                self._files.link(source, target)
            except FileExistsError:
                if not self._files.same(source, target):
                    raise

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        if self.durable:
            with self._errors(folder):
                self._files.sync(folder)

    def withdraw(self, name: str, target: Path) -> None:
        """Undo `publish`, whether it was done or not, for what no marker made exist."""
        source = self.folder / name
        with self._errors(target):
            exist = self._files.exists(source) and self._files.exists(target)
            if exist and self._files.same(source, target):
                self._files.unlink(target)

    def clear(self) -> None:
        """Remove all temporary names."""
        with self._errors(self.folder):
            for name in self._files.names(self.folder):
                self._files.unlink(self.folder / name)

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        self.clear()
        with self._errors(self.folder):
            self._files.rmdir(self.folder)

    @contextmanager
    def _errors(self, path: Path, needed: int | None = None) -> Iterator[None]:
        try:
            with storage_errors(self._files, path, needed=needed):
                yield
        except FileNotFoundError as error:
            raise self._vanished() from error
        except FileExistsError as error:
            raise StorageError(
                f"{path} exists already, and this writer did not make it. Names are never used twice: "
                f"something else writes into the run."
            ) from error
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in NO_HARD_LINKS:
                raise StorageError(
                    f"The file system of {path} has no hard links ({cause.strerror}), with which Rolltape publishes. "
                    f"Put the lake on another one."
                ) from cause
            raise

    def _vanished(self) -> Fenced | LakeNotFound:
        with storage_errors(self._files, self.run.path):
            if not self._files.exists(self.run.commits):
                return LakeNotFound(f"The run's folder {self.run.path} is gone: moved or deleted while recording.")
        return Fenced(self._replaced)


class Staging(StagingFolder):
    """The staging folder of one living writer."""

    def __init__(self, run: RunFolder, writer: WriterId, files: FileOps, *, durable: bool) -> None:
        replaced = (
            f"Writer {writer} of {run.path} was replaced by a newer one and may not publish any more. Its producers "
            f"send the newer one what was not acknowledged."
        )
        super().__init__(run, str(writer), files, durable=durable, replaced=replaced)
        self.writer = writer
