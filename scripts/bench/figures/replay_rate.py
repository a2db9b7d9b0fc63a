"""How fast a replay is: steps a second, reading and comparing included, against bare stepping of the same actions.

Rules:
1. Bare is what nobody can leave out: the same environment is made, reset as recorded, given the recorded actions; what
   it gives is thrown away. Eight in turn are stepped bare as they were recorded: in one vector environment.
2. Each is a process of its own that does it again and again, after once that does not count. They run in turn, a tenth
   of a second each, and stand still while the other does (SIGSTOP), each time both on the next processor, so that they
   meet the same moods of the machine: whole replays in turn with whole bare loops, of 1 to 5 s, gave 0.75 to 0.93 for
   the same code within a day.
3. A figure is the time that the bare passes ran divided by the time that as many replays ran.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from statistics import quantiles
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
SLICE_S = 0.1


@dataclass(frozen=True, slots=True)
class Case:
    """What is recorded, how it is stepped bare (`calls` of `step`, each of `n` sub-environments), and how often."""

    name: str
    title: str
    make: Callable[[], Any]
    n: int
    calls: int
    passes: int
    vector: bool = True


def _cartpole() -> Any:
    return gym.make("CartPole-v1")


CASES = (
    Case("CartPole", "CartPole, one", _cartpole, 1, 200_000, 16, vector=False),
    Case("CartPole8", "CartPole, 8 in turn", lambda: SyncVectorEnv([_cartpole] * 8), 8, 25_000, 16),
    Case(
        "native8",
        "CartPole, 8 native",
        lambda: gym.make_vec("CartPole-v1", num_envs=8, vectorization_mode="vector_entry_point"),
        8,
        25_000,
        16,
    ),
    Case("Breakout", "Breakout with its pictures", breakout.make_single, 1, 12_000, 8, vector=False),
)


def measure(order: FigureOrder) -> list[Figure]:
    """Record each, then step bare and replay in turn. Raises Disagreement where a replay is not exact."""
    recorded = [(place, _record(case, order)) for place, case in enumerate(CASES)]
    ray.shutdown()
    return [_figure(place, run_id, order) for place, run_id in recorded]


def _record(case: Case, order: FigureOrder) -> str:
    env = rt.record(case.make(), Path(order.folder))
    _step(env, _actions(case, order.quick), case.vector)
    env.close()
    return env.run_id


def _actions(case: Case, quick: bool) -> list[Any]:
    env = case.make()
    env.action_space.seed(SEED)
    actions = [env.action_space.sample() for _ in range(max(case.calls // 100, 50) if quick else case.calls)]
    env.close()
    return actions


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


def _bare(place: int, order: FigureOrder, run_id: str) -> Callable[[], None]:
    case, actions = CASES[place], _actions(CASES[place], order.quick)

    def step() -> None:
        env = case.make()
        _step(env, actions, case.vector)
        env.close()

    return step


def _replay(place: int, order: FigureOrder, run_id: str) -> Callable[[], None]:
    run = rt.open(Path(order.folder)).run(run_id)
    steps = len(run.steps())

    def replay() -> None:
        report = rt.replay(run)
        if not report.exact or report.steps != steps:
            raise Disagreement(f"{CASES[place].title}: {report}, {report.divergence}")

    return replay


def _again_and_again(begin: Callable[..., Callable[[], None]], place: int, order: Any, run_id: str, pipe: Any) -> None:
    """A process: works once, waits until it may go on, then tells when each further pass ended."""
    work = begin(place, order, run_id)
    work()
    pipe.send("ready")
    pipe.recv()
    while True:
        work()
        pipe.send(time.monotonic())


class _Runner:
    """The process of one of the two, from the parent's side. Attributes: ends: running seconds at the end of passes."""

    def __init__(self, begin: Callable[..., Callable[[], None]], place: int, order: FigureOrder, run_id: str) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, pipe = spawning.Pipe()
        self._process = spawning.Process(target=_again_and_again, args=(begin, place, order, run_id, pipe), daemon=True)
        self._process.start()
        pipe.close()
        self._ran = 0.0
        self.ends: list[float] = []

    def ready(self) -> None:
        """Wait for the pass that does not count, and have it stand still."""
        self._receive()
        self._signal(signal.SIGSTOP)
        self._pipe.send("go")

    def run(self, seconds: float, on: int | None) -> None:
        """Let it go on for so long, its stepping thread on the processor `on` where a process may choose."""
        if on is not None:
            os.sched_setaffinity(self._process.pid or 0, {on})
        began = time.monotonic()
        self._signal(signal.SIGCONT)
        time.sleep(seconds)
        self._signal(signal.SIGSTOP)
        stopped = time.monotonic()
        while self._pipe.poll():
            self.ends.append(self._ran + self._receive() - began)
        self._ran += stopped - began

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            raise Disagreement(f"A process of the figure ended with {self._process.exitcode}: see above.") from None

    def _signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)


def _processors() -> Sequence[int | None]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]  # only Linux has it


def _figure(place: int, run_id: str, order: FigureOrder) -> Figure:
    case, passes = CASES[place], 2 if order.quick else CASES[place].passes
    steps = len(rt.open(Path(order.folder)).run(run_id).steps())
    runners = [_Runner(begin, place, order, run_id) for begin in (_bare, _replay)]
    try:
        for runner in runners:
            runner.ready()
        for processor in cycle(_processors()):
            for runner in runners:
                runner.run(SLICE_S, processor)
            if min(len(runner.ends) for runner in runners) >= passes:
                break
    finally:
        for runner in runners:
            runner.kill()
    bare_s, replayed_s = (runner.ends[passes - 1] / passes for runner in runners)
    single = [[end - start for start, end in pairwise([0.0, *runner.ends[:passes]])] for runner in runners]
    low, _, high = quantiles((b / r for b, r in zip(*single, strict=True)), n=4)
    return Figure(
        f"replay.{case.name}",
        f"replayed / bare, {case.title}",
        bare_s / replayed_s,
        "",
        f"{steps / replayed_s:,.0f} and {steps / bare_s:,.0f} steps/s in {passes} passes of {steps:,} steps, in turn "
        f"every {SLICE_S:g} s; the middle half of the passes {low:.2f} to {high:.2f}",
    )
