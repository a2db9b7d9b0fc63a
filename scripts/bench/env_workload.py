"""A workload that steps one environment, single or vector, in this process: bare or under a recorder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium.vector import VectorEnv

from .orders import Order, Outcome
from .recorders import Recorder, Stored
from .stepping import Loop, SingleLoop, VectorLoop, run_until
from .usage import machine_busy_s, peak_rss_bytes


class Disagreement(Exception):
    """What was read back is not what was stepped."""


@dataclass(frozen=True)
class EnvWorkload:
    """One environment and how it is recorded.

    Attributes:
        name: as `--only` takes it.
        title: a few words for the table.
        sub_envs: sub-environments; 1 for a single environment.
        make: makes the environment.
        chunk: calls between two looks at the clock, some hundredths of a second of stepping.
        frames: what pictures are recorded: `none`, `observation` or `render`.
        pictures: pictures per observation that is recorded.
        peers: recorders of others that can record it.
    """

    name: str
    title: str
    sub_envs: int
    make: Callable[[], Any]
    chunk: int
    frames: str = "none"
    pictures: int = 0
    peers: tuple[str, ...] = ()

    @property
    def recorders(self) -> tuple[str, ...]:
        """Who can record it, ourselves first."""
        return ("rolltape", *self.peers)

    def measure(self, order: Order) -> Outcome:
        """Carry an order out in this process, which is fresh. Raises Disagreement."""
        from .catalogue import recorder_of

        recorder, folder = recorder_of(order.recorder), Path(order.folder)
        began = time.perf_counter()
        env = recorder.open(self.make(), folder, self.frames)
        loop = self._loop(env, recorder)
        loop.reset()
        start_s = time.perf_counter() - began
        time.sleep(order.settle_s)
        recorder.begin()
        busy_s, cpu_s, at = machine_busy_s(), time.process_time(), time.perf_counter()
        run_until(loop, max_seconds=order.max_seconds, max_calls=order.max_calls, chunk=self.chunk)
        step_s, step_cpu_s = time.perf_counter() - at, time.process_time() - cpu_s
        recorder.close(env)
        total_s, cpu_s = time.perf_counter() - at, time.process_time() - cpu_s
        busy_s = machine_busy_s() - busy_s
        peak, costs = peak_rss_bytes(), recorder.costs()
        ours_s = cpu_s + costs.writer_cpu_s + costs.hub_cpu_s + costs.other_cpu_s
        stored = recorder.read_back(folder)
        if stored is not None:
            self._compare(loop, stored)
        return Outcome(
            name=self.name,
            recorder=order.recorder,
            calls=loop.calls,
            rows=loop.rows,
            episodes=loop.ended,
            start_s=start_s,
            step_s=step_s,
            total_s=total_s,
            step_cpu_s=step_cpu_s,
            cpu_s=cpu_s,
            peak_rss_bytes=peak,
            noise_cores=max(0.0, busy_s - ours_s) / total_s,
            writer_cpu_s=costs.writer_cpu_s,
            hub_cpu_s=costs.hub_cpu_s,
            other_cpu_s=costs.other_cpu_s,
            stored_rows=stored and stored.rows,
            stored_frames=stored and stored.frames,
            stored_bytes=stored and stored.bytes,
            frame_bytes=stored and stored.frame_bytes,
            inflight_high_bytes=costs.inflight_high_bytes,
            lag_high_s=costs.lag_high_s,
            waited_s=costs.waited_s,
        )

    def _loop(self, env: Any, recorder: Recorder) -> Loop:
        if isinstance(env, VectorEnv):
            return VectorLoop(env)
        return SingleLoop(env, render=self.frames == "render" and not recorder.renders)

    def _compare(self, loop: Loop, stored: Stored) -> None:
        # An episode of n steps has n + 1 observations, the one of its reset included.
        frames = self.pictures * (loop.rows + (loop.started if stored.first_frames else 0))
        for what, found, expected in (
            ("rows", stored.rows, loop.rows),
            ("ended episodes", stored.episodes, loop.ended),
            ("frames", stored.frames, frames),
        ):
            if found is not None and found != expected:
                raise Disagreement(f"{self.name}: {expected:,} {what} were stepped, {found:,} were read back.")
