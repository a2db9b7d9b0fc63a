"""Many faults, one seed after the other, with a table of what was measured; a seed that fails is named, and the next goes on.

python -m tests.faults.many FOLDER --trials 200 --losses 40 --seed 100
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import traceback
from pathlib import Path

import numpy as np

from .trials import Outcome, kill_everything, run_program


def many(folder: Path, *, trials: int, losses: int, seed: int) -> tuple[Outcome, list[str]]:
    """At least so many faults within runs, and as many kills of everything; what was measured, and what failed."""
    outcome, failed = Outcome(), []
    for what, run, wanted in (("program", _program, trials), ("loss", kill_everything, losses)):
        began, number = outcome.count, seed
        while outcome.count - began < wanted:
            here = folder / f"{what}-{number}"
            try:
                run(here, number, outcome)
                shutil.rmtree(here, ignore_errors=True)
            except Exception:  # an assertion, too: all of them are to be seen, and the folder is kept
                failed.append(f"{what} {number}: {traceback.format_exc(limit=-3)}")
                print(failed[-1], flush=True)
                if len(failed) > 10:
                    return outcome, failed
            print(f"{time.strftime('%H:%M:%S')} {what} {number} {table(outcome, failed)}", flush=True)
            number += 1
    return outcome, failed


def _program(folder: Path, seed: int, outcome: Outcome) -> None:
    run_program(folder, seed, runs=4, faults_a_run=5, outcome=outcome)


def table(outcome: Outcome, failed: list[str]) -> str:
    """One line of JSON."""
    return json.dumps(
        {
            "trials": outcome.count,
            "by kind": dict(sorted(outcome.trials.items())),
            "acknowledged": outcome.acknowledged,
            "failed seeds": len(failed),
            "loss_s": quantiles(outcome.losses_s),
            "restart_s": {kind: quantiles(found) for kind, found in sorted(outcome.restarts_s.items())},
        }
    )


def quantiles(values: list[float]) -> dict[str, float]:
    """How many, p50, p95, and the greatest."""
    if not values:
        return {"n": 0}
    p50, p95, p100 = np.quantile(values, [0.5, 0.95, 1.0]).round(2).tolist()
    return {"n": len(values), "p50": p50, "p95": p95, "p100": p100}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--losses", type=int, default=40)
    parser.add_argument("--seed", type=int, default=100)
    given = parser.parse_args()
    outcome, failed = many(given.folder, trials=given.trials, losses=given.losses, seed=given.seed)
    print("END", table(outcome, failed), flush=True)
