"""How bytes in flight are divided among producers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.credits import LONGEST_COMMIT_S, MIN_BYTES, Need, share
from rolltape.schema.messages import ProducerKey

MIB = 1 << 20
NEEDS = st.lists(
    st.builds(Need, st.floats(0, 1e10, allow_nan=False), st.floats(0, 1e3, allow_nan=False)), min_size=1, max_size=20
)


@given(needs=NEEDS, total=st.integers(0, 1 << 33), floor=st.integers(0, 1 << 30))
def test_grants_never_exceed_the_total_but_for_the_least(needs: list[Need], total: int, floor: int) -> None:
    grants = share(total, {ProducerKey(i, 0): need for i, need in enumerate(needs)}, floor)
    assert len(grants) == len(needs)
    assert sum(grants.values()) <= total + MIN_BYTES * len(needs)
    assert all(grant >= MIN_BYTES for grant in grants.values())


@given(needs=NEEDS, total=st.integers(64 * MIB, 1 << 33))
def test_each_gets_an_equal_share_as_far_as_it_needs_it(needs: list[Need], total: int) -> None:
    grants = share(total, {ProducerKey(i, 0): need for i, need in enumerate(needs)}, MIN_BYTES)
    for place, need in enumerate(needs):
        assert grants[ProducerKey(place, 0)] >= min(need.nbytes, total // len(needs)), place


def test_what_slow_ones_do_not_need_is_there_for_fast_ones() -> None:
    slow, fast = ProducerKey(0, 0), ProducerKey(1, 0)
    grants = share(1000 * MIB, {slow: Need(MIB, 1.0), fast: Need(200 * MIB, 1.0)}, 8 * MIB)
    assert (grants[slow], grants[fast]) == (8 * MIB, 400 * MIB)


def test_a_slow_writer_is_not_given_more_to_hold() -> None:
    assert Need(MIB, 60.0).nbytes == Need(MIB, LONGEST_COMMIT_S).nbytes


def test_nobody_asks() -> None:
    assert share(MIB, {}, MIB) == {}
