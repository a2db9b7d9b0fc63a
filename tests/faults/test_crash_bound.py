"""What is promised in the README: kill anything, and what was acknowledged is there once, and little is lost.

A seed that ever failed becomes a test with a name of its own here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .many import many, table
from .trials import Outcome, run_program

RESTART_S = 3.0
"""What a restart may take; measured in the long test, which has the machine for itself."""


@pytest.mark.timeout(300)
def test_ten_faults(tmp_path: Path) -> None:
    outcome = Outcome()
    run_program(tmp_path, seed=1, runs=1, faults_a_run=9, outcome=outcome)
    assert outcome.count == 10 and outcome.acknowledged > 20


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_two_hundred_faults(tmp_path: Path) -> None:
    outcome, failed = many(tmp_path, trials=200, losses=40, seed=100)
    print(table(outcome, failed))
    assert not failed
    assert max(max(found) for found in outcome.restarts_s.values()) <= RESTART_S
    assert np.quantile(outcome.losses_s, 0.95) <= 1.2
    assert max(outcome.losses_s) <= 2.5
