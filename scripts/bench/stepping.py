"""The loop that every recorder is measured in: random actions of a seeded space, nothing else.

Rules:
1. Bare and recorded step the same environment with the same seeds: equal numbers of rows and episodes prove it.
2. What the loop counts costs the same on both sides.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
from gymnasium.vector import AutoresetMode

SEED = 0


class Loop(Protocol):
    """A loop over one environment.

    Attributes:
        calls: calls of `step`.
        rows: transitions.
        started, ended: episodes; the last of a sub-environment may not have ended.
    """

    calls: int
    rows: int
    started: int
    ended: int

    def reset(self) -> None:
        """Seed the action space and the environment, and reset."""

    def run(self, calls: int) -> None:
        """Step so often."""


class SingleLoop:
    """A loop over a `gymnasium.Env`.

    Args:
        env: the environment, recorded or not.
        render: call `render()` after every step and reset, where the recorder does not do it itself.
    """

    def __init__(self, env: Any, render: bool = False) -> None:
        self._env, self._render = env, render
        self.calls = self.rows = self.started = self.ended = 0

    def reset(self) -> None:
        """Seed the action space and the environment, and reset."""
        self._env.action_space.seed(SEED)
        self._env.reset(seed=SEED)
        if self._render:
            self._env.render()
        self.started += 1

    def run(self, calls: int) -> None:
        """Step so often."""
        ended = self._run_rendering(calls) if self._render else self._run(calls)
        self.calls += calls
        self.rows += calls
        self.started += ended
        self.ended += ended

    def _run(self, calls: int) -> int:
        step, sample, reset, ended = self._env.step, self._env.action_space.sample, self._env.reset, 0
        for _ in range(calls):
            _, _, terminated, truncated, _ = step(sample())
            if terminated or truncated:
                ended += 1
                reset()
        return ended

    def _run_rendering(self, calls: int) -> int:
        step, sample, reset, ended = self._env.step, self._env.action_space.sample, self._env.reset, 0
        render = self._env.render
        for _ in range(calls):
            _, _, terminated, truncated, _ = step(sample())
            render()
            if terminated or truncated:
                ended += 1
                reset()
                render()
        return ended


class VectorLoop:
    """A loop over a `gymnasium.vector.VectorEnv` that resets by itself."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self._next_step = env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
        self._resetting = 0
        self.calls = self.rows = self.started = self.ended = 0

    def reset(self) -> None:
        """Seed the action space and the environment, and reset."""
        self._env.action_space.seed(SEED)
        self._env.reset(seed=SEED)
        self.started += self._env.num_envs

    def run(self, calls: int) -> None:
        """Step so often."""
        step, sample, n = self._env.step, self._env.action_space.sample, self._env.num_envs
        resetting, resets, ended = self._resetting, 0, 0
        for _ in range(calls):
            _, _, terminated, truncated, _ = step(sample())
            resets += resetting
            resetting = int(np.count_nonzero(terminated | truncated))
            ended += resetting
        self.calls += calls
        self.ended += ended
        if self._next_step:  # the call after an end only resets: it is no transition
            self.rows += calls * n - resets
            self.started += resets
            self._resetting = resetting
        else:
            self.rows += calls * n
            self.started += ended


def run_until(loop: Loop, *, max_seconds: float | None, max_calls: int | None, chunk: int) -> None:
    """Step in chunks until one of the two is reached; looks at the clock once a chunk."""
    began = time.perf_counter()
    while max_calls is None or loop.calls < max_calls:
        left = chunk if max_calls is None else min(chunk, max_calls - loop.calls)
        loop.run(left)
        if max_seconds is not None and time.perf_counter() - began >= max_seconds:
            return
