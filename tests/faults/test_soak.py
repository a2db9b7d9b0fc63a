"""Minutes of recording with compaction and retention: memory stays where it is, and files stay few."""

from __future__ import annotations

from pathlib import Path

import pytest

from .soak import CURVE_POINTS, Soak, soak

MINUTES = 20.0
DRIFT_PERCENT = 5.0
SMALL_BYTES = 16 << 20
"""What may come and go in any process: a drift is a share of what matters."""


def test_a_curve_has_forty_points_and_both_ends() -> None:
    found = Soak(at_s=[5.0 * i for i in range(720)], parts_at=list(range(720)), memory={"writer": [10**6] * 720})
    curve = found.curve()
    assert [len(values) for values in curve.values()] == [CURVE_POINTS] * 3
    assert (curve["at_s"][0], curve["at_s"][-1]) == (0, 3595) and (curve["parts"][0], curve["parts"][-1]) == (0, 719)
    assert set(curve["writer"]) == {1.0}
    assert Soak(at_s=[5.0, 10.0], parts_at=[1, 2], memory={"hub": [10**6, 2 * 10**6]}).curve() == {
        "at_s": [5, 10],
        "parts": [1, 2],
        "hub": [1.0, 2.0],
    }
    assert Soak().curve() == {"at_s": [], "parts": []}


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("ray_session")
def test_twenty_minutes_of_cartpoles(tmp_path: Path) -> None:
    found = soak(tmp_path, minutes=MINUTES, rate=100_000)
    print(found.as_json())
    assert found.verdict == "clean" and found.restarts == 0
    for name, percent in found.drift().items():
        assert percent <= DRIFT_PERCENT or found.memory[name][-1] - found.memory[name][0] < SMALL_BYTES, (name, percent)
    assert all(n <= 64 * max(1.0, found.seconds / 3600) for n in found.parts_compacted.values())
