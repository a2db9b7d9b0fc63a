"""The doorbell: it wakes who waits for futures, and is never missed."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from rolltape.actors.doorbell import Doorbell


def test_a_bell_that_was_rung_before_is_heard_once() -> None:
    bell, pending = Doorbell(), Future[Any]()
    bell.ring()
    bell.ring()
    assert bell.wait([pending], 60) == []
    assert bell.wait([pending], 0) == []
    bell.ring()
    assert bell.wait([], 60) == []


def test_what_is_done_is_told_also_when_the_bell_rings() -> None:
    bell, pending, done = Doorbell(), Future[Any](), Future[Any]()
    done.set_result(1)
    assert bell.wait([pending, done], 60) == [done]
    bell.ring()
    assert bell.wait([pending, done], 60) == [done]
    pending.set_exception(ValueError())
    assert set(bell.wait([pending, done], 60)) == {pending, done}


def test_another_thread_wakes_who_waits() -> None:
    bell, woken = Doorbell(), threading.Event()

    def waits() -> None:
        bell.wait([Future()], 60)
        woken.set()

    waiter = threading.Thread(target=waits)
    waiter.start()
    bell.ring()
    waiter.join(30)
    assert woken.is_set()
