"""The producer: what the stepping thread and the pump do together, one turn at a time, and then with real threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rolltape.actors.page import SEQUENCE
from rolltape.actors.producer import HEARTBEAT_S, WAIT_S, Producer
from rolltape.actors.window import LAST_WORD_S, RETRY_PAUSE_S
from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import DiskFull, RunFailed, SchemaMismatch, WriterStalled
from rolltape.schema.messages import Ack, ProducerKey, Registration, Watermark
from tests.fakes import RUN_ID, Clock, FakeHub, FakeLink, FakeRows, MemoryPage, durable

KEY = ProducerKey(0, 0)


class Scene:
    """A producer without its pump: `turn` is a turn of it, also whenever the stepping thread waits.

    The pump takes a full fragment at once if it can. Otherwise waiting takes `WAIT_S` of the clock, `waits` counts it,
    and `meanwhile` is called, which may answer calls.
    """

    def __init__(self, **config: Any) -> None:
        self.clock, self.link, self.page = Clock(), FakeLink(), MemoryPage()
        self.hub, self.rows = FakeHub(self.link), FakeRows(self.clock)
        self.producer = Producer(
            Registration(KEY, RUN_ID, 0, 1),
            self.rows,  # type: ignore[arg-type]
            self.page,  # type: ignore[arg-type]
            self.link,  # type: ignore[arg-type]
            self.hub,  # type: ignore[arg-type]
            RecordConfig.of(**config),
            clock=self.clock,
            counter_ns=lambda: int(self.clock() * 1e9),
        )
        self.waits = 0
        self.meanwhile: Any = lambda: None
        self.producer.lock.wait = self._wait  # type: ignore[method-assign]
        self.producer.register()

    def _wait(self, timeout: float | None = None) -> bool:
        self.producer.mutex.release()
        try:
            self.producer.turn()
            if (self.producer._wanted or self.producer._draining) and self.producer.failed is None:
                self.waits += 1
                assert self.waits < 1000, "waits for ever"
                self.clock.advance(timeout or 0.0)
                self.meanwhile()
                self.producer.turn()
        finally:
            self.producer.mutex.acquire()
        return True

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.producer.turn()

    def step(self, n: int = 1, full: bool = False) -> None:
        with self.producer.mutex:
            if self.rows.step(n) or full:
                self.producer.flush()

    def answer(self, call: int, answer: Ack | BaseException) -> None:
        self.link.answers[self.link.handles[call]] = answer

    def commit(self) -> None:
        """Everything that was sent is durable."""
        for sent, handle in zip(self.link.sent, self.link.handles, strict=True):
            self.link.answers.setdefault(handle, durable(sent.sequence, 0.1))

    def numbers(self) -> list[int]:
        """The rows that were sent, without what was sent again."""
        seen = {sent.sequence: payload for sent, payload in zip(self.link.sent, self.link.payloads, strict=True)}
        return [n for sequence in sorted(seen) for n in seen[sequence]["steps"].column("number").to_pylist()]


def test_a_full_fragment_is_sent_at_once() -> None:
    scene = Scene()
    scene.step(3)
    scene.step(2, full=True)
    assert [(h.sequence, h.steps, h.steps_total) for h in scene.link.sent] == [(1, 5, 5)]
    assert scene.page.words[SEQUENCE] == 1
    scene.step(1, full=True)
    assert [(h.sequence, h.steps, h.steps_total) for h in scene.link.sent] == [(1, 5, 5), (2, 1, 6)]
    assert scene.numbers() == list(range(6))
    assert scene.link.sent[0].nbytes == 40


def test_an_old_fragment_is_sent_by_the_pump() -> None:
    scene = Scene()
    scene.step(3)
    scene.turn(0.4)
    assert scene.link.sent == []
    scene.turn(0.1)
    assert scene.link.sequences == [1]
    assert scene.link.sent[0].closed_ns - scene.link.sent[0].opened_ns == pytest.approx(5e8)
    scene.turn(10)
    assert scene.link.sequences == [1]


def test_an_old_fragment_waits_for_room() -> None:
    scene = Scene()
    scene.hub.budget_bytes = 45
    scene.turn(HEARTBEAT_S)
    scene.turn()
    scene.step(4, full=True)
    scene.step(2)
    scene.turn(1)
    assert scene.link.sequences == [1]
    scene.commit()
    scene.turn()
    assert scene.link.sequences == [1, 2]


def test_a_full_fragment_waits_for_room_while_the_next_is_filled() -> None:
    scene = Scene()
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = 40
    scene.step(4, full=True)
    scene.step(4, full=True)
    assert (scene.link.sequences, scene.waits) == ([1], 0)
    scene.step(3)
    scene.turn(10)
    assert scene.link.sequences == [1]
    scene.commit()
    scene.turn()
    assert [h.steps for h in scene.link.sent] == [4, 4]
    scene.commit()
    scene.turn()
    assert scene.numbers() == list(range(11))


def test_a_second_full_fragment_holds_the_environment_until_there_is_room() -> None:
    scene = Scene()
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = 40
    scene.step(4, full=True)
    scene.step(4, full=True)
    commits = iter([False, False, True])
    waited: list[float] = []

    def meanwhile() -> None:
        waited.append(scene.producer._heartbeat().waited_s)
        if next(commits):
            scene.commit()

    scene.meanwhile = meanwhile
    scene.step(4, full=True)
    assert waited == pytest.approx([0, WAIT_S, 2 * WAIT_S]), "it is told while it lasts"
    assert scene.link.sequences == [1, 2]
    assert scene.waits == 3
    assert scene.link.hurried == 3, "a writer that was restarted has to be told again"
    scene.turn(HEARTBEAT_S)
    assert scene.hub.beats[-1].waited_s == pytest.approx(3 * WAIT_S)
    assert scene.hub.beats[-1].inflight_bytes == 32
    scene.commit()
    scene.turn()
    assert scene.numbers() == list(range(12))


def test_rows_that_come_while_large_batches_are_made_are_in_the_next_fragment() -> None:
    scene = Scene()
    scene.rows.row_bytes = 4 << 20
    hold = scene.link.hold

    def meanwhile(batches: Any) -> Any:
        scene.rows.step(2)  # the pump does not hold the lock
        assert scene.producer.mutex.acquire(blocking=False)
        scene.producer.mutex.release()
        return hold(batches)

    scene.link.hold = meanwhile  # type: ignore[method-assign]
    scene.step(3, full=True)
    scene.link.hold = hold  # type: ignore[method-assign]
    scene.step(1, full=True)
    assert [h.steps for h in scene.link.sent] == [3, 3]
    assert scene.numbers() == list(range(6))


def test_one_fragment_may_be_larger_than_the_budget() -> None:
    scene = Scene()
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = 1
    scene.step(100, full=True)
    assert (scene.link.sequences, scene.waits) == ([1], 0)


def test_too_old_unacknowledged_rows_hold_the_environment() -> None:
    scene = Scene(budget={"max_unacked_age_s": 5.0})
    scene.step(1)
    scene.turn(0.5)
    scene.clock.advance(4.5)
    scene.step(1, full=True)
    assert scene.link.sequences == [1]
    commits = iter([False, True])
    scene.meanwhile = lambda: next(commits) and scene.commit()
    scene.step(1, full=True)
    assert (scene.waits, scene.link.sequences[:2]) == (2, [1, 2])


def test_rows_in_a_fragment_that_is_never_full_are_no_older_than_may_be() -> None:
    scene = Scene(budget={"max_unacked_age_s": 5.0})
    began = scene.clock()
    scene.meanwhile = lambda: scene.clock() - began >= 60 and scene.commit()
    while scene.clock() - began < 60:
        scene.step(1)
        scene.turn(0.1)
    made_late = 60 - 5.0
    assert scene.waits * WAIT_S > made_late - 2, "a writer that stands still holds the environment, not its fragments"
    assert scene.rows.steps <= 5.0 / 0.1 + 5
    scene.commit()
    for _ in range(3):
        scene.turn()
        scene.commit()
    before, waits = scene.rows.steps, scene.waits
    for _ in range(10):
        scene.step(1)
        scene.turn(0.01)
    assert (scene.rows.steps, scene.waits) == (before + 10, waits), "and it goes on as before"
    assert not scene.rows.hastened


def test_a_writer_at_a_tenth_of_the_speed_keeps_the_memory_flat() -> None:
    budget, each, full = 4000, 80, 800
    scene = Scene()
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = budget
    written = scene.clock()
    most = 0

    def writer() -> None:
        """Makes a tenth of what the environment could produce durable: 80 bytes a second of 800."""
        nonlocal written
        for sent, handle in zip(scene.link.sent, scene.link.handles, strict=True):
            if handle not in scene.link.answers and scene.clock() - written >= sent.nbytes / each:
                written += sent.nbytes / each
                scene.link.answers[handle] = durable(sent.sequence, 10.0)

    scene.meanwhile = writer
    began = scene.clock()
    while scene.clock() - began < 600:
        scene.waits = 0
        scene.step(10, full=scene.rows.nbytes + each >= full)
        scene.turn(0.1)
        writer()
        sealed = scene.producer._sealed
        most = max(most, scene.producer._window.inflight_bytes + scene.rows.nbytes + (sealed.nbytes if sealed else 0))
    assert most <= budget + 2 * full
    assert scene.rows.steps * 8 < 1.2 * 600 * each + most, "it steps as fast as is written"
    assert scene.rows.steps * 8 > 0.8 * 600 * each


def test_drain_waits_until_all_is_durable() -> None:
    scene = Scene()
    scene.step(3)
    commits = iter([False, True])
    scene.meanwhile = lambda: next(commits) and scene.commit()
    scene.producer.drain()
    assert scene.link.sequences == [1]
    assert scene.link.hurried >= 1
    assert scene.producer._window.durable == Watermark(1, 3, 0)
    assert scene.rows.aborted == 0
    scene.producer.drain()
    assert scene.link.sequences == [1]


def test_drain_gives_up_after_its_time() -> None:
    scene = Scene()
    scene.step(3)
    with pytest.raises(RunFailed, match=r"1 fragments of p0\.0 were not durable within 2 s"):
        scene.producer.drain(timeout_s=2.0)
    scene.commit()
    scene.producer.drain(timeout_s=2.0)


def test_close_sends_the_rest_and_says_so() -> None:
    scene = Scene()
    scene.step(3)
    scene.meanwhile = scene.commit
    totals = scene.producer.close()
    assert (totals.steps, totals.durable_steps) == (3, 3)
    assert scene.rows.aborted == 1
    last = scene.hub.beats[-1]
    assert (last.done, last.steps, last.durable.steps) == (True, 3, 3)


def test_a_hub_that_is_gone_does_not_keep_a_producer_from_closing() -> None:
    scene = Scene()
    scene.step(3)
    scene.meanwhile = scene.commit
    scene.hub.gone = True
    scene.hub.beat = lambda _: (_ for _ in ()).throw(ConnectionError("no hub"))  # type: ignore[method-assign]
    assert scene.producer.close().durable_steps == 3


# ---- what fails ----


def test_storage_errors_reach_the_environment_with_its_next_step() -> None:
    """Not with its next full fragment: a slow environment would fill that in hours."""
    scene = Scene()
    scene.step(1)
    scene.turn(0.5)
    scene.answer(0, error := DiskFull("no room"))
    scene.turn()
    with pytest.raises(DiskFull) as raised:
        scene.step(1)
    assert raised.value is error is scene.producer.failed
    for call in (scene.producer.drain, scene.producer.close):
        with pytest.raises(DiskFull):
            call()
    scene.producer.shut()
    assert scene.hub.beats[-1].done


def test_who_waits_for_room_hears_of_errors() -> None:
    scene = Scene()
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = 1
    scene.step(1, full=True)
    scene.step(1, full=True)
    scene.meanwhile = lambda: scene.answer(0, DiskFull("no room"))
    with pytest.raises(DiskFull):
        scene.step(1, full=True)
    assert scene.waits == 1


def test_a_stalled_writer_ends_it() -> None:
    scene = Scene(budget={"give_up_s": 20.0, "max_unacked_age_s": 5.0})
    scene.step(1, full=True)
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = 1
    scene.step(1, full=True)
    with pytest.raises(WriterStalled, match=r"acknowledged nothing of producer p0\.0 for 30 s"):
        scene.step(1, full=True)
    assert scene.waits * WAIT_S == pytest.approx(20 + LAST_WORD_S, abs=2 * WAIT_S)


@pytest.mark.parametrize("error", [SchemaMismatch("a column"), MemoryError("no room")])
def test_a_fragment_that_cannot_be_closed_is_never_closed_in_part(error: Exception) -> None:
    """What `close` took out of the rows is gone: a second try would send columns that do not belong together."""
    scene = Scene()
    scene.rows.broken = error
    with pytest.raises((SchemaMismatch, RunFailed), match=str(error)):
        scene.step(1, full=True)
    scene.rows.broken = None
    with pytest.raises((SchemaMismatch, RunFailed), match=str(error)):
        scene.step(1)
    with pytest.raises((SchemaMismatch, RunFailed), match=str(error)):
        scene.producer.close()
    assert scene.link.sent == []


def test_a_link_that_cannot_send_ends_it() -> None:
    """The sequence number is used up: what came after it would be refused for ever."""
    scene = Scene()
    scene.link.broken = ConnectionError("store full")
    with pytest.raises(RunFailed, match="ConnectionError: store full"):
        scene.step(1, full=True)
    scene.link.broken = None
    with pytest.raises(RunFailed):
        scene.step(1)
    assert scene.link.sent == []


def test_the_pump_survives_what_it_can() -> None:
    scene = Scene()
    scene.step(2, full=True)
    scene.answer(0, ConnectionError("the writer was killed"))
    scene.turn()
    scene.turn(RETRY_PAUSE_S)
    assert scene.link.sequences == [1, 1]
    scene.commit()
    scene.turn()
    assert len(scene.producer._window) == 0
    scene.turn(HEARTBEAT_S)
    assert scene.hub.beats[-1].resent == 1


# ---- the hub ----


def test_heartbeats_say_how_it_goes() -> None:
    scene = Scene()
    scene.step(4, full=True)
    scene.turn(HEARTBEAT_S / 2)
    assert scene.hub.beats == []
    scene.turn(HEARTBEAT_S / 2)
    (beat,) = scene.hub.beats
    assert (beat.key, beat.steps, beat.inflight_bytes, beat.durable) == (KEY, 4, 32, Watermark())
    assert beat.rate_bytes_s == pytest.approx(32 / HEARTBEAT_S)
    scene.commit()
    scene.turn(1)
    scene.turn(1)
    beat = scene.hub.beats[-1]
    assert (beat.durable, beat.inflight_bytes, beat.inflight_high_bytes) == (Watermark(1, 4, 0), 0, 32)
    assert (beat.rate_bytes_s, beat.commit_s) == (0.0, 0.1)
    assert beat.lag_s == pytest.approx(HEARTBEAT_S + 1)


def test_only_one_heartbeat_is_on_its_way() -> None:
    scene = Scene()
    scene.hub.wait = lambda handles, timeout_s, bell: []  # type: ignore[method-assign]
    for _ in range(5):
        scene.turn(HEARTBEAT_S)
    assert len(scene.hub.beats) == 1


def test_the_hub_sets_the_budget_and_stops() -> None:
    scene = Scene()
    scene.hub.budget_bytes, scene.hub.stop = 77, True
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert scene.producer._window.budget_bytes == 77
    assert scene.producer.stop_asked
    scene.hub.stop = False
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert scene.producer.stop_asked


def registered_again(scene: Scene) -> list[Registration]:
    if scene.producer._registering is not None:
        scene.producer._registering.join()
    return scene.hub.registered[1:]


def test_a_new_hub_is_told_what_is_durable() -> None:
    scene = Scene()
    scene.step(4, full=True)
    scene.commit()
    scene.turn()
    scene.hub.epoch, scene.hub.known = "second", False
    scene.turn(HEARTBEAT_S)
    scene.turn()
    (again,) = registered_again(scene)
    assert (again.key, again.watermark) == (KEY, Watermark(1, 4, 0))
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert len(registered_again(scene)) == 1


def test_a_hub_that_dies_while_it_is_told_is_told_again() -> None:
    scene = Scene()
    scene.hub.epoch, scene.hub.known = "second", False
    register, scene.hub.register = scene.hub.register, failing  # type: ignore[method-assign]
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert registered_again(scene) == []
    scene.hub.register = register  # type: ignore[method-assign]
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert len(registered_again(scene)) == 1


def failing(*_: Any) -> Any:
    raise ConnectionError("no hub")


def test_a_hub_that_is_gone_changes_nothing() -> None:
    scene = Scene()
    budget = scene.producer._window.budget_bytes
    scene.hub.gone = True
    scene.step(3)
    for _ in range(4):
        scene.turn(HEARTBEAT_S)
    assert scene.link.sequences == [1]
    assert scene.producer._window.budget_bytes == budget
    assert len(scene.hub.beats) >= 2
    scene.hub.gone, scene.hub.budget_bytes = False, 5
    scene.turn(HEARTBEAT_S)
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert scene.producer._window.budget_bytes == 5


# ---- real threads ----


class Threads(Scene):
    """The pump runs; every call is durable as soon as it is made, or as `answering` says."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        del self.producer.lock.wait
        self.answering = threading.Event()
        self.answering.set()
        self.hub.before_wait = self._answer
        self.producer.start()

    def _answer(self) -> None:
        if self.answering.wait(0.001):
            self.commit()


