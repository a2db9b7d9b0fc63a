"""The writer on an event loop and a real commit log: who is answered what, and when; what fails, and who hears of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rolltape.actors import writer as module
from rolltape.actors.writer import Writer
from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import DiskFull, SchemaMismatch, StorageError
from rolltape.schema.messages import Ack, ProducerKey, Watermark
from rolltape.storage.layout import RunFolder
from tests.fragments import Fragment, Producer
from tests.lakes import new_run

Story = Callable[[Writer], Awaitable[None]]


class Stage:
    """A run and its writers, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.run: RunFolder = new_run(folder)
        self.writers: list[Writer] = []

    def tell(self, story: Story, *, publish: Any = None, give_up_s: float = 5.0, **commit: Any) -> Writer:
        """A new writer of slot 0 lives through `story` and is killed at its end."""
        config = RecordConfig.of(
            commit={"durability": "process", "max_age_s": 0.01} | commit,
            budget={"give_up_s": give_up_s, "max_unacked_age_s": 100.0},
            fragment={"max_age_s": 0.01},
        )
        writer = Writer(str(self.run.path), 0, config, publish)
        self.writers.append(writer)
        asyncio.run(asyncio.wait_for(story(writer), 20))  # type: ignore[arg-type]
        return writer

    def producer(self, number: int = 0, incarnation: int = 0) -> Producer:
        return Producer(number, incarnation, run_id=self.run.run_id)

    def stored(self) -> dict[tuple[int, int], list[int]]:
        """The sequences that the markers name, by producer key."""
        found: dict[tuple[int, int], list[int]] = {}
        for path in sorted(self.run.commits.glob("*.json")):
            for producer, incarnation, first, last in json.loads(path.read_text())["fragments"]:
                found.setdefault((producer, incarnation), []).extend(range(first, last + 1))
        return found


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(module, "POLL_S", 0.001)
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    monkeypatch.setattr(module, "EARLY_S", 0.05)
    stage = Stage(tmp_path)
    yield stage
    for writer in stage.writers:
        writer._thread.shutdown()
        writer._catalog_thread.shutdown()


def sent(writer: Writer, fragment: Fragment) -> asyncio.Task[Ack]:
    return asyncio.ensure_future(writer.append(fragment.header, tuple(fragment.batches), *fragment.batches.values()))


