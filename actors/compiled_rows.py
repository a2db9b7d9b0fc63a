"""Rows of one environment whose usual row is recorded by `_row.c`; where that was not built, in Python as always.

What is recorded is the same, bit by bit: the C code takes a row that is exactly as the spaces say, and leaves whatever
else comes to `SingleRows`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from rolltape.schema.run_schema import RunSchema

from .infos import BYTES_PER_VALUE, NUMBER_KINDS
from .page import STEPS
from .single_columns import Columns
from .single_rows import SingleRows
from .value_buffers import ArrayBuffer, Expected, IntegerBuffer

AGREEMENT: Final = 2
"""Which fields `SingleRows` and the part in C share, and what they put there; `_row.c` has the same number. Both are
raised when that changes: a part that was built before would record something else without a word."""


def _load() -> tuple[Any, str]:
    """The compiled module, or None and why."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None, "this Python has no global lock"
    try:
        from . import _row
    except ImportError as error:
        return None, f"not built, or for another platform ({error})"
    if getattr(_row, "AGREEMENT", 1) != AGREEMENT:
        return None, "built from another version of its source; `make compiled` builds it again"
    for array in (np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int64)[:, 1:], np.zeros(0), np.zeros((4, 1), "u1")):
        said = (array.ctypes.data, id(array.dtype), array.shape, array.flags.c_contiguous)
        if _row.look(array) != said:
            return None, f"NumPy {np.__version__} keeps its arrays in another way"
    return _row, ""


_MODULE, WHY_NOT = _load()
"""Why rows are recorded in Python; empty where they are not."""

Plain = IntegerBuffer | ArrayBuffer
NUMPY: Final = (np.ndarray, np.float64, np.float32, np.False_, np.True_)


def single_rows(schema: RunSchema, *args: Any, **named: Any) -> SingleRows:
    """Rows of one environment by the fastest way that its spaces have here; arguments as of `SingleRows`."""
    return rows_class(schema)(schema, *args, **named)


def rows_class(schema: RunSchema) -> type[SingleRows]:
    """`CompiledRows` where it was built and takes such observations and actions, else `SingleRows`."""
    return SingleRows if CompiledRows is None or not _is_plain(schema) else CompiledRows


def compiled_step(
    rows: Any, env_step: Callable[[Any], Any], mutex: threading.Lock, slow: Callable[[Any, Any], None]
) -> Callable[[Any], Any] | None:
    """The step of a loop without a line of Python; None where rows are not compiled.

    Args:
        rows: where rows go.
        env_step: steps the environment.
        mutex: held by whoever is at the rows.
        slow: given an action and what the step returned where C does not record it.
    """
    if CompiledRows is None or not isinstance(rows, CompiledRows):
        return None
    return _MODULE.Step(rows, env_step, mutex, slow).step


def _is_plain(schema: RunSchema) -> bool:
    one = Columns(schema, 1)
    if schema.renders or not isinstance(one.actions, Plain):
        return False
    return isinstance(one.observations, Plain) or (schema.layout is not None and not schema.layout.planar)


def _compiled() -> type[SingleRows] | None:
    if _MODULE is None:
        return None

    class CompiledRows(_MODULE.Row, SingleRows):
        """`SingleRows` whose counters are fields of a C structure, and whose usual step never comes to Python."""

        step_in_python = SingleRows.step

        def _expect(self, actions: Plain, observations: Plain | None) -> None:
            own = self._counter_ns is time.perf_counter_ns and _is_monotonic()
            self.expect(
                np.frombuffer(self._words, np.int64),
                STEPS,
                NUMPY,
                None if own else self._counter_ns,
                actions.expected,
                observations.expected if observations is not None else self._picture_expected(),
            )
            self.note(NUMBER_KINDS, self._config.max_bytes // (4 * BYTES_PER_VALUE))

        def _picture_expected(self) -> Expected:
            layout = self._schema.layout
            assert layout is not None
            return None, np.dtype(layout.dtype), 0, 0, layout.nbytes, layout.shape

        def _use(self, columns: Columns) -> None:
            first = not hasattr(self, "_columns")
            super()._use(columns)
            actions, observations = columns.actions, columns.observations
            assert isinstance(actions, Plain) and isinstance(observations, Plain | None)
            if first:
                self._expect(actions, observations)
            array = None if observations is None else observations.array
            self.fill(actions.array, array, columns.rewards, columns.times, columns.capacity)
            self._film: Any = None

        def _begin_infos(self) -> None:
            super()._begin_infos()
            self._info_keys = self._infos.keys

        def _see(self, *seen: Any) -> None:
            super()._see(*seen)
            pictures = self._frames.get("observation")
            if pictures is not None and (memory := pictures.memory)[0] is not self._film:
                self.film(*memory, pictures.most)
                self._film = memory[0]

        def _loose_bytes(self) -> int:
            return super()._loose_bytes() + self._noted * BYTES_PER_VALUE

        def _total(self) -> float:
            return self.total(self._start_row, self._return) if self._open else 0.0

    return CompiledRows


def _is_monotonic() -> bool:
    """Whether `time.perf_counter_ns` is the clock that C reads."""
    said = time.get_clock_info("perf_counter").implementation
    return bool(_MODULE.HAS_MONOTONIC) and said == "clock_gettime(CLOCK_MONOTONIC)"


CompiledRows: Final = _compiled()
