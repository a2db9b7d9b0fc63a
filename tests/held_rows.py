"""Rows of one environment by the compiled path, or in Python, and a step that returns what it is told to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces as gs

from rolltape.actors.compiled_rows import CompiledRows, compiled_step
from rolltape.actors.single_rows import SingleRows
from rolltape.schema.messages import ProducerKey
from tests.fakes import Agreement, MemoryPage, Ticks, fragments, run_schema
from tests.recorded import Tape

BOX = gs.Box(-1.0, 1.0, (3,), np.float32)
GRID = gs.Box(0, 9, (2, 2), np.int16)
THREE = gs.Discrete(3)
KEY = ProducerKey(0, 0)
SMALL_PICTURE, PICTURE = (gs.Box(0, 255, (side, side, 3), np.uint8) for side in (16, 75))
"""Of the larger one only changes are written."""
SHAPES = {
    "box": BOX,
    "grid": GRID,
    "number": gs.Discrete(5),
    "point": gs.Box(-1.0, 1.0, (), np.float64),
    "small picture": SMALL_PICTURE,
    "picture": PICTURE,
}


class Sub(np.ndarray):
    pass


class Five(tuple):
    pass


class Held:
    """Rows, and a step as `RecordedEnv` makes it, of an environment that returns what it is told to."""

    def __init__(
        self,
        kind: type[SingleRows],
        observation: Any = BOX,
        action: Any = THREE,
        own_clock: bool = False,
        **config: int,
    ) -> None:
        self.schema = run_schema(observation, action)
        self.page, self.mutex, ticks = MemoryPage(), threading.Lock(), Ticks()
        self.rows = kind(
            self.schema,
            KEY,
            self.page,  # type: ignore[arg-type]
            fragments(**{"max_rows": 1000, **config}),
            sub_env=0,
            stride=1,
            agree=Agreement(),
            clock=ticks,  # type: ignore[arg-type]
            counter_ns=time.perf_counter_ns if own_clock else ticks.counter_ns,
        )
        self.tape = Tape(self.schema)
        self.returns: Any = None
        self.in_python = self.env_steps = 0
        self.step: Callable[[Any], Any] = (
            compiled_step(self.rows, self.env_step, self.mutex, self.record) or self.step_in_python
        )

    def env_step(self, action: Any) -> Any:
        self.env_steps += 1
        return self.returns() if callable(self.returns) else self.returns

    def step_in_python(self, action: Any) -> Any:
        result = self.env_step(action)
        self.record(action, result)
        return result

    def record(self, action: Any, result: Any) -> None:
        self.in_python += 1
        observation, reward, terminated, truncated, info = result
        with self.mutex:
            if self.rows.step(action, observation, reward, terminated, truncated, info):
                self.tape.take(self.rows)

    def take(self, action: Any, *result: Any) -> Any:
        """What the step returns, or the error that it raises."""
        self.returns = result
        try:
            return self.step(action)
        except Exception as error:
            return type(error), str(error)

    def end(self) -> None:
        self.rows.abort()
        self.tape.take(self.rows)


def compiled(*args: Any, **named: Any) -> Held:
    assert CompiledRows is not None
    return Held(CompiledRows, *args, **named)


def usual(i: int) -> tuple[Any, ...]:
    return np.full(3, i / 10, np.float32), float(i), False, False, {}


def untouched(observation: Any = BOX, action: Any = THREE, **config: int) -> tuple[Any, list[Any]]:
    """Rows after their first one, and what they leave to Python from then on, which is only noted."""
    assert CompiledRows is not None
    schema, left = run_schema(observation, action), []
    row: Any = CompiledRows(
        schema,
        KEY,
        MemoryPage(),  # type: ignore[arg-type]
        fragments(**{"max_rows": 100, **config}),
        sub_env=0,
        stride=1,
        agree=Agreement(),  # type: ignore[arg-type]
    )
    first = np.zeros(schema.observation.leaves[0].shape, schema.observation.leaves[0].dtype)
    row.reset(first, {})
    row.step(0, first, 0.0, False, False, {})
    row.step_in_python = lambda *args: left.append(args)
    return row, left


def value_of(n: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The n-th value; pictures mostly differ from each other in one place, those from 35 on everywhere."""
    values = np.arange(math.prod(shape))
    if len(shape) < 3 or n >= 35:
        return (values + n).reshape(shape).astype(dtype)
    values[100 * n % len(values)] += n
    return values.reshape(shape).astype(dtype)