async def settled(*calls: asyncio.Task[Any]) -> None:
    """Let the loop turn until the calls wait for a commit, or are done."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("whole", [True, False])
def test_a_damaged_marker_is_told_of(stage: Stage, caplog: pytest.LogCaptureFixture, whole: bool) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        await sent(writer, source.fragment())

    stage.tell(story)
    (marker,) = stage.run.commits.iterdir()
    marker.write_bytes(marker.read_bytes()[:-9])
    if not whole:
        (stage.run.table("steps") / marker.with_suffix(".parquet").name).write_bytes(b"")

    async def told(writer: Writer) -> None:
        assert await writer.flush() == ({source.key: Watermark(1, 4, 0)} if whole else {})

    stage.tell(told)
    (said,) = [record.getMessage() for record in caplog.records if marker.name in record.getMessage()]
    assert ("made again" in said and "nor" not in said) == whole, said


def test_a_fragment_is_answered_when_it_is_durable(stage: Stage) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        call = sent(writer, source.fragment())
        await settled(call)
        assert not call.done()
        ack = await call
        assert (ack.status, ack.key, ack.sequence) == ("durable", source.key, 1)
        assert ack.commit_s > 0
        assert stage.stored() == {(0, 0): [1]}

    stage.tell(story)


def test_one_commit_answers_all_that_it_holds(stage: Stage) -> None:
    one, two = stage.producer(0), stage.producer(1)

    async def story(writer: Writer) -> None:
        calls = [sent(writer, source.fragment()) for source in (one, one, two, one)]
        acks = await asyncio.gather(*calls)
        assert [(a.key.producer, a.sequence, a.status) for a in acks] == [
            (0, 1, "durable"),
            (0, 2, "durable"),
            (1, 1, "durable"),
            (0, 3, "durable"),
        ]
        assert stage.stored() == {(0, 0): [1, 2, 3], (1, 0): [1]}

    stage.tell(story)


def test_duplicates_are_answered_and_stored_once(stage: Stage) -> None:
    source = stage.producer()
    fragments = [source.fragment() for _ in range(4)]

    async def story(writer: Writer) -> None:
        await asyncio.gather(*(sent(writer, f) for f in fragments[:2]))
        late = sent(writer, fragments[0])
        await settled(late)
        assert late.done(), "it is durable: nothing to wait for"
        # Resent while they wait, and with others in between: each call is answered, whichever came first.
        again = [sent(writer, fragments[k]) for k in (2, 3, 2, 3, 1, 2)]
        acks = await asyncio.gather(*again)
        assert [(a.status, a.sequence) for a in acks] == [("durable", k) for k in (3, 4, 3, 4, 2, 3)]

    writer = stage.tell(story)
    assert stage.stored() == {(0, 0): [1, 2, 3, 4]}
    assert writer.statistics.fragments == 4
    assert not any(writer._waiting.values())


def test_a_fragment_that_overtakes_waits_for_those_before_it(stage: Stage) -> None:
    source = stage.producer()
    fragments = [source.fragment() for _ in range(4)]

    async def story(writer: Writer) -> None:
        calls = []
        for place in (3, 1, 2, 0):
            calls.append(sent(writer, fragments[place]))
            await settled()
        acks = await asyncio.gather(*calls)
        assert [a.sequence for a in acks] == [4, 2, 3, 1]
        assert {a.status for a in acks} == {"durable"}

    writer = stage.tell(story)
    assert stage.stored() == {(0, 0): [1, 2, 3, 4]}
    assert not writer._early


def test_a_hole_is_refused_with_what_is_expected(stage: Stage) -> None:
    source = stage.producer()
    fragments = [source.fragment() for _ in range(3)]

    async def story(writer: Writer) -> None:
        first, third = sent(writer, fragments[0]), sent(writer, fragments[2])
        assert (await first).status == "durable"
        ack = await third
        assert (ack.status, ack.sequence, ack.expected) == ("refused", 3, 2)
        acks = await asyncio.gather(sent(writer, fragments[1]), sent(writer, fragments[2]))
        assert [a.status for a in acks] == ["durable", "durable"]

    stage.tell(story)


def test_who_waits_is_not_kept_waiting_for_age(stage: Stage) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        call = sent(writer, source.fragment())
        await writer.hurry(source.key, 1)
        await call
        await writer.hurry(source.key, 2)  # before the fragment comes that it is about
        await sent(writer, source.fragment())

    stage.tell(story, max_age_s=60.0)


def test_a_fragment_that_is_waited_for_comes_after_the_commit_that_its_call_made(stage: Stage) -> None:
    """A call without arguments overtakes one whose batches have to be fetched first."""
    source = stage.producer()

    async def story(writer: Writer) -> None:
        call = sent(writer, source.fragment())
        await writer.hurry(source.key, 2)
        await call
        await sent(writer, source.fragment())

    stage.tell(story, max_age_s=60.0)


def test_bytes_make_a_commit_due(stage: Stage) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        calls = [sent(writer, source.fragment(500)) for _ in range(3)]
        await asyncio.gather(*calls)

    stage.tell(story, max_age_s=60.0, max_bytes=64 << 10)


def test_flush_commits_what_is_there(stage: Stage) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        assert await writer.flush() == {}
        call = sent(writer, source.fragment())
        await settled(call)
        assert await writer.flush() == {source.key: Watermark(1, 4, 0)}
        assert (await call).status == "durable"

    stage.tell(story, max_age_s=60.0)


def test_who_is_waited_for_is_committed_whole_though_it_is_more_than_one_commit_takes(stage: Stage) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        calls = [sent(writer, source.fragment(2000)) for _ in range(5)]
        await settled(*calls)
        await writer.hurry(source.key, 5)
        assert {(await call).status for call in calls} == {"durable"}
        assert len(list(stage.run.commits.iterdir())) == 5

    stage.tell(story, max_age_s=60.0, max_bytes=64 << 10)


def test_a_restarted_writer_knows_what_is_durable(stage: Stage) -> None:
    source = stage.producer()
    fragments = [source.fragment() for _ in range(4)]

    async def first(writer: Writer) -> None:
        await asyncio.gather(*(sent(writer, f) for f in fragments[:2]))
        unanswered = sent(writer, fragments[2])
        await settled(unanswered)
        unanswered.cancel()  # it dies with this in its memory

    async def second(writer: Writer) -> None:
        early = sent(writer, fragments[3])
        assert (await sent(writer, fragments[1])).status == "durable"
        acks = await asyncio.gather(sent(writer, fragments[2]), early)
        assert [a.status for a in acks] == ["durable", "durable"]

    stage.tell(first, max_age_s=0.01)
    writer = stage.tell(second)
    assert writer.statistics.writer_id == "w0.1"
    assert stage.stored() == {(0, 0): [1, 2, 3, 4]}


def test_who_was_replaced_is_fenced_and_what_came_before_is_kept(stage: Stage) -> None:
    old, new = stage.producer(0, 0), stage.producer(0, 1)
    fragments = [old.fragment() for _ in range(4)]

    async def story(writer: Writer) -> None:
        calls = [sent(writer, f) for f in fragments[:2]]
        early = sent(writer, fragments[3])
        await settled(*calls)
        assert await writer.fence(old.key) == Watermark(2, 8, 2)
        assert [(await call).status for call in calls] == ["durable", "durable"]
        for place in (0, 2):
            assert (await sent(writer, fragments[place])).status == "fenced"
        assert (await early).status == "fenced"
        assert (await sent(writer, new.fragment())).status == "durable"

    async def again(writer: Writer) -> None:
        assert (await sent(writer, fragments[2])).status == "fenced"

    stage.tell(story, max_age_s=0.01)
    stage.tell(again)
    assert stage.stored() == {(0, 0): [1, 2], (0, 1): [1]}


def test_fencing_does_not_wait_for_age(stage: Stage) -> None:
    old = stage.producer()

    async def story(writer: Writer) -> None:
        call = sent(writer, old.fragment())
        await settled(call)
        await writer.fence(old.key)
        await call
        assert await writer.fence(ProducerKey(7, 0)) == Watermark()

    stage.tell(story, max_age_s=60.0)


# ---- what fails ----


def failing(writer: Writer, *errors: BaseException) -> None:
    """The next commits of `writer` raise these."""
    commit, left = writer._log.commit, list(errors)

    def attempt(batch: Any) -> Any:
        if left:
            writer._log._give_back(batch)
            raise left.pop(0)
        return commit(batch)

    writer._log.commit = attempt  # type: ignore[method-assign]


def test_a_disk_that_is_full_for_a_while_costs_only_time(stage: Stage) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        failing(writer, DiskFull("no room"), DiskFull("no room"))
        assert (await sent(writer, source.fragment())).status == "durable"
        failing(writer, DiskFull("no room again"))
        assert (await sent(writer, source.fragment())).status == "durable"

    stage.tell(story)
    assert stage.stored() == {(0, 0): [1, 2]}


def test_a_disk_that_stays_full_is_told_to_everybody(stage: Stage) -> None:
    one, two = stage.producer(0), stage.producer(1)
    fragments = [one.fragment() for _ in range(3)]

    async def story(writer: Writer) -> None:
        await sent(writer, fragments[0])
        failing(writer, *[DiskFull("no room")] * 100_000)
        calls = [sent(writer, fragments[1]), sent(writer, two.fragment())]
        flushed = asyncio.ensure_future(writer.flush())
        for call in (*calls, flushed):
            with pytest.raises(DiskFull, match="no room"):
                await call
        for fragment in (fragments[1], fragments[2]):
            with pytest.raises(DiskFull):
                await sent(writer, fragment)
        with pytest.raises(DiskFull):
            await writer.flush()

    stage.tell(story, give_up_s=0.05)
    assert stage.stored() == {(0, 0): [1]}


def test_who_came_early_hears_that_the_writer_has_failed(stage: Stage) -> None:
    """Nobody commits any more: taken in, it would never be answered."""
    source = stage.producer()
    fragments = [source.fragment() for _ in range(2)]

    async def story(writer: Writer) -> None:
        failing(writer, *[DiskFull("no room")] * 100_000)
        turn = writer._turn

        async def long_turn(key: ProducerKey, sequence: int) -> None:
            await turn(key, sequence)
            while writer._failed is None:
                await asyncio.sleep(0.001)

        writer._turn = long_turn  # type: ignore[method-assign]
        early, first = sent(writer, fragments[1]), sent(writer, fragments[0])
        for call in (first, early):
            with pytest.raises(DiskFull):
                await call

    stage.tell(story, give_up_s=0.02)


@pytest.mark.parametrize("error", [SchemaMismatch("a column of another kind"), MemoryError("no memory"), KeyError("x")])
def test_a_commit_that_can_never_succeed_is_told_at_once(stage: Stage, error: Exception) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        failing(writer, error)
        with pytest.raises((StorageError, SchemaMismatch), match=str(error)):
            await sent(writer, source.fragment())
        with pytest.raises((StorageError, SchemaMismatch), match=str(error)):
            await sent(writer, source.fragment())

    stage.tell(story)


def test_a_fragment_that_is_not_what_it_says_fails_alone(stage: Stage) -> None:
    good, bad = stage.producer(0), stage.producer(1)

    async def story(writer: Writer) -> None:
        fragment = bad.fragment()
        broken = {"steps": fragment.batches["steps"].slice(1)}
        with pytest.raises(SchemaMismatch, match="header says 4 rows of steps, the batch has 3"):
            await sent(writer, Fragment(fragment.header, broken))
        assert (await sent(writer, good.fragment())).status == "durable"

    stage.tell(story)


def test_a_caller_that_is_gone_does_not_disturb_the_others(stage: Stage) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        calls = [sent(writer, source.fragment()) for _ in range(3)]
        await settled(*calls)
        calls[1].cancel()
        acks = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(a) for a in acks] == [Ack, asyncio.CancelledError, Ack]

    stage.tell(story)
    assert stage.stored() == {(0, 0): [1, 2, 3]}


# ---- beside the commits ----


def test_what_a_writer_did(stage: Stage) -> None:
    source = stage.producer()

    async def story(writer: Writer) -> None:
        await asyncio.gather(*(sent(writer, source.fragment()) for _ in range(3)))
        report = await writer.report()
        assert (report.writer_id, report.fragments, report.rows) == ("w0.0", 3, {"steps": 12, "episodes": 4})
        assert report.commits >= 1
        assert 0 < report.commit_high_s <= report.commit_s
        assert report.held_high_bytes >= sum(f.get_total_buffer_size() for f in source.fragment().batches.values())
        assert report.bytes["steps"] == sum(p.stat().st_size for p in stage.run.table("steps").glob("*.parquet"))
        assert report.cpu_s > 0

    stage.tell(story)


def test_the_catalog_is_published_now_and_then_and_never_twice_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = stage.producer()
    published: list[Path] = []
    going_on = 0

    def publish(lake: Path) -> None:
        nonlocal going_on
        going_on += 1
        assert going_on == 1
        published.append(lake)
        going_on -= 1
        if len(published) == 1:
            raise DiskFull("no room for a catalog")

    async def often(writer: Writer) -> None:
        for _ in range(4):
            await sent(writer, source.fragment())
            while writer._publishing is not None and not writer._publishing.done():
                await asyncio.sleep(0)

    stage.tell(often, publish=publish)
    assert published == [], "ten seconds have not passed"
    monkeypatch.setattr(Writer, "catalog_every_s", 0.0)
    stage.tell(often, publish=publish)
    assert published == [stage.run.path.parent.parent] * 4
    assert [r.getMessage() for r in caplog.records] == ["The catalog could not be published: no room for a catalog"]
