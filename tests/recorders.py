"""What the wrappers of recorded environments do around them, without a producer: rows go to a tape."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from rolltape.actors.compiled_rows import rows_class
from rolltape.actors.single_rows import SingleRows
from rolltape.actors.vector_rows import VectorRows
from rolltape.schema.messages import ProducerKey

from .fakes import Agreement, MemoryPage, Ticks, fragments
from .recorded import Tape

OFFSET, STRIDE = 3, 10
"""Where the sub-environments of a recorded vector environment lie in their run."""

WAY = {"compiled": True}
"""Whether rows of single environments are recorded in C where they can be; the fixture `either_way` changes it."""


def rows_of(schema: Any) -> type[SingleRows]:
    """What a recorder of single environments puts its rows into."""
    return rows_class(schema) if WAY["compiled"] else SingleRows


class Recorder:
    """Around a single environment."""

    def __init__(
        self, env: gym.Env[Any, Any], schema: Any, *, max_rows: int = 1000, max_bytes: int = 8 << 20, **ids: int
    ) -> None:
        self.env, self.page = env, MemoryPage()
        ticks = Ticks()
        self.rows = rows_of(schema)(
            schema,
            ProducerKey(0, 0),
            self.page,  # type: ignore[arg-type]
            fragments(max_rows, max_bytes=max_bytes),
            sub_env=ids.get("sub_env", 0),
            stride=ids.get("stride", 1),
            agree=Agreement(),
            clock=ticks,  # type: ignore[arg-type]
            counter_ns=ticks.counter_ns,
        )
        self.tape = Tape(schema)
        self.render = env.render if schema.renders else None

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        observation, info = self.env.reset(seed=seed, options=options)
        if self.rows.reset(observation, info, seed, options, self.render):
            self.tape.take(self.rows)

    def step(self, action: Any) -> None:
        if self.rows.step(action, *self.env.step(action), self.render):
            self.tape.take(self.rows)

    def close(self) -> None:
        self.rows.abort()
        self.tape.take(self.rows)


class VectorRecorder:
    """Around a vector environment."""

    def __init__(
        self, env: VectorEnv[Any, Any, Any], schema: Any, mode: AutoresetMode, *, max_rows: int = 1000, **rows: Any
    ) -> None:
        self.env, self.mode, self.page = env, mode, MemoryPage(env.num_envs)
        self.rows = VectorRows(
            schema,
            ProducerKey(2, 1),
            self.page,  # type: ignore[arg-type]
            fragments(max_rows, max_bytes=rows.pop("max_bytes", 8 << 20)),
            num_envs=env.num_envs,
            autoreset=mode,
            sub_env_offset=OFFSET,
            stride=STRIDE,
            agree=Agreement(),
            clock=Ticks(),  # type: ignore[arg-type]
            **rows,
        )
        self.tape = Tape(schema, ProducerKey(2, 1))
        self.inside: Any = None
        self.pictures: Any = env.render if schema.renders else None

    def reset(self, seeds: Any = None, mask: np.ndarray | None = None, options: dict[str, Any] | None = None) -> None:
        given = None if options is None and mask is None else {**(options or {}), "reset_mask": mask}
        if given is not None and mask is None:
            del given["reset_mask"]
        observations, infos = self.env.reset(seed=seeds, options=given)
        full = self.rows.reset(
            observations,
            infos,
            mask=mask,
            seeds=[seeds] * self.env.num_envs if isinstance(seeds, int) else seeds,
            options=options,
            inside=self.inside,
            pictures=self.pictures,
        )
        if full:
            self.tape.take(self.rows)

    def step(self, actions: Any) -> np.ndarray:
        """Which have ended."""
        result = self.env.step(actions)
        if self.rows.step(actions, *result, inside=self.inside, pictures=self.pictures):
            self.tape.take(self.rows)
        return np.logical_or(result[2], result[3])

    def close(self) -> None:
        self.rows.abort()
        self.tape.take(self.rows)
