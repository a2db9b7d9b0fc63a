"""A disk in memory for `FileOps`: links, exclusive names, full disks, and what a power cut leaves of it.

It keeps two states: what a program sees, and what fsync has made durable. `power_cut` throws away what is only in the
first, or any part of it that chance chooses. `copy` is how a test goes on from one moment in several ways.
"""

from __future__ import annotations

import copy
import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pyarrow as pa

from rolltape.storage.files import FileOps, Sink


@dataclass
class File:
    data: bytes = b""
    durable: bytes = b""
    links: int = 1


@dataclass
class Folder:
    entries: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)


def _error(number: int, path: Path, other: Path | None = None) -> OSError:
    if other is not None:
        return OSError(number, os.strerror(number), str(path), None, str(other))
    return OSError(number, os.strerror(number), str(path))


class MemorySink:
    """A file that grows while there is room."""

    def __init__(self, disk: MemoryFiles, file: File) -> None:
        self._disk, self._file = disk, file

    def write(self, data: bytes | memoryview) -> None:
        content = bytes(data)
        fits = self._disk.free_bytes(Path("/"))
        self._file.data += content[:fits]
        if len(content) > fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        pass


class WatchedSink:
    """Each write is an operation."""

    def __init__(self, files: WatchedFiles, path: Path) -> None:
        self._files, self._path = files, path
        self._sink = files.disk.create(path)

    def write(self, data: bytes | memoryview) -> None:
        self._files.watch("write", self._path, None)
        self._sink.write(data)

    def close(self) -> None:
        self._sink.close()


