"""How fast a replay is: steps a second, reading and comparing included, against bare stepping of the same actions.

Rules:
1. Bare is what nobody can leave out: the same environment is made, reset as recorded, given the recorded actions; what
   it gives is thrown away. Eight in turn are stepped bare as they were recorded: in one vector environment.
2. Bare and replayed alternate, and which comes first does; a figure is the median of the pairs' ratios of wall time,
   told with the ratios between which the middle half of the pairs lies. Machines waver by a tenth from one second to
   the next: five pairs of CartPole gave 0.75 to 0.93 for the same code within a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import gymnasium as gym
import ray
from gymnasium.vector import SyncVectorEnv

import rolltape as rt
from rolltape.scripts.bench.env_workload import Disagreement
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.scripts.bench.workloads import breakout

TITLE = "replayed / bare steps a second: CartPole alone, 8 in turn, 8 native, Breakout"
SEED = 0


@dataclass(frozen=True, slots=True)
class Case:
    """What is recorded, how it is stepped bare (`calls` of `step`, each of `n` sub-environments), in how many pairs."""

    name: str
    title: str
    make: Callable[[], Any]
    n: int
    calls: int
    pairs: int
    vector: bool = True


def _cartpole() -> Any:
    return gym.make("CartPole-v1")


CASES = (
    Case("CartPole", "CartPole, one", _cartpole, 1, 200_000, 24, vector=False),
    Case("CartPole8", "CartPole, 8 in turn", lambda: SyncVectorEnv([_cartpole] * 8), 8, 25_000, 24),
    Case(
        "native8",
        "CartPole, 8 native",
        lambda: gym.make_vec("CartPole-v1", num_envs=8, vectorization_mode="vector_entry_point"),
        8,
        25_000,
        24,
    ),
    Case("Breakout", "Breakout with its pictures", breakout.make_single, 1, 12_000, 12, vector=False),
)


def measure(order: FigureOrder) -> list[Figure]:
    """Record each, then step bare and replay in turn. Raises Disagreement where a replay is not exact."""
    recorded = [(case, *_record(case, order)) for case in CASES]
    ray.shutdown()
    return [_figure(case, run_id, actions, order) for case, run_id, actions in recorded]


def _record(case: Case, order: FigureOrder) -> tuple[str, list[Any]]:
    env = rt.record(case.make(), Path(order.folder))
    env.action_space.seed(SEED)
    calls = max(case.calls // 100, 50) if order.quick else case.calls
    actions = [env.action_space.sample() for _ in range(calls)]
    _step(env, actions, case.vector)
    env.close()
    return env.run_id, actions


def _step(env: Any, actions: list[Any], vector: bool) -> None:
    step, reset = env.step, env.reset
    reset(seed=SEED)
    if vector:
        for action in actions:
            step(action)
        return
    for action in actions:
        _, _, terminated, truncated, _ = step(action)
        if terminated or truncated:
            reset()


def _figure(case: Case, run_id: str, actions: list[Any], order: FigureOrder) -> Figure:
    run = rt.open(Path(order.folder)).run(run_id)
    steps = len(run.steps())
    pairs = [_pair(case, run, actions, steps, i % 2 == 1) for i in range(2 if order.quick else case.pairs)]
    low, ratio, high = quantiles((bare.wall_s / replayed.wall_s for bare, replayed in pairs), n=4)
    used = median(bare.cpu_s / replayed.cpu_s for bare, replayed in pairs)
    bare_rate = median(steps / bare.wall_s for bare, _ in pairs)
    rate = median(steps / replayed.wall_s for _, replayed in pairs)
    return Figure(
        f"replay.{case.name}",
        f"replayed / bare, {case.title}",
        ratio,
        "",
        f"{rate:,.0f} and {bare_rate:,.0f} steps/s, medians of {len(pairs)} pairs of {steps:,} steps; the middle half "
        f"of the pairs {low:.2f} to {high:.2f}; by processor time {used:.2f}",
    )


def _bare(case: Case, actions: list[Any]) -> None:
    env = case.make()
    _step(env, actions, case.vector)
    env.close()


@dataclass(frozen=True, slots=True)
class _Took:
    wall_s: float
    cpu_s: float


def _pair(case: Case, run: rt.Run, actions: list[Any], steps: int, replay_first: bool) -> tuple[_Took, _Took]:
    reports: list[rt.ReplayReport] = []
    both = [lambda: _bare(case, actions), lambda: reports.append(rt.replay(run))]
    if replay_first:
        replayed, bare = _timed(both[1]), _timed(both[0])
    else:
        bare, replayed = _timed(both[0]), _timed(both[1])
    if not reports[0].exact or reports[0].steps != steps:
        raise Disagreement(f"{case.title}: {reports[0]}, {reports[0].divergence}")
    return bare, replayed


def _timed(work: Callable[[], Any]) -> _Took:
    at, cpu_s = time.perf_counter(), time.process_time()
    work()
    return _Took(time.perf_counter() - at, time.process_time() - cpu_s)
