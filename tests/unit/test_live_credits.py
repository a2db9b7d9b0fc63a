"""Credits, windows and pairs of the live path under any interleaving: nothing leaks, nothing flaps, all is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolltape.actors.control_log import ControlLog
from rolltape.actors.credit_pool import CreditPool
from rolltape.actors.early_buffer import EarlyBuffer
from rolltape.actors.frame_window import FrameWindow, depth_for
from rolltape.actors.live_pair import LivePair
from rolltape.schema.live_messages import ControlEvent
from tests.fakes import Clock

Said = list[tuple[str, int, float]]


def pool_of(size: int, said: Said | None = None, clock: Clock | None = None, low_water: int = 1) -> CreditPool:
    say = None if said is None else (lambda *what: said.append(what))
    return CreditPool(size, low_water, say=say, clock=clock or Clock())


def test_a_pool_as_it_is_by_default() -> None:
    pool = CreditPool(clock=Clock())
    assert (pool.credits, pool.resume_at, pool.is_low, pool.last_grant, pool.last_consume) == (
        200,
        100,
        False,
        None,
        None,
    )
    for sequence in range(1, 191):
        assert pool.consume(sequence)
    assert pool.is_low and not pool.is_starved and pool.credits == 10


def test_a_consumer_that_is_far_away_is_granted_more_up_to_the_cap() -> None:
    pool = CreditPool(20, 4, 40, clock=Clock())
    published, sizes = 0, []
    for _ in range(5):
        while not pool.is_low:
            published += 1
            assert pool.consume(published)
        assert pool.returned(published - 10)
        sizes.append(pool.size)
    assert sizes == [30, 40, 40, 40, 40] and pool.credits == 30 and pool.transitions == 0
    frozen = CreditPool(20, 4, 40, clock=Clock())
    assert [frozen.consume(n) for n in range(1, 22)] == [True] * 20 + [False]
    assert frozen.returned(20) == 20 and frozen.size == 20, "it froze: more would only be older"


def test_starved_at_none_and_resumed_at_half() -> None:
    said: Said = []
    clock = Clock()
    pool = pool_of(4, said, clock)
    assert [pool.consume(n) for n in (1, 2, 3, 4, 5)] == [True] * 4 + [False]
    clock.advance(3)
    assert pool.returned(1) == 1
    assert not pool.consume(6), "one credit is not half of four"
    assert pool.returned(2) == 1 and pool.consume(7)
    assert [(what, number) for what, number, _ in said] == [("STARVED", 1), ("RESUMED", 2)]
    assert (pool.starved_s, pool.transitions) == (3, 2)


def test_credits_return_up_to_what_was_shown_also_of_those_replaced() -> None:
    pool = pool_of(10)
    for sequence in (3, 4, 5, 9, 10):
        pool.consume(sequence)
    assert (pool.returned(4), pool.credits) == (2, 7)
    assert (pool.returned(4), pool.returned(8)) == (0, 1)
    assert (pool.returned(1000), pool.credits) == (2, 10)


def test_one_that_cannot_be_shown_gives_its_own_credit_back() -> None:
    pool = pool_of(10)
    for sequence in range(1, 6):
        pool.consume(sequence)
    assert [pool.discharge(n) for n in (3, 3, 9)] == [True, False, False]
    assert (pool.credits, pool.returned(4), pool.returned(5)) == (6, 3, 1)


def test_numbers_grow() -> None:
    pool = pool_of(10)
    pool.consume(5)
    with pytest.raises(ValueError, match="event 5 comes after event 5"):
        pool.consume(5)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(1, 3)),
        st.tuples(st.just("send"), st.just(0)),
        st.tuples(st.just("rendered"), st.integers(-3, 3)),
        st.tuples(st.just("fail"), st.just(0)),
        st.tuples(st.just("hide"), st.integers(0, 1)),
        st.tuples(st.just("leave"), st.sampled_from([0, 1])),
        st.tuples(st.just("back"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 3)),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(OPERATIONS, st.integers(1, 9), st.integers(1, 5), st.sampled_from([0.0, 1.5]))
def test_everything_is_shown_skipped_or_in_flight(
    operations: list[tuple[str, int]], size: int, depth: int, interval: float
) -> None:
    clock, said = Clock(), []
    pair = LivePair(pool_of(size, said, clock), FrameWindow(depth, clock=clock), clock=clock)
    pair.interval_s = interval
    sequence, sent, offered = 0, [], 0
    for what, value in operations:
        if what == "offer":
            sequence += value
            offered += pair.watching
            pair.offer(sequence)
        elif what == "send":
            if (found := pair.send()) is not None:
                assert not sent or found > max(sent), "never an older one after a newer one"
                sent.append(found)
        elif what == "rendered":
            pair.rendered((sent[-1] if sent else sequence) + value)
        elif what == "fail" and sent:
            pair.fail(sent[-1])
        elif what == "hide":
            pair.hide(bool(value))
        elif what == "leave" and pair.watching:
            pair.leave(("no_viewer", "disconnected")[value])
            sent.clear()
        elif what == "back" and not pair.watching:
            pair.come_back()
        elif what == "wait":
            clock.advance(value)
        pool = pair.pool
        assert pair.published == offered == pair.shown + sum(pair.skipped.values()) + pair.in_flight
        assert pair.window.under_way <= depth
        assert 0 <= pool.credits <= pool.size <= 2 * size
        assert pool.is_starved == (pool.transitions % 2 == 1)
        assert not pool.is_starved or pool.credits < pool.resume_at
        assert pool.credits > 0 or pool.is_starved
    assert [number for _, number, _ in said] == list(range(1, len(said) + 1))
    assert [word for word, _, _ in said] == ["STARVED" if n % 2 == 0 else "RESUMED" for n in range(len(said))]
    pair.rendered(sequence)
    if pair.in_flight == 0 and pair.watching and pair.send() is None and pair.shown and sequence in sent[-1:]:
        assert pair.pool.credits == pair.pool.size, "whoever has shown the newest has all credits back"


@given(st.integers(1, 60), st.integers(2, 30), st.integers(2, 16))
def test_a_slow_viewer_is_slow_and_not_starved(every: int, size: int, depth: int) -> None:
    """It shows one of `every` events, cumulatively; as long as that is within a pool, nobody says STARVED."""
    said: Said = []
    clock = Clock()
    pair = LivePair(pool_of(size, said, clock), FrameWindow(depth, clock=clock), clock=clock)
    sent = 0
    for sequence in range(1, 400):
        pair.offer(sequence)
        sent = pair.send() or sent
        if sequence % every == 0:
            pair.rendered(sent)
    if every * (depth + 2) <= size:
        assert said == []
    assert len(said) <= 2 * 400 // ((size + 1) // 2) + 1, "at most one pair for each half pool"


def test_a_frozen_viewer_starves_once_and_resumes_once() -> None:
    said: Said = []
    clock = Clock()
    pair = LivePair(pool_of(20, said, clock), FrameWindow(4, clock=clock), clock=clock)
    sent = [pair.send() for sequence in range(1, 101) if pair.offer(sequence)]
    assert [word for word, _, _ in said] == ["STARVED"]
    assert pair.skipped == {"no_credit": 80, "conflated": 15} and pair.in_flight == 5
    while (last := [n for n in sent if n][-1:]) and pair.rendered(last[0]).sequence:
        sent = [pair.send()]
    assert [word for word, _, _ in said] == ["STARVED", "RESUMED"] and pair.in_flight == 0
    assert pair.shown + sum(pair.skipped.values()) == 100


def test_one_answer_covers_what_the_viewer_replaced() -> None:
    clock = Clock()
    window = FrameWindow(3, clock=clock)
    for sequence in (1, 2, 5):
        assert window.offer(sequence) is None and window.send() == sequence
    clock.advance(0.5)
    assert window.offer(7) is None and window.send() is None and window.offer(8) == 7
    assert window.shown(4) == (2, 1, 0.5)
    assert window.shown(4) == (None, 0, 0.0)
    assert (window.send(), window.clear(), window.send()) == (8, 2, None)


def test_depth_follows_rate_and_latency() -> None:
    assert [depth_for(10, s) for s in (0.0, 0.04, 0.15, 5.0)] == [2, 2, 3, 16]
    assert depth_for(30, 0.15) == 6


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 12)), max_size=60))
def test_a_transition_is_taken_once_however_often_and_whenever_it_is_told(tells: list[tuple[int, int, int]]) -> None:
    """Each reporter tells its events from anywhere on, again and again, as after restarts and reconnects."""
    events = {
        (v, s): [ControlEvent(f"life.{v}", s, n, float(n)) for n in range(1, 13)] for v in range(3) for s in range(3)
    }
    log, taken = ControlLog(), []
    for viewer, stream, up_to in tells:
        taken += log.extend(events[viewer, stream][:up_to])
    assert len({event[:3] for event in taken}) == len(taken) == log.position
    for pair in events:
        mine = [e for e in taken if (e.viewer, e.stream) == (f"life.{pair[0]}", pair[1])]
        assert [e.number for e in mine] == list(range(1, len(mine) + 1))
        assert [e.transition for e in mine] == ["STARVED" if n % 2 == 0 else "RESUMED" for n in range(len(mine))]
    assert log.after(0) == taken and log.after(log.position) == [] and log.after(99) == taken
    again = ControlLog({(e.viewer, e.stream): e.number for e in taken})
    assert again.extend(taken) == []


@given(st.integers(0, 5), st.integers(0, 12), st.integers(0, 5))
def test_what_comes_early_waits_and_what_overflows_is_counted(room: int, before: int, after: int) -> None:
    buffer: EarlyBuffer[int] = EarlyBuffer(room)
    taken: list[int] = []
    for n in range(before):
        buffer.put(n)
    buffer.open(taken.append)
    for n in range(before, before + after):
        buffer.put(n)
    assert taken == list(range(before + after))[max(0, before - room) :]
    assert (buffer.overflowed, len(buffer)) == (max(0, before - room), 0)
    buffer.close()
    buffer.put(-1)
    assert len(buffer) == min(1, room) and not buffer.is_open
