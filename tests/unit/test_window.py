"""Fragments on their way: go-back-N, budget, age, and when to give up."""

from __future__ import annotations

import pytest

from rolltape.actors.window import LAST_WORD_S, RETRY_PAUSE_S, Window
from rolltape.schema.config import BudgetConfig
from rolltape.schema.errors import DiskFull, Fenced, LakeNotWritable, RunFailed, WriterStalled
from rolltape.schema.messages import Ack, ProducerKey, Watermark
from tests.fakes import Clock, FakeLink, durable, header

KEY = ProducerKey(0, 0)


class Sent:
    """A window with fragments 1 to n in it."""

    def __init__(self, n: int, *, budget_bytes: int = 1000, **budget: float) -> None:
        self.clock, self.link = Clock(), FakeLink()
        config = BudgetConfig(**({"give_up_s": 60.0} | budget))
        self.window = Window(KEY, self.link, config, budget_bytes=budget_bytes, clock=self.clock)
        for sequence in range(1, n + 1):
            self.push(sequence)

    def push(self, sequence: int, nbytes: int = 10) -> None:
        self.window.push(header(sequence, nbytes), {}, self.clock())

    def answer(self, call: int, answer: Ack | BaseException) -> None:
        """The `call`-th call, from 0 and counted over everything that was sent, is answered."""
        handle = self.link.handles[call]
        self.link.answers[handle] = answer
        self.window.answered(handle)

    def pause(self) -> None:
        self.clock.advance(RETRY_PAUSE_S)
        self.window.tick()


def refused(expected: int) -> Ack:
    return Ack("refused", KEY, 0, expected=expected)


def test_fragments_are_sent_at_once_and_kept_until_durable() -> None:
    sent = Sent(3)
    assert sent.link.sequences == [1, 2, 3]
    assert sent.window.handles == sent.link.handles
    assert (len(sent.window), sent.window.inflight_bytes) == (3, 30)
    sent.answer(0, durable(1))
    assert (len(sent.window), sent.window.inflight_bytes) == (2, 20)
    assert sent.window.durable == Watermark(1, 2, 0)
    assert sent.window.inflight_high_bytes == 30


def test_an_answer_covers_all_before_it() -> None:
    sent = Sent(3)
    sent.answer(1, durable(2))
    assert sent.window.durable.sequence == 2
    sent.answer(0, durable(1))
    assert (sent.window.durable.sequence, len(sent.window)) == (2, 1)


@pytest.mark.parametrize("answer", [refused(1), RuntimeError("the writer died"), ConnectionError()])
def test_a_refused_or_broken_call_sends_everything_again(answer: Ack | BaseException) -> None:
    sent = Sent(3)
    sent.answer(0, durable(1))
    sent.answer(1, answer)
    assert sent.window.handles == []
    sent.push(4)
    sent.window.tick()
    assert sent.link.sequences == [1, 2, 3]
    sent.pause()
    assert sent.link.sequences == [1, 2, 3, 2, 3, 4]
    assert sent.window.resent == 3
    sent.answer(5, durable(4))
    assert (len(sent.window), sent.window.inflight_bytes) == (0, 0)


def test_calls_that_were_given_up_count_only_if_durable() -> None:
    sent = Sent(3)
    sent.answer(2, refused(2))
    sent.answer(0, RuntimeError())
    sent.answer(1, refused(1))
    sent.pause()
    assert sent.link.sequences == [1, 2, 3, 1, 2, 3]
    for late in (refused(1), RuntimeError("late")):
        sent.answer(1, late)
    assert len(sent.window.handles) == 3
    sent.answer(1, durable(2))
    assert sent.window.durable.sequence == 2
    assert sent.window.handles == sent.link.handles[5:]
    sent.answer(3, durable(1))
    sent.answer(5, durable(3))
    assert len(sent.window) == 0


def test_a_late_answer_during_the_pause() -> None:
    sent = Sent(2)
    sent.answer(0, RuntimeError())
    sent.answer(1, durable(2))
    assert len(sent.window) == 0
    sent.push(3)
    sent.pause()
    assert sent.link.sequences == [1, 2, 3]