def test_threads_lose_nothing() -> None:
    scene = Threads(fragment={"max_age_s": 0.001})
    scene.hub.budget_bytes = scene.producer._window.budget_bytes = 100
    for k in range(100):
        scene.step(1, full=k % 7 == 0)
    assert scene.producer.close().durable_steps == 100
    assert scene.numbers() == list(range(100))
    assert not scene.producer._pump.is_alive()


def test_a_stepping_thread_that_waits_is_woken() -> None:
    """By the answer, not by the end of its sleep."""
    scene = Threads()
    scene.answering.clear()
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = 1
    scene.step(1, full=True)
    scene.step(1, full=True)
    threading.Timer(0.01, scene.answering.set).start()
    woken = threading.Event()
    wait = scene.producer.lock.wait
    scene.producer.lock.wait = lambda timeout=None: wait(60) and not woken.set()  # type: ignore[method-assign]
    scene.step(1, full=True)
    assert woken.is_set()
    scene.producer.close()


@pytest.mark.parametrize("error", [ValueError("a defect"), SystemExit("stop"), DiskFull("no room")])
def test_a_pump_that_breaks_wakes_the_stepping_thread(error: BaseException) -> None:
    scene = Threads()
    scene.answering.clear()
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = 1
    scene.step(1, full=True)
    scene.step(1, full=True)
    wait = scene.producer.lock.wait
    scene.producer.lock.wait = lambda timeout=None: wait(60)  # type: ignore[method-assign]

    def breaks() -> None:
        raise error

    threading.Timer(0.01, lambda: setattr(scene.hub, "before_wait", breaks)).start()
    with pytest.raises((RunFailed, DiskFull), match=str(error)) as raised:
        scene.step(1, full=True)
    if not isinstance(error, DiskFull):
        assert raised.value.__cause__ is error
    scene.hub.before_wait = lambda: None
    scene.producer.shut()


def test_an_interrupt_never_comes_between_sealing_and_sending() -> None:
    """It goes to the main thread, which only waits: it can be interrupted, and go on later."""
    scene = Threads()

    def interrupted(timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    scene.producer.lock.wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        scene.step(5, full=True)
    del scene.producer.lock.wait
    scene.producer.drain()
    assert scene.numbers() == list(range(5))
    scene.answering.clear()
    scene.producer._window.budget_bytes = scene.hub.budget_bytes = 1
    scene.step(1, full=True)
    scene.step(1, full=True)
    scene.producer.lock.wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        scene.step(1, full=True)
    del scene.producer.lock.wait
    scene.answering.set()
    scene.step(1, full=True)
    assert scene.producer.close().durable_steps == 9
    assert scene.numbers() == list(range(9))
