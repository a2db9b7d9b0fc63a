"""A disk that fails, fills up, or is gone for a while at any operation of a commit; names that somebody has taken."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import DiskFull, LakeNotFound, LakeNotWritable, StorageError
from rolltape.storage.files import FileOps
from tests.commit_moments import in_memory
from tests.commit_world import Crash, World
from tests.memory_files import MemoryFiles, WatchedFiles, stopping


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_an_error_at_any_operation_of_a_commit(number: int) -> None:
    expected = {errno.ENOSPC: DiskFull, errno.EIO: StorageError, errno.EACCES: LakeNotWritable}[number]
    operation = 0
    while True:
        world = World(MemoryFiles())
        log = world.open(files=(files := WatchedFiles(world.disk)))
        world.sender(1).make(2)
        world.sender(1).deliver(log, upto=1)
        world.commit(log)
        world.deliver_all(log)
        files.watch = stopping(world.disk, operation, OSError(number, os.strerror(number))).watch
        try:
            report = world.commit(log)
        except StorageError as error:
            assert world.sender(1).acked == 1
            world.check()
            if "cannot be said" in str(error):
                assert "sync" in operations_of_a_commit()[operation]
                assert log.broken is error
                with pytest.raises(StorageError, match="cannot be said"):
                    world.commit(log)
            else:
                assert isinstance(error, expected)
                assert log.broken is None
                report = world.commit(log)
                assert report.marker == "w0.0-00000002-00000002.json"
        else:  # only tidying up failed
            assert report.fragments == 1
        world.check()
        world.finish()
        operation += 1
        if operation >= len(operations_of_a_commit()):
            return


def operations_of_a_commit() -> list[str]:
    """`operation folder` of each file operation of a commit with three parts."""
    world, names = World(MemoryFiles()), []
    log = world.open(files=(files := WatchedFiles(world.disk)))
    world.sender(1).make(2)
    world.deliver_all(log)
    files.watch = lambda operation, path, _: names.append(f"{operation} {path.parent.name}/{path.name}")
    world.commit(log)
    return names


def test_the_order_of_a_commit() -> None:
    part = "w0.0-00000001-00000001"
    assert operations_of_a_commit() == [
        *(f"{what} w0.0/{table}" for table in ("frames", "steps", "episodes") for what in ("write", "sync")),
        *(f"link {table}/{part}.parquet" for table in ("frames", "steps", "episodes")),
        *(f"sync 01K00000000000000000000000/{table}" for table in ("frames", "steps", "episodes")),
        "write w0.0/marker",
        "sync w0.0/marker",
        f"link commits/{part}.json",
        "sync 01K00000000000000000000000/commits",
        *(f"unlink w0.0/{name}" for name in ("frames", "steps", "episodes", "marker")),
    ]
    assert list(TABLES)[-1] == "episodes"


def test_without_fsync_nothing_is_synced() -> None:
    world = World(MemoryFiles(), durability="process")
    files = WatchedFiles(world.disk)
    operations = []
    files.watch = lambda operation, *_: operations.append(operation)
    log = world.open(files=files)
    world.sender(1).make(2)
    world.deliver_all(log)
    world.commit(log)
    world.finish()
    assert "sync" not in operations


def test_a_full_disk_at_any_byte() -> None:
    """After k more bytes there is no room; nothing is acknowledged, all is kept, and with room it goes on."""
    world = World(MemoryFiles())
    log = world.open()
    world.sender(1).make(2)
    world.deliver_all(log)
    disk = in_memory(world)
    used = (1 << 40) - disk.free_bytes(world.run.path)
    for room in range(0, 1 << 20, 700):
        disk.room = used + room
        try:
            world.commit(log)
        except DiskFull as error:
            assert str(world.run.path) in str(error)
            assert "bytes were to be written" in str(error)
            assert "bytes are free" in str(error)
            assert world.sender(1).acked == 0
            assert disk.free_bytes(world.run.path) == room, "a failed commit holds on to room"
            world.check()
        else:
            assert room > 5000
            break
    disk.room = 1 << 40
    world.check()
    world.finish()


def test_what_a_failed_commit_took_comes_first_again() -> None:
    world = World(MemoryFiles())
    world.config = world.config.model_copy(update={"max_bytes": 1})
    files = WatchedFiles(world.disk)
    sender, log = world.sender(1), world.open(files=files)
    sender.make(2)
    sender.deliver(log)
    files.watch = stopping(world.disk, 0, OSError(errno.ENOSPC, "full")).watch
    with pytest.raises(StorageError):
        world.commit(log)
    files.watch = lambda *_: None
    assert [fragment.header.sequence for fragment in log.take().fragments] == [1]


def test_a_disk_that_is_gone_for_a_while() -> None:
    """Every operation fails from some moment on, tidying up too; then the disk is back."""
    for operation in range(len(operations_of_a_commit()) - 6):
        world = World(MemoryFiles())
        log = world.open(files=(files := WatchedFiles(world.disk)))
        world.sender(1).make(2)
        world.deliver_all(log)
        files.watch = stopping(world.disk, operation, OSError(errno.EIO, "Input/output error"), lasting=True).watch
        for _ in range(3):
            with pytest.raises(StorageError):
                world.commit(log)
        world.sender(1).make(1)
        world.deliver_all(log)
        files.watch = lambda *_: None
        assert world.commit(log).fragments == 3
        world.check()
        world.finish()


def test_killed_while_tidying_up_after_a_failure() -> None:
    for operation in range(20):
        world = World(MemoryFiles())
        log = world.open(files=(files := WatchedFiles(world.disk)))
        world.sender(1).make(2)
        world.deliver_all(log)

        def watch(what: str, path: Path, _: object, files: WatchedFiles = files, operation: int = operation) -> None:
            if (what, path.parent.name) == ("link", "commits"):
                files.watch = stopping(files.disk, operation, Crash()).watch
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        files.watch = watch
        with pytest.raises((DiskFull, Crash)):
            world.commit(log)
        world.check()
        world.finish()


def test_a_read_only_lake_is_said_at_the_start() -> None:
    world = World(MemoryFiles())
    files = stopping(world.disk, 0, OSError(errno.EROFS, os.strerror(errno.EROFS), "/lake"))
    with pytest.raises(LakeNotWritable, match=r"/lake .*read-only"):
        world.open(files=files)


def test_a_file_system_without_hard_links_is_said_at_the_start() -> None:
    world = World(MemoryFiles())
    files = WatchedFiles(world.disk)

    def watch(operation: str, path: Path, _: object) -> None:
        if operation == "link":
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), "a", None, str(path))

    files.watch = watch
    with pytest.raises(StorageError, match="has no hard links"):
        world.open(files=files)


def test_a_run_deleted_while_recording_is_said(tmp_path: Path) -> None:
    world = World(FileOps(), tmp_path)
    log = world.open()
    world.sender(1).make(1)
    world.deliver_all(log)
    tmp_path.joinpath("runs").rename(tmp_path / "elsewhere")
    with pytest.raises(LakeNotFound, match="is gone"):
        world.commit(log)


def test_an_alien_file_is_never_overwritten() -> None:
    world = World(MemoryFiles())
    log = world.open()
    alien = world.run.table("steps") / "w0.0-00000001-00000001.parquet"
    world.disk.write(alien, b"alien")
    world.sender(1).make(1)
    world.deliver_all(log)
    with pytest.raises(StorageError, match="exists already"):
        world.commit(log)
    assert world.disk.read(alien) == b"alien"


def test_a_link_whose_answer_was_lost_has_worked() -> None:
    """NFS repeats a request whose answer it did not get, and is told that the name is taken: by this very file."""
    world = World(MemoryFiles())
    files = WatchedFiles(world.disk)

    def watch(operation: str, path: Path, _: object) -> None:
        if operation == "link":
            name = {"commits": "marker", "writers": "claim"}.get(path.parent.name, path.parent.name)
            world.disk.link(world.run.staging / "w0.0" / name, path)

    files.watch = watch
    log = world.open(files=files)
    world.sender(1).make(2)
    world.deliver_all(log)
    world.commit(log)
    world.check()
