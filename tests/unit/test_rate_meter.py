"""Steps a second, over the last seconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.progress import RateMeter
from tests.fakes import Clock


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    meter = RateMeter(5.0, clock)
    assert meter.rate(0) == 0.0
    rates = []
    for second in range(1, 21):
        clock.advance(1.0)
        rates.append(meter.rate(100 * min(second, 10)))
    assert rates[:10] == [100.0] * 10
    assert rates[-1] == 0.0, "it stands still for longer than the window"
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_counts_at_the_same_moment() -> None:
    clock = Clock()
    meter = RateMeter(5.0, clock)
    assert (meter.rate(0), meter.rate(10)) == (0.0, 0.0)
    clock.advance(2.0)
    assert meter.rate(30) == 15.0


def test_after_a_pause_the_rate_is_that_of_the_pause() -> None:
    clock = Clock()
    meter = RateMeter(5.0, clock)
    meter.rate(0)
    clock.advance(100.0)
    assert meter.rate(50) == 0.5


@given(st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 1000)), min_size=1, max_size=30))
def test_it_is_never_more_than_the_fastest_moment(moves: list[tuple[float, int]]) -> None:
    clock = Clock()
    meter = RateMeter(5.0, clock)
    meter.rate(0)
    steps, fastest = 0, 0.0
    for seconds, more in moves:
        clock.advance(seconds)
        steps += more
        fastest = max(fastest, more / seconds)
        assert 0.0 <= meter.rate(steps) <= fastest * (1 + 1e-6)
        assert len(meter._seen) <= 5.0 / 0.01 + 3
