"""Minutes of recording with compaction and retention: memory stays where it is, and files stay few."""

from __future__ import annotations

from pathlib import Path

import pytest

from .soak import soak

MINUTES = 20.0
DRIFT_PERCENT = 5.0
SMALL_BYTES = 16 << 20
"""What may come and go in any process: a drift is a share of what matters."""


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
