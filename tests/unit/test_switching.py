"""The interpreter's switch interval: shorter while somebody records, and the user's own choice stands."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from rolltape.actors.switching import OURS_S, PYTHONS_S, SwitchInterval


@pytest.fixture(autouse=True)
def default() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(PYTHONS_S)
    yield
    sys.setswitchinterval(before)


def test_from_the_first_to_the_last() -> None:
    interval = SwitchInterval()
    assert sys.getswitchinterval() == PYTHONS_S
    interval.enter()
    interval.enter()
    interval.leave()
    assert sys.getswitchinterval() == OURS_S
    interval.leave()
    assert sys.getswitchinterval() == PYTHONS_S


def test_what_the_user_chose_stands() -> None:
    interval = SwitchInterval()
    sys.setswitchinterval(0.001)
    interval.enter()
    assert sys.getswitchinterval() == 0.001
    interval.leave()
    assert sys.getswitchinterval() == 0.001
    sys.setswitchinterval(PYTHONS_S)
    interval.enter()
    sys.setswitchinterval(0.02)
    interval.leave()
    assert sys.getswitchinterval() == 0.02
