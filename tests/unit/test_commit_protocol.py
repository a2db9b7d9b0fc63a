"""The rules of storage/commits.py, staging.py and fencing.py, by stopping at every file operation and looking."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import DiskFull, Fenced, LakeNotFound, LakeNotWritable, SchemaMismatch, StorageError
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.storage.commits import CommitLog
from rolltape.storage.files import FileOps
from rolltape.storage.sequences import Accepted, Duplicate, FencedKey, Refused
from tests.commit_world import Crash, Sender, World, fenced
from tests.fragments import Fragment, Producer
from tests.memory_files import MemoryFiles, WatchedFiles, stopping

Moment = tuple[str, Path, bytes | None, World]


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


@pytest.fixture(scope="module")
def story() -> list[Moment]:
    return moments(life)


def aftermaths(moment: Moment) -> Iterator[World]:
    """What a kill at that moment may leave: the operation not begun, or a write in the middle."""
    operation, path, data, world = moment
    yield world.copy(in_memory(world).copy())
    if operation == "write" and data is not None:
        torn = in_memory(world).copy()
        torn.write(path, data[: len(data) // 2])
        yield world.copy(torn)


def test_killed_at_any_operation(story: list[Moment]) -> None:
    assert len(story) > 100
    for moment in story:
        for world in aftermaths(moment):
            world.check()
            world.finish()


def test_power_cut_after_a_substitute_has_acknowledged(story: list[Moment]) -> None:
    """It tells a producer that a fragment is durable because it read the marker, which nobody may have synced."""
    for *_, moment in story:
        world = moment.copy(in_memory(moment).copy())
        log = world.open()
        world.deliver_all(log)
        in_memory(world).power_cut()
        world.check(glob=False)


@pytest.mark.parametrize("cuts", [1, pytest.param(30, marks=pytest.mark.long)])
def test_power_cut_at_any_operation(story: list[Moment], cuts: int) -> None:
    """All that was not synced is gone, or any part of it."""
    for index, moment in enumerate(story):
        for chance in (None, *(random.Random(f"{index}.{cut}") for cut in range(cuts))):
            for world in aftermaths(moment):
                in_memory(world).power_cut(chance)
                world.check(glob=False)
                world.finish()


def test_killed_again_while_starting_again(story: list[Moment]) -> None:
    """A substitute is killed at any operation of its own start, for a choice of states that it finds."""
    for index, (*_, world) in enumerate(story[::11]):
        seen = index % 3
        while True:
            trial = world.copy(in_memory(world).copy())
            files = stopping(trial.disk, seen, Crash())
            try:
                log = trial.open(files=files)
                trial.deliver_all(log)
                trial.commit(log)
            except Crash:
                trial.check()
                trial.finish()
                seen += 3
            else:
                break
        assert seen > 5


# ---- a writer that is only stopped ----


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


# ---- order of fragments ----


def test_go_back_n() -> None:
    world = World(MemoryFiles())
    sender, log = world.sender(1), world.open()
    sender.make(4)
    offer = lambda n: log.offer(sender.made[n - 1].header, sender.made[n - 1].batches)  # noqa: E731
    assert offer(2) == Refused(expected=1)
    assert offer(1) == Accepted()
    assert offer(1) == Duplicate(durable=False)
    assert offer(3) == Refused(expected=2)
    batch = log.take()
    assert offer(1) == Duplicate(durable=False)
    assert offer(2) == Accepted()
    log.commit(batch)
    assert offer(1) == Duplicate(durable=True)
    assert offer(2) == Duplicate(durable=False)
    assert log.watermarks == {sender.key: Watermark(1, 4, 0)}
    assert [fragment.header.steps for fragment in log.take().fragments] == [4]


def test_a_fence_of_a_producer_is_durable_with_what_comes_after_it() -> None:
    world = World(MemoryFiles())
    old, new, log = world.sender(1), world.sender(1, 1), world.open()
    old.make(2)
    old.deliver(log, upto=1)
    assert log.fence_producer(old.key) == Watermark(1, 4, 0)
    assert log.watermarks == {}
    for fragment in old.made:
        assert log.offer(fragment.header, fragment.batches) == FencedKey()
    new.make(1)
    new.deliver(log)
    world.commit(log)
    assert log.watermarks[old.key] == Watermark(1, 4, 0)
    again = world.open()
    assert again.offer(old.made[1].header, old.made[1].batches) == FencedKey()
    assert again.offer(new.made[0].header, new.made[0].batches) == Duplicate(durable=True)


def test_a_fence_alone_can_be_committed() -> None:
    world = World(MemoryFiles())
    log = world.open()
    log.fence_producer(ProducerKey(7, 0))
    assert world.commit(log).marker == "w0.0-00000001-00000001.json"
    assert world.commit(log).marker is None
    assert world.open().recovery.fenced == {ProducerKey(7, 0)}


def test_a_commit_takes_what_first_reaches_its_bytes() -> None:
    """A slow disk so acknowledges what came first while the rest waits."""
    world = World(MemoryFiles())
    sender = world.sender(1)
    sender.make(5)
    nbytes = sum(batch.get_total_buffer_size() for batch in sender.made[0].batches.values())
    world.config = world.config.model_copy(update={"max_bytes": nbytes + 1})
    log = world.open()
    sender.deliver(log)
    held = log.pending_bytes
    batch = log.take()
    assert [fragment.header.sequence for fragment in batch.fragments] == [1, 2]
    assert (log.held_bytes, log.pending_bytes > 0, log.due()) == (held, True, True)
    log.commit(batch)
    assert log.watermarks[sender.key].sequence == 2
    assert log.take().fragments[0].header.sequence == 3


def test_a_fence_is_taken_with_all_that_came_before_it() -> None:
    """Who fences waits for what was received: none of it may lie in a later commit than the fence."""
    world = World(MemoryFiles())
    world.config = world.config.model_copy(update={"max_bytes": 1})
    sender, log = world.sender(1), world.open()
    sender.make(3)
    sender.deliver(log)
    assert log.fence_producer(sender.key).sequence == 3
    world.commit(log)
    assert (log.watermarks[sender.key].sequence, log.held_bytes) == (3, 0)


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


def test_due_by_bytes_and_by_age() -> None:
    world = World(MemoryFiles())
    now = 10.0
    log = CommitLog.open(world.run, 0, world.config, files=world.disk, clock=lambda: now)
    assert not log.due()
    world.sender(1).make(2)
    world.deliver_all(log)
    now += 0.4
    assert (log.due(), log.oldest_pending_age_s) == (False, pytest.approx(0.4))
    now += 0.4
    assert log.due()
    held = log.pending_bytes
    batch = log.take()
    assert (log.due(), log.pending_bytes, log.held_bytes, log.oldest_pending_age_s) == (False, 0, held, 0)
    assert log.commit(batch).oldest_s == pytest.approx(0.8)
    assert log.held_bytes == 0
    small = CommitLog.open(
        world.run, 1, world.config.model_copy(update={"max_bytes": 1}), files=world.disk, clock=lambda: 0.0
    )
    world.sender(3).make(1)
    world.sender(3).deliver(small)
    assert small.due()


def test_two_commits_at_once_are_refused() -> None:
    log = World(MemoryFiles()).open()
    log.take()
    with pytest.raises(RuntimeError, match="in progress"):
        log.take()


def test_a_marker_says_what_is_durable_over_all_writers() -> None:
    world = World(MemoryFiles())
    for slot in (0, 1):
        log = world.open(slot)
        world.sender(slot).make(1)
        world.sender(slot).deliver(log)
        world.commit(log)
    assert set(world.markers()["w1.0-00000001-00000001"]["watermarks"]) == {"p0.0", "p1.0"}


# ---- fragments that are not what they say ----


def refused(world: World, fragment: Fragment, header: dict | None = None, **batches: pa.RecordBatch | None) -> str:
    """The message with which a changed fragment is refused; afterwards the right one is taken."""
    log = world.open()
    changed = {k: b for k, b in {**fragment.batches, **batches}.items() if b is not None}
    with pytest.raises(SchemaMismatch) as caught:
        log.offer(replace(fragment.header, **(header or {})), changed)
    assert log.held_bytes == 0
    assert log.offer(fragment.header, fragment.batches) == Accepted()
    return str(caught.value)


def test_what_a_header_says_is_looked_at() -> None:
    world = World(MemoryFiles())
    fragment = Producer(1).fragment(3)
    assert "header says 6 rows of steps, the batch has 0" in refused(world, fragment, steps=None)
    assert "header says 2 rows of episodes, the batch has 1" in refused(
        world, fragment, episodes=fragment.batches["episodes"].slice(1)
    )
    assert "totals to 7 steps" in refused(world, fragment, {"steps_total": 7})
    assert "there is no table 'pictures'" in refused(world, fragment, pictures=fragment.batches["steps"])


def test_columns_are_those_of_the_first_fragment() -> None:
    producer = Producer(1)
    first, second = producer.fragment(), producer.fragment()
    log = World(MemoryFiles()).open()
    log.offer(first.header, first.batches)
    steps = second.batches["steps"]
    other = steps.set_column(steps.schema.get_field_index("reward"), "reward", steps.column("reward").cast("float"))
    with pytest.raises(SchemaMismatch, match=r"steps .* reward: expected double, found float\."):
        log.offer(second.header, {**second.batches, "steps": other})
    with pytest.raises(SchemaMismatch, match="info_json: expected string, found no such column"):
        log.offer(second.header, {**second.batches, "steps": steps.drop_columns("info_json")})
    with pytest.raises(SchemaMismatch, match="order of columns"):
        log.offer(second.header, {**second.batches, "steps": steps.select(steps.schema.names[::-1])})


def test_rows_name_the_fragment_that_brings_them() -> None:
    world = World(MemoryFiles())
    fragment = Producer(1).fragment(3)
    for table in ("steps", "episodes"):
        for name in ("worker", "incarnation", "fragment"):
            changed = with_value(fragment.batches[table], name, 9)
            assert f"brings rows of {table}" in refused(world, fragment, **{table: changed})


def test_an_episode_that_another_life_left_behind_comes_after_its_steps() -> None:
    """A replacement closes its predecessor's open episode as lost: in no commit before the predecessor's last."""
    old, new = Producer(1), Producer(1, 1)
    first, last = old.fragment(3), new.fragment(3)
    lost = with_value(last.batches["episodes"], "incarnation", 0)
    log = World(MemoryFiles()).open()
    with pytest.raises(SchemaMismatch, match=r"of p1\.0, of which 0 were received"):
        log.offer(last.header, {**last.batches, "episodes": lost})
    log.offer(first.header, first.batches)
    assert log.offer(last.header, {**last.batches, "episodes": lost}) == Accepted()


def test_what_parquet_cannot_store_is_said() -> None:
    fragment = Producer(1).fragment(1)
    steps = fragment.batches["steps"].append_column("nothing", pa.array([{}] * 2, pa.struct([])))
    log = World(MemoryFiles()).open()
    log.offer(fragment.header, {"steps": steps})
    with pytest.raises(SchemaMismatch, match=r"steps of this run cannot be stored as Parquet: .*nothing"):
        log.commit(log.take())
    assert [fragment.header.steps for fragment in log.take().fragments] == [2]


def with_value(batch: pa.RecordBatch, name: str, value: int) -> pa.RecordBatch:
    index = batch.schema.get_field_index(name)
    return batch.set_column(
        index, batch.schema.field(index), pa.repeat(value, batch.num_rows).cast(batch.schema.field(index).type)
    )


# ---- disks that fail ----


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


# ---- what a power cut leaves without fsync ----


def three_commits(durability: str) -> tuple[World, Sender]:
    """A world whose only writer has made three commits, each of one fragment of one sender."""
    world = World(MemoryFiles(), durability=durability)
    log = world.open()
    sender = world.sender(1)
    for _ in range(3):
        sender.make(1)
        world.deliver_all(log)
        world.commit(log)
    return world, sender


def test_torn_markers_do_not_count_and_go_to_quarantine_with_their_parts() -> None:
    world, sender = three_commits("process")
    disk = in_memory(world)
    for number in (2, 3):
        disk.tear(world.run.commits / f"w0.0-{number:08d}-{number:08d}.json", number - 2)
        disk.tear(world.run.table("steps") / f"w0.0-{number:08d}-{number:08d}.parquet", 100)
    sender.acked = 1  # the others are lost: fsync was not paid for
    again = world.open()
    assert again.watermarks == {sender.key: Watermark(1, 4, 0)}
    assert sorted(again.recovery.unreadable) == [f"w0.0-{n:08d}-{n:08d}.json" for n in (2, 3)]
    assert "commits.w0.0-00000002-00000002.json" in again.recovery.quarantined
    assert "steps.w0.0-00000003-00000003.parquet" in again.recovery.quarantined
    world.check()
    world.finish()


@pytest.mark.parametrize("durability", ["machine", "process"])
def test_torn_markers_are_made_again_from_whole_parts(durability: str) -> None:
    """What was acknowledged went missing because a small file had a flipped bit."""
    world, sender = three_commits(durability)
    said = world.markers()
    names = [f"w0.0-{number:08d}-{number:08d}.json" for number in (2, 3)]
    for number, name in enumerate(names):
        in_memory(world).tear(world.run.commits / name, number)
    again = world.open()
    assert sorted(again.recovery.rebuilt) == sorted(again.recovery.unreadable) == names
    assert again.recovery.quarantined == () and again.watermarks[sender.key].sequence == 3
    assert world.markers() == said
    world.check()
    world.finish()


def test_killed_while_a_torn_marker_is_made_again() -> None:
    world = World(MemoryFiles())
    log = world.open()
    world.sender(1).make(2)
    world.deliver_all(log)
    world.commit(log)
    in_memory(world).tear(world.run.commits / "w0.0-00000001-00000001.json", 7)
    seen = 0
    while True:
        trial = world.copy(in_memory(world).copy())
        try:
            trial.open(files=stopping(trial.disk, seen, Crash()))
        except Crash:
            in_memory(trial).power_cut(random.Random(seen))
            trial.finish()
            seen += 1
        else:
            break
    assert seen > 10


def test_a_torn_marker_of_another_slot_is_reported_and_left() -> None:
    world = World(MemoryFiles(), durability="process")
    log = world.open(1)
    world.sender(1).make(1)
    world.deliver_all(log)
    world.commit(log)
    path = world.run.commits / "w1.0-00000001-00000001.json"
    in_memory(world).tear(path, 1)
    recovery = world.open(0).recovery
    assert (recovery.unreadable, recovery.quarantined) == ((path.name,), ())
    assert world.disk.exists(path)


def test_a_power_cut_without_fsync_never_stops_the_next_writer() -> None:
    def unsynced(world: World, files: FileOps) -> None:
        world.config = world.config.model_copy(update={"durability": "process"})
        life(world, files)

    for index, (*_, world) in enumerate(moments(unsynced)[::3]):
        in_memory(world).power_cut(random.Random(index))
        log = world.open()
        log.close()
        assert all(name.endswith(".parquet") for table in TABLES for name in world.disk.names(world.run.table(table)))


def test_an_alien_marker_is_no_reason_to_stop() -> None:
    world = World(MemoryFiles())
    world.open()
    for name in (".hidden", "notes.txt", "w0.0-1-1.json", "w0.0-00000002-00000001.json"):
        world.disk.write(world.run.commits / name, b"?")
    assert world.open().recovery.unreadable == ()
