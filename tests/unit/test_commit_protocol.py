"""What a writer takes and refuses, when it commits, and in which order its files appear (storage/commits.py)."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.storage.commits import CommitLog
from rolltape.storage.sequences import Accepted, Duplicate, FencedKey, Refused
from tests.commit_world import World
from tests.fragments import Fragment, Producer
from tests.memory_files import MemoryFiles

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