def test_one_fragment_may_always_be_on_its_way() -> None:
    sent = Sent(0, budget_bytes=5)
    assert sent.window.fits(1 << 40)
    sent.push(1)
    assert not sent.window.fits(0)
    sent.answer(0, durable(1))
    assert sent.window.fits(1 << 40)


def test_bytes_fit_up_to_the_budget() -> None:
    sent = Sent(2, budget_bytes=30)
    assert sent.window.fits(10)
    assert not sent.window.fits(11)
    sent.window.budget_bytes = 31
    assert sent.window.fits(11)


def test_nothing_is_sent_while_the_oldest_is_too_old() -> None:
    sent = Sent(1, max_unacked_age_s=30.0)
    sent.clock.advance(29.9)
    sent.push(2)
    assert sent.window.fits(1)
    sent.clock.advance(0.1)
    assert not sent.window.fits(1)
    sent.answer(0, durable(1))
    assert sent.window.fits(1)  # the second is young


def test_it_gives_up_when_nothing_is_acknowledged() -> None:
    sent = Sent(2)
    sent.clock.advance(69)
    sent.answer(0, durable(1))
    sent.clock.advance(60 + LAST_WORD_S)
    sent.window.tick()
    sent.window.raise_if_failed()
    sent.answer(1, RuntimeError("no such actor"))
    sent.clock.advance(0.5)
    sent.window.tick()
    with pytest.raises(WriterStalled, match=r"p0\.0 for 70 s; 1 fragments.*budget\.give_up_s.*no such actor"):
        sent.window.raise_if_failed()
    with pytest.raises(WriterStalled):
        sent.push(3)


def test_time_in_which_nothing_was_sent_does_not_count() -> None:
    sent = Sent(1)
    sent.answer(0, durable(1))
    sent.clock.advance(1000)
    sent.window.tick()
    sent.push(2)
    sent.window.tick()
    sent.window.raise_if_failed()


@pytest.mark.parametrize("error", [DiskFull("no room"), LakeNotWritable("no rights"), RunFailed("other")])
def test_what_the_writer_says_ends_it(error: Exception) -> None:
    sent = Sent(2)
    sent.answer(0, error)
    with pytest.raises(type(error)) as raised:
        sent.window.raise_if_failed()
    assert raised.value is error
    sent.answer(1, Fenced("too late"))
    assert sent.window.failed is error, "the first error is the reason"


def test_who_is_fenced_stops() -> None:
    sent = Sent(1)
    sent.answer(0, Ack("fenced", KEY, 1))
    with pytest.raises(Fenced, match=r"p0\.0 was replaced"):
        sent.window.raise_if_failed()


def test_a_failed_window_sends_nothing_more() -> None:
    sent = Sent(2)
    sent.answer(1, RuntimeError())
    sent.window.fail(DiskFull("no room"))
    sent.pause()
    assert sent.link.sequences == [1, 2]


def test_ages_and_latencies() -> None:
    sent = Sent(1)
    sent.clock.advance(2)
    sent.push(2)
    sent.clock.advance(1)
    sent.answer(0, durable(1, commit_s=0.7))
    assert (sent.window.lag_s, sent.window.lag_high_s, sent.window.commit_s) == (3, 3, 0.7)
    sent.answer(1, durable(2, commit_s=0.2))
    assert (sent.window.lag_s, sent.window.lag_high_s, sent.window.commit_s) == (1, 3, 0.2)


def test_a_duplicates_answer_says_nothing_of_latency() -> None:
    sent = Sent(2)
    sent.answer(0, durable(1, commit_s=0.7))
    sent.answer(1, durable(2))
    assert sent.window.commit_s == 0.7


def test_hurry_waits_for_fragments_to_be_sent() -> None:
    sent = Sent(1)
    sent.window.hurry()
    assert sent.link.hurried == 1
    sent.answer(0, RuntimeError())
    sent.window.hurry()
    assert sent.link.hurried == 1
    sent.pause()
    sent.window.hurry()
    assert sent.link.hurried == 2
