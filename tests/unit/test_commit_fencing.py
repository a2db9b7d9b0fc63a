"""A writer that is only stopped while its successor goes on, and wakes up at any operation: nothing of it is stored."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from rolltape.schema.errors import Fenced
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.storage.commits import CommitLog
from rolltape.storage.files import FileOps
from tests.commit_moments import moments
from tests.commit_world import Crash, World, fenced
from tests.memory_files import MemoryFiles, WatchedFiles, stopping


class Disk:
    """Where a test with two writers happens: in memory, or the real one."""

    def __init__(self, real: Path | None) -> None:
        self.lake = real or Path("/lake")
        self.files = FileOps() if real else MemoryFiles()
        if real:
            real.mkdir()


def predecessor(world: World, files: FileOps) -> None:
    """Two commits of a writer, which may be told at any time that it was replaced."""
    log = world.open(files=files)
    for _ in range(2):
        for number in (1, 2):
            world.sender(number).make(1)
        world.deliver_all(log)
        world.commit(log)


def successor(world: World, files: FileOps) -> CommitLog:
    """A writer that starts while the other is stopped, and commits twice."""
    log = world.open(files=files)
    world.deliver_all(log)
    world.commit(log)
    world.sender(1).make(1)
    world.deliver_all(log)
    world.commit(log)
    return log


STARTS = moments(lambda world, files: world.open(files=files))


def stopped_at(disk: Disk, operation: int, crash_of_successor: int | None = None) -> int:
    """The predecessor is stopped at an operation, its successor does all it wants, the predecessor wakes up.

    Returns how many operations the predecessor began.
    """
    world = World(disk.files, disk.lake)
    logs: list[CommitLog] = []

    def meanwhile() -> None:
        files = disk.files if crash_of_successor is None else stopping(disk.files, crash_of_successor, Crash())
        try:
            logs.append(successor(world, files))
        except Crash:
            world.check()
            logs.append(world.finish())
        if isinstance(files, WatchedFiles):
            files.watch = lambda *_: None
        world.check()

    files = stopping(disk.files, operation, meanwhile)
    began = 0
    count = files.watch

    def counted(operation: str, path: Path, data: bytes | pa.Buffer | None) -> None:
        nonlocal began
        began += 1
        count(operation, path, data)

    files.watch = counted
    woke = fenced(predecessor, world, files)
    world.check()
    world.sender(1).make(1)
    for log in logs:  # the one that came second, unless the first had not yet taken its id when it was stopped
        lost = fenced(lambda log=log: (world.deliver_all(log), world.commit(log)))
        assert not (woke and lost), "nobody can write"
    world.check()
    world.finish()
    return began


@pytest.mark.parametrize("kind", ["memory", "real"])
def test_stopped_at_any_operation_and_woken(kind: str, tmp_path: Path) -> None:
    operation = 0
    while stopped_at(Disk(tmp_path / str(operation) if kind == "real" else None), operation) > operation:
        operation += 3 if kind == "real" else 1
    assert operation > 40


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.long)])
def test_stopped_while_the_successor_is_killed(every: int) -> None:
    for crash in range(0, 60, every):
        operation = 0
        while stopped_at(Disk(None), operation, crash) > operation:
            operation += every


def test_only_the_own_slot_is_fenced() -> None:
    world = World(MemoryFiles())
    here, there = world.open(0), world.open(1)
    world.sender(1).make(1)
    world.sender(1).deliver(here)
    world.open(0)
    world.sender(2).make(1)
    world.sender(2).deliver(there)
    world.commit(there)
    assert there.writer_id == "w1.0"
    with pytest.raises(Fenced, match=r"w0\.0 .* was replaced"):
        world.commit(here)
    with pytest.raises(Fenced):
        here.offer(world.sender(1).made[0].header, {})
    world.check()


def test_a_writer_knows_what_other_slots_made_durable() -> None:
    world = World(MemoryFiles())
    world.sender(1).make(3)
    first = world.open(0)
    world.deliver_all(first)
    world.commit(first)
    assert world.open(1).watermarks == {ProducerKey(1, 0): Watermark(3, 12, 4)}


def test_writer_ids_are_never_used_twice() -> None:
    world = World(MemoryFiles())
    ids = []
    for _ in range(3):
        log = world.open()
        ids.append(log.writer_id)
        log.close()
    assert ids == ["w0.0", "w0.1", "w0.2"]
    assert world.disk.names(world.run.staging) == []
    assert sorted(world.disk.names(world.run.writers)) == [f"{name}.json" for name in ids]


def test_two_that_start_at_once_never_go_on_side_by_side() -> None:
    """One is stopped before it takes w0.0, another one takes w0.0 and is killed before its claim, a third is w0.1 and
    lives: then w0.0 is free again, but older than a living writer."""
    world = World(MemoryFiles())
    living = []

    def meanwhile() -> None:
        with pytest.raises(Crash):
            world.open(files=stopping(world.disk, operation_of("link", "w0.0.json") - begun, Crash()))
        living.append(world.open())

    begun = operation_of("mkdir", "w0.0")
    log = world.open(files=stopping(world.disk, begun, meanwhile))
    assert (log.writer_id, living[0].writer_id) == ("w0.2", "w0.1")
    world.sender(1).make(1)
    world.deliver_all(living[0])
    assert fenced(world.commit, living[0])
    world.finish()


def operation_of(what: str, name: str) -> int:
    """The number of an operation in the start of a first writer."""
    return next(i for i, (operation, path, *_) in enumerate(STARTS) if (operation, path.name) == (what, name))


def test_a_life_that_began_and_ended_meanwhile_keeps_its_id() -> None:
    world = World(MemoryFiles())
    files = WatchedFiles(world.disk)

    def watch(operation: str, path: Path, _: object) -> None:
        if operation == "mkdir" and path.name == "w0.0":
            files.watch = lambda *_: None
            world.open().close()

    files.watch = watch
    assert world.open(files=files).writer_id == "w0.1"


def test_a_stopped_writer_that_creates_files_cannot_keep_its_folder() -> None:
    world = World(MemoryFiles())
    world.open()
    files, stubborn = WatchedFiles(world.disk), iter(range(5))

    def watch(operation: str, path: Path, _: object) -> None:
        if operation == "rmdir" and path.name == "w0.0" and (n := next(stubborn, None)) is not None:
            world.disk.write(path / str(n), b"")

    files.watch = watch
    world.open(files=files)
    assert world.disk.names(world.run.staging) == ["w0.1"]
