"""A story of commits, and the world before each of its file operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from rolltape.storage.files import FileOps
from tests.commit_world import World
from tests.memory_files import MemoryFiles, WatchedFiles

Moment = tuple[str, Path, bytes | None, World]
"""A file operation, its path, what it writes, and the world before it."""


def life(world: World, files: FileOps) -> None:
    """Several commits of two writers: duplicates, holes, what was resent, a substitute, a replaced producer."""
    one, two = world.sender(1), world.sender(2)
    log = world.open(files=files)
    one.make(2)
    two.make(3)
    one.deliver(log)
    two.deliver(log, upto=2)
    world.commit(log)
    one.make(2)
    one.deliver(log, begin=1)  # all again: two are durable
    one.deliver(log, begin=3)  # and again: two are pending
    two.deliver(log, begin=3)
    two.make(2)
    two.deliver(log, begin=5)  # a hole
    world.commit(log)
    substitute = world.open(files=files)
    one.make(1)
    one.deliver(substitute, begin=2)
    two.fenced = True
    substitute.fence_producer(two.key)
    replacement = world.sender(2, 1)
    replacement.make(2)
    replacement.deliver(substitute)
    world.commit(substitute)
    world.commit(substitute)  # nothing to do
    world.senders[one.key].make(1)
    one.deliver(substitute)
    world.commit(substitute)
    substitute.close()


def in_memory(world: World) -> MemoryFiles:
    assert isinstance(world.disk, MemoryFiles)
    return world.disk


def moments(story: Callable[[World, FileOps], object]) -> list[Moment]:
    """The world before each file operation of a story, and after its end."""
    disk = MemoryFiles()
    world, files, found = World(disk), WatchedFiles(disk), []

    def watch(operation: str, path: Path, data: bytes | pa.Buffer | None) -> None:
        found.append((operation, path, None if data is None else bytes(data), world.copy(disk.copy())))

    files.watch = watch
    story(world, files)
    found.append(("end", world.run.path, None, world.copy(disk.copy())))
    return found
