"""The probe of the benchmarks that tells cores from threads of one core."""

from __future__ import annotations

import os
from itertools import cycle

import pytest

from rolltape.scripts.bench import neighbour

needs_linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux lets a process choose")


@needs_linux
def test_one_processor_has_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert neighbour.speed_beside() is None


@needs_linux
def test_beside_a_busy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.sched_getaffinity(0)
    if len(own) < 2:
        pytest.skip("one processor only")
    seen: list[set[int]] = []
    rates = cycle([100.0, 6.0, 10.0])  # warm, then beside and alone in turn: the first round's are 6 and 10

    def rate() -> float:
        seen.append(os.sched_getaffinity(0))
        return next(rates)

    monkeypatch.setattr(neighbour, "ROUNDS", 1)
    monkeypatch.setattr(neighbour, "_rate", rate)
    assert neighbour.speed_beside() == 0.6
    assert seen == [{min(own)}] * 3 and os.sched_getaffinity(0) == own
