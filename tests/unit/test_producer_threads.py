"""The producer with its real pump: nothing is lost, who waits is woken, and an interrupt comes between nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rolltape.schema.errors import DiskFull, RunFailed
from tests.producer_scene import Scene


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
