"""A producer's window against a writer that dies and comes back at any moment with no more than it committed.

The writer is `Sequences`, as the real one has it; the network delays, reorders and loses. Whatever happens, every
fragment is committed once and in order, what is acknowledged is committed, and when the trouble ends all becomes durable.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rolltape.actors.window import RETRY_PAUSE_S, Window
from rolltape.schema.config import BudgetConfig
from rolltape.schema.messages import Ack, FragmentHeader, ProducerKey, Watermark
from rolltape.storage.sequences import Duplicate, FencedKey, Refused, Sequences, watermark_after
from tests.fakes import Clock, FakeLink, header

KEY = ProducerKey(0, 0)


class ModelWriter:
    """What it holds, and the calls that wait for a commit. `committed` is the disk: it outlives the process."""

    def __init__(self) -> None:
        self.committed: list[FragmentHeader] = []
        self.start()

    def start(self) -> None:
        mark = watermark_after(self.committed[-1]) if self.committed else Watermark()
        self.sequences = Sequences({KEY: mark} if self.committed else {})
        self.pending: list[FragmentHeader] = []
        self.waiting: list[tuple[int, object]] = []

    def append(self, fragment: FragmentHeader, handle: object) -> Ack | None:
        """The answer; None: after a commit."""
        answer = self.sequences.judge(fragment)
        if isinstance(answer, Refused):
            return Ack("refused", KEY, fragment.sequence, expected=answer.expected)
        assert not isinstance(answer, FencedKey)
        if isinstance(answer, Duplicate):
            if answer.durable:
                return Ack("durable", KEY, fragment.sequence)
        else:
            self.sequences.accept(fragment)
            self.pending.append(fragment)
        self.waiting.append((fragment.sequence, handle))
        return None

    def commit(self) -> list[tuple[object, Ack]]:
        """The calls that are answered."""
        self.committed += self.pending
        if self.pending:
            self.sequences.committed({KEY: watermark_after(self.pending[-1])})
        self.pending = []
        answered = [(handle, Ack("durable", KEY, sequence)) for sequence, handle in self.waiting]
        self.waiting = []
        return answered


class WindowAgainstWriter(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock, self.link, self.writer = Clock(), FakeLink(), ModelWriter()
        config = BudgetConfig(give_up_s=86_000, max_unacked_age_s=3600)
        self.window = Window(KEY, self.link, config, budget_bytes=80, clock=self.clock)
        self.made = 0
        self.arrived = 0
        self.on_the_way: list[int] = []
        self.lost: list[object] = []

    def _sent(self) -> None:
        """Calls that were made since the last look travel to the writer."""
        self.on_the_way += range(self.arrived, len(self.link.sent))
        self.arrived = len(self.link.sent)

    @rule(nbytes=st.integers(1, 40))
    def push(self, nbytes: int) -> None:
        if self.window.fits(nbytes):
            self.made += 1
            self.window.push(header(self.made, nbytes), {}, self.clock())
            self._sent()

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), overtakes=st.booleans())
    def deliver(self, data: st.DataObject, overtakes: bool) -> None:
        place = data.draw(st.integers(0, len(self.on_the_way) - 1)) if overtakes else 0
        call = self.on_the_way.pop(place)
        handle = self.link.handles[call]
        if (answer := self.writer.append(self.link.sent[call], handle)) is not None:
            self._answer(handle, answer)

    @precondition(lambda self: self.on_the_way)
    @rule()
    def lose_a_call(self) -> None:
        self._answer(self.link.handles[self.on_the_way.pop(0)], ConnectionError("lost"))

    @rule(late=st.integers(0, 3))
    def commit(self, late: int) -> None:
        """The newest `late` answers are lost: their callers only hear that the call is broken."""
        answered = self.writer.commit()
        for place, (handle, ack) in enumerate(answered):
            if place < len(answered) - late:
                self._answer(handle, ack)
            else:
                self.lost.append(handle)

    @precondition(lambda self: self.lost)
    @rule()
    def break_a_call(self) -> None:
        self._answer(self.lost.pop(0), ConnectionError("no answer"))

    @rule()
    def die(self) -> None:
        self.lost += [handle for _, handle in self.writer.waiting]
        self.writer.start()

    @rule()
    def die_after_the_commit(self) -> None:
        self.lost += [handle for handle, _ in self.writer.commit()]
        self.writer.start()

    @rule(seconds=st.sampled_from([0.01, RETRY_PAUSE_S]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.window.tick()
        self._sent()

    def _answer(self, handle: object, answer: Ack | BaseException) -> None:
        self.link.answers[handle] = answer
        self.window.answered(handle)

    @invariant()
    def committed_once_and_in_order(self) -> None:
        assert [f.sequence for f in self.writer.committed] == list(range(1, len(self.writer.committed) + 1))

    @invariant()
    def acknowledged_is_committed(self) -> None:
        assert self.window.durable.sequence <= len(self.writer.committed)
        assert self.window.durable.steps == 2 * self.window.durable.sequence

    @invariant()
    def bytes_are_those_of_what_is_on_its_way(self) -> None:
        unacked = {h.sequence: h.nbytes for h in self.link.sent if h.sequence > self.window.durable.sequence}
        assert len(self.window) == self.made - self.window.durable.sequence
        assert self.window.inflight_bytes >= sum(unacked.values())
        assert self.window.inflight_bytes <= 80 or len(self.window) == 1
        assert self.window.failed is None

    def teardown(self) -> None:
        for _ in range(3):
            while self.lost:
                self.break_a_call()
            self.wait(RETRY_PAUSE_S)
            while self.on_the_way:
                call = self.on_the_way.pop(0)
                if (answer := self.writer.append(self.link.sent[call], self.link.handles[call])) is not None:
                    self._answer(self.link.handles[call], answer)
            for handle, ack in self.writer.commit():
                self._answer(handle, ack)
        assert len(self.window) == 0
        assert len(self.writer.committed) == self.made == self.window.durable.sequence
        self.committed_once_and_in_order()


WindowAgainstWriter.TestCase.settings = settings(max_examples=30, stateful_step_count=40)
TestWindowAgainstWriter = WindowAgainstWriter.TestCase


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_for_a_long_time() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(WindowAgainstWriter, settings=settings(max_examples=5000, stateful_step_count=60))
