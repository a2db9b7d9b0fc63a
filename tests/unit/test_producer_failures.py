"""A producer whose storage, writer, link or rows fail: who hears of it, and what goes on."""

from __future__ import annotations

import pytest

from rolltape.actors.producer import HEARTBEAT_S, WAIT_S
from rolltape.actors.window import LAST_WORD_S, RETRY_PAUSE_S
from rolltape.schema.errors import DiskFull, RunFailed, SchemaMismatch, WriterStalled
from tests.producer_scene import Scene


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
