"""The Fleet: workers on Ray that step and record, against processes that step the same environments bare.

Both sides seed every episode in the same wrapper and take the same random policy. A worker's stepping cannot be told
from its drain from outside, so that all rates include the drain.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rolltape.scripts.bench.env_workload import Disagreement
from rolltape.scripts.bench.orders import Order, Outcome
from rolltape.scripts.bench.usage import OTHER, RayUsage, machine_busy_s, peak_rss_bytes

ENV = "CartPole-v1"


@dataclass(frozen=True)
class FleetWorkload:
    """CartPoles divided over workers; the attributes are those of `EnvWorkload`."""

    name: str
    title: str
    workers: int
    sub_envs: int
    native: bool
    chunk: int
    peers: tuple[str, ...] = ()

    @property
    def recorders(self) -> tuple[str, ...]:
        """Only ourselves."""
        return ("rolltape",)

    def measure(self, order: Order) -> Outcome:
        """Carry an order out in this process, which is fresh. Raises Disagreement."""
        return self._bare(order) if order.recorder == "bare" else self._recorded(order)

    def _bare(self, order: Order) -> Outcome:
        context = multiprocessing.get_context("spawn")
        together, answers = context.Barrier(self.workers), context.Queue()
        share = self.sub_envs // self.workers
        processes = [
            context.Process(target=_step_bare, args=(self, order, number, share, together, answers))
            for number in range(self.workers)
        ]
        began, busy_s = time.perf_counter(), machine_busy_s()
        for process in processes:
            process.start()
        found = [answers.get() for _ in processes]
        busy_s = machine_busy_s() - busy_s
        everything_s = time.perf_counter() - began
        for process in processes:
            process.join()
        seconds = max(one["seconds"] for one in found)
        ours_s = time.process_time() + sum(one["whole_cpu_s"] for one in found)
        return Outcome(
            name=self.name,
            recorder=order.recorder,
            calls=sum(one["calls"] for one in found),
            rows=sum(one["rows"] for one in found),
            episodes=sum(one["ended"] for one in found),
            start_s=everything_s - seconds,
            step_s=None,
            total_s=seconds,
            step_cpu_s=None,
            cpu_s=sum(one["cpu_s"] for one in found),
            peak_rss_bytes=max(one["peak"] for one in found),
            noise_cores=max(0.0, busy_s - ours_s) / everything_s,
        )

    def _recorded(self, order: Order) -> Outcome:
        import rolltape as rt
        from rolltape.scripts.bench.rolltape_recorder import read_back

        rows = order.rows
        assert rows is not None, "the bare side goes first and says how many"
        began = time.perf_counter()
        fleet = rt.Fleet(
            ENV,
            num_envs=self.sub_envs,
            num_workers=self.workers,
            lake=order.folder,
            vectorization="native" if self.native else "sync",
        )
        start_s = time.perf_counter() - began
        time.sleep(order.settle_s)
        usage, busy_s, own_s, at = RayUsage(), machine_busy_s(), time.process_time(), time.perf_counter()
        fleet.collect(steps=rows, policy="random", progress=False)
        total_s = time.perf_counter() - at
        busy_s, own_s = machine_busy_s() - busy_s, time.process_time() - own_s
        cpu_s, writer_s, hub_s, other_s = (usage.since_s(r) for r in ("producers", "writer", "hub", OTHER))
        peak = max(peak_rss_bytes(pid) for pid in usage.pids("producers"))
        summary = fleet.close()
        stored = read_back(Path(order.folder))
        if not rows <= stored.rows < rows + self.sub_envs or stored.rows != summary.steps:
            raise Disagreement(
                f"{self.name}: {rows:,} rows were ordered, {stored.rows:,} read back, {summary.steps:,} in the summary."
            )
        return Outcome(
            name=self.name,
            recorder=order.recorder,
            calls=order.max_calls or 0,
            rows=stored.rows,
            episodes=stored.episodes or 0,
            start_s=start_s,
            step_s=None,
            total_s=total_s,
            step_cpu_s=None,
            cpu_s=cpu_s,
            peak_rss_bytes=peak,
            noise_cores=max(0.0, busy_s - own_s - cpu_s - writer_s - hub_s - other_s) / total_s,
            writer_cpu_s=writer_s,
            hub_cpu_s=hub_s,
            other_cpu_s=other_s + own_s,
            stored_rows=stored.rows,
            stored_frames=stored.frames,
            stored_bytes=stored.bytes,
            frame_bytes=stored.frame_bytes,
            inflight_high_bytes=summary.inflight_high_bytes,
            lag_high_s=summary.lag_high_s,
            waited_s=summary.waited_s,
        )


def _step_bare(workload: FleetWorkload, order: Order, number: int, share: int, together: Any, answers: Any) -> None:
    """One process of the bare side: what `EnvWorker` does, without the recording."""
    from rolltape.actors.env_worker import policy_seed
    from rolltape.actors.policies import load_policy
    from rolltape.actors.stepping import EnvRecipe, make_sub_environments
    from rolltape.schema.messages import ProducerKey

    recipe = EnvRecipe(ENV, {}, "native" if workload.native else "sync")
    sub = make_sub_environments(
        recipe, workload.native, share, run_seed=0, sub_env_offset=number * share, first_index=[0] * share
    )
    env = sub.env
    act = load_policy(
        "random", env.single_observation_space, env.single_action_space, share, policy_seed(0, ProducerKey(number, 0))
    )
    observations, _ = env.reset(seed=sub.batch_seed) if workload.native else env.reset()
    step = env.step
    calls = rows = ended = resetting = 0
    limit = None if order.max_calls is None else order.max_calls // workload.workers
    together.wait()
    time.sleep(order.settle_s)
    cpu_s, at = time.process_time(), time.perf_counter()
    while limit is None or calls < limit:
        for _ in range(workload.chunk if limit is None else min(workload.chunk, limit - calls)):
            observations, _, terminated, truncated, _ = step(act(observations))
            rows += share - resetting
            resetting = int(np.count_nonzero(terminated | truncated))
            ended += resetting
            calls += 1
        if order.max_seconds is not None and time.perf_counter() - at >= order.max_seconds:
            break
    seconds, cpu_s = time.perf_counter() - at, time.process_time() - cpu_s
    env.close()
    answers.put(
        {
            "calls": calls,
            "rows": rows,
            "ended": ended,
            "seconds": seconds,
            "cpu_s": cpu_s,
            "whole_cpu_s": time.process_time(),
            "peak": peak_rss_bytes(),
        }
    )


WORKLOADS = (
    FleetWorkload("Fleet-1x8", "Fleet, 1 worker, 8 in turn", 1, 8, False, chunk=200),
    FleetWorkload("Fleet-1x64", "Fleet, 1 worker, 64 in turn", 1, 64, False, chunk=25),
    FleetWorkload("Fleet-2x32", "Fleet, 2 workers, 64 in turn", 2, 64, False, chunk=25),
    FleetWorkload("Fleet-1x1024", "Fleet, 1 worker, 1,024 native", 1, 1_024, True, chunk=50),
    FleetWorkload("Fleet-2x512", "Fleet, 2 workers, 1,024 native", 2, 1_024, True, chunk=50),
)