class MemoryFiles(FileOps):
    """An empty disk; `room` bytes of files fit on it."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.root = Folder()
        self.room = room

    def copy(self) -> Self:
        """The same disk again, to go on from here in another way."""
        return copy.deepcopy(self)

    def tear(self, path: Path, kept: int) -> None:
        """Leave only the first bytes of a file."""
        file = self._file(path)
        file.data = file.durable = file.data[:kept]

    def power_cut(self, chance: random.Random | None = None) -> None:
        """Keep what was synced; of the rest nothing, or by `chance` some names and some bytes of files."""
        self._cut(self.root, chance, set())

    def _cut(self, folder: Folder, chance: random.Random | None, seen: set[int]) -> None:
        kept = dict(folder.durable)
        if chance is not None:
            for name in sorted(folder.entries.keys() | folder.durable.keys()):
                now, then = folder.entries.get(name), folder.durable.get(name)
                if now is not then and chance.random() < 0.5:
                    kept.pop(name, None)
                    if now is not None:
                        kept[name] = now
        folder.entries, folder.durable = kept, dict(kept)
        for node in kept.values():
            if isinstance(node, Folder):
                self._cut(node, chance, seen)
            elif id(node) not in seen:
                seen.add(id(node))
                left = node.durable
                if chance is not None and node.data != node.durable:
                    left = node.data[: chance.randint(0, len(node.data))]
                node.data = node.durable = left

    def paths(self, folder: Path) -> list[str]:
        """Names in a folder, [] where there is none."""
        node = self._find(folder)
        return sorted(node.entries) if isinstance(node, Folder) else []

    # ---- FileOps ----

    def mkdir(self, path: Path) -> None:
        self._enter(path, Folder())

    def names(self, folder: Path) -> list[str]:
        return list(self._folder(folder).entries)

    def read(self, path: Path) -> bytes:
        return self._file(path).data

    def exists(self, path: Path) -> bool:
        return self._find(path) is not None

    def same(self, one: Path, other: Path) -> bool:
        return self._file(one) is self._file(other)

    def write(self, path: Path, data: bytes | pa.Buffer) -> None:
        content = bytes(data)
        self._enter(path, file := File())
        fits = self.free_bytes(path)
        file.data = content[:fits]
        if len(content) > fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self, path: Path) -> Sink:
        self._enter(path, file := File())
        return MemorySink(self, file)

    def open(self, path: Path) -> pa.NativeFile:
        return pa.BufferReader(self._file(path).data)

    def size(self, path: Path) -> int:
        return len(self._file(path).data)

    def modified_s(self, path: Path) -> float:
        return 0.0  # all files are as old as the clock says

    @contextmanager
    def locked(self, path: Path, *, wait: bool) -> Iterator[bool]:
        yield True  # as on a file system without locks

    def sync(self, path: Path) -> None:
        node = self._find(path)
        if node is None:
            raise _error(errno.ENOENT, path)
        if isinstance(node, Folder):
            node.durable = dict(node.entries)
        else:
            node.durable = node.data

    def link(self, source: Path, target: Path) -> None:
        try:
            file = self._file(source)
            self._enter(target, file)
        except OSError as error:
            raise _error(error.errno or 0, source, target) from None
        file.links += 1

    def rename(self, source: Path, target: Path) -> None:
        node = self._find(source)
        if node is None:
            raise _error(errno.ENOENT, source, target)
        self._folder(target.parent).entries[target.name] = node
        del self._folder(source.parent).entries[source.name]

    def unlink(self, path: Path) -> None:
        self._file(path).links -= 1
        del self._folder(path.parent).entries[path.name]

    def rmdir(self, path: Path) -> None:
        if self._folder(path).entries:
            raise _error(errno.ENOTEMPTY, path)
        del self._folder(path.parent).entries[path.name]

    def free_bytes(self, path: Path) -> int:
        return max(0, self.room - sum(len(file.data) for file in self._files(self.root)))

    # ---- inside ----

    def _files(self, folder: Folder) -> list[File]:
        found: dict[int, File] = {}
        for node in folder.entries.values():
            for file in self._files(node) if isinstance(node, Folder) else [node]:
                found[id(file)] = file
        return list(found.values())

    def _find(self, path: Path) -> File | Folder | None:
        node: File | Folder | None = self.root
        for part in path.parts[1:]:
            node = node.entries.get(part) if isinstance(node, Folder) else None
        return node

    def _folder(self, path: Path) -> Folder:
        node = self._find(path)
        if not isinstance(node, Folder):
            raise _error(errno.ENOENT if node is None else errno.ENOTDIR, path)
        return node

    def _file(self, path: Path) -> File:
        node = self._find(path)
        if not isinstance(node, File):
            raise _error(errno.ENOENT if node is None else errno.EISDIR, path)
        return node

    def _enter(self, path: Path, node: File | Folder) -> None:
        folder = self._folder(path.parent)
        if path.name in folder.entries:
            raise _error(errno.EEXIST, path)
        folder.entries[path.name] = node


class WatchedFiles(FileOps):
    """Calls `watch(operation, path, data)` before each operation that changes the disk; what it raises is the answer.

    `data` is what a write is about to write, else None. Reading passes unseen: a crash there is one before the next
    change.
    """

    def __init__(self, disk: FileOps) -> None:
        self.disk = disk
        self.watch: Callable[[str, Path, bytes | pa.Buffer | None], None] = lambda *_: None

    def mkdir(self, path: Path) -> None:
        self.watch("mkdir", path, None)
        self.disk.mkdir(path)

    def write(self, path: Path, data: bytes | pa.Buffer) -> None:
        self.watch("write", path, data)
        self.disk.write(path, data)

    def create(self, path: Path) -> Sink:
        self.watch("create", path, None)
        return WatchedSink(self, path)

    def open(self, path: Path) -> pa.NativeFile:
        return self.disk.open(path)

    def size(self, path: Path) -> int:
        return self.disk.size(path)

    def modified_s(self, path: Path) -> float:
        return self.disk.modified_s(path)

    @contextmanager
    def locked(self, path: Path, *, wait: bool) -> Iterator[bool]:
        with self.disk.locked(path, wait=wait) as mine:
            yield mine

    def sync(self, path: Path) -> None:
        self.watch("sync", path, None)
        self.disk.sync(path)

    def link(self, source: Path, target: Path) -> None:
        self.watch("link", target, None)
        self.disk.link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        self.watch("rename", target, None)
        self.disk.rename(source, target)

    def unlink(self, path: Path) -> None:
        self.watch("unlink", path, None)
        self.disk.unlink(path)

    def rmdir(self, path: Path) -> None:
        self.watch("rmdir", path, None)
        self.disk.rmdir(path)

    def names(self, folder: Path) -> list[str]:
        return self.disk.names(folder)

    def read(self, path: Path) -> bytes:
        return self.disk.read(path)

    def exists(self, path: Path) -> bool:
        return self.disk.exists(path)

    def same(self, one: Path, other: Path) -> bool:
        return self.disk.same(one, other)

    def free_bytes(self, path: Path) -> int:
        return self.disk.free_bytes(path)


def stopping(
    disk: FileOps, operation: int, what: BaseException | Callable[[], None], *, lasting: bool = False
) -> WatchedFiles:
    """Files on which something happens before operation number `operation`, from 0: an exception, or a call.

    `lasting`: before all later ones too.
    """
    files, count = WatchedFiles(disk), iter(range(1 << 30))

    def watch(*_: object) -> None:
        number = next(count)
        if number == operation or (lasting and number > operation):
            if isinstance(what, BaseException):
                raise what
            what()

    files.watch = watch
    return files
