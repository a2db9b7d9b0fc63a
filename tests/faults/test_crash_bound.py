"""What is promised in the README: kill anything, and what was acknowledged is there once, and little is lost.

A seed that ever failed becomes a test with a name of its own here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .trials import Outcome, kill_everything, run_program

RESTART_S = 3.0
"""What a restart may take; measured in the long test, which has the machine for itself."""


@pytest.mark.timeout(300)
@pytest.mark.long
def test_ten_faults(tmp_path: Path) -> None:
    outcome = Outcome()
    run_program(tmp_path, seed=1, runs=2, faults_a_run=5, outcome=outcome)
    assert outcome.trials == 11 and outcome.acknowledged > 20


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_two_hundred_faults(tmp_path: Path) -> None:
    outcome = Outcome()
    seed = 100
    while outcome.trials < 200:
        run_program(tmp_path / str(seed), seed, runs=4, faults_a_run=5, outcome=outcome)
        seed += 1
    recoveries = [s for found in outcome.recoveries_s.values() for s in found]
    print(json.dumps({"trials": outcome.trials, "acknowledged": outcome.acknowledged,
                      "recovery_s": {k: [round(v, 2) for v in vs] for k, vs in outcome.recoveries_s.items()}}))  # fmt: skip
    assert max(recoveries) <= RESTART_S


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_what_killing_everything_costs(tmp_path: Path) -> None:
    outcome = Outcome()
    for seed in range(20):
        kill_everything(tmp_path / str(seed), seed, outcome)
    losses = sorted(outcome.losses_s)
    print("lost, in seconds:", [round(s, 2) for s in losses])
    assert np.quantile(losses, 0.95) <= 1.2
    assert losses[-1] <= 2.5
