"""Markers that a power cut or a flipped bit has torn: made again from whole parts, or put aside with what they named."""

from __future__ import annotations

import random

import pytest

from rolltape.schema.columns import TABLES
from rolltape.schema.messages import Watermark
from rolltape.storage.files import FileOps
from tests.commit_moments import in_memory, life, moments
from tests.commit_world import Crash, Sender, World
from tests.memory_files import MemoryFiles, stopping


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
