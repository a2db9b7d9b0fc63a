"""A producer, its link and its hub, moved by hand: no threads, and a clock that goes where it is told."""

from __future__ import annotations

from typing import Any

from rolltape.actors.producer import Producer
from rolltape.schema.config import RecordConfig
from rolltape.schema.messages import Ack, ProducerKey, Registration
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
