"""The producer: what the stepping thread and the pump do together, one turn at a time."""

from __future__ import annotations

from typing import Any

import pytest

from rolltape.actors.page import SEQUENCE
from rolltape.actors.producer import HEARTBEAT_S, WAIT_S
from rolltape.schema.errors import RunFailed
from rolltape.schema.messages import Watermark
from tests.fakes import durable
from tests.producer_scene import Scene


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
