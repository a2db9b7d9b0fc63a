"""Alternating pairs: bare, recorded, bare, recorded, …, each in a fresh process, with one number of steps.

The first bare run says how many steps there are: what it does in the time that was asked for. A slow recorder of others
stops earlier, and then both sides do what it did in that time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .neighbour import speed_beside
from .orders import Order, Outcome
from .processes import run_fresh

Pair = tuple[Outcome, Outcome]
"""The bare run and the recorded one."""
Notice = Callable[[str], None]

START_S = 300.0
SLOWEST = 40.0
"""A recorder that is given all steps may take so many times the bare loop's time before it is stopped."""


@dataclass(frozen=True)
class Plan:
    """How long and how often.

    Attributes:
        seconds: of bare stepping.
        pairs: how many.
        settle_s: rest before the first measured step.
        scratch: where recordings lie while they are measured.
    """

    seconds: float
    pairs: int
    settle_s: float
    scratch: Path


def run_pairs(name: str, recorder: str, python: Path, plan: Plan, notice: Notice) -> Iterator[Pair]:
    """Measure a workload under a recorder, a pair at a time. Raises MeasurementFailed."""

    def run(who: str, calls: int | None, seconds: float | None, rows: int | None = None) -> Outcome:
        order = Order(name, who, "", seconds, calls, rows, plan.settle_s)
        timeout_s = START_S + SLOWEST * plan.seconds
        beside = speed_beside()
        outcome = replace(Outcome.of(run_fresh(python, asdict(order), plan.scratch, timeout_s)), speed_beside=beside)
        rate = outcome.rows / outcome.total_s
        notice(f"{name} {who}: {outcome.rows:,} steps, {rate:,.0f} a second, {outcome.noise_cores:.1f} cores of noise")
        return outcome

    ours = recorder == "rolltape"
    bare = run("bare", None, plan.seconds)
    recorded = run(recorder, bare.calls, None if ours else plan.seconds, bare.rows)
    calls = recorded.calls
    if calls < bare.calls:
        bare = run("bare", calls, None)
    yield bare, recorded
    for _ in range(plan.pairs - 1):
        bare = run("bare", calls, None)
        yield bare, run(recorder, calls, None, bare.rows)
