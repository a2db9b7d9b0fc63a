"""Tapes: recorded steps as `_tape.c` compares an environment with them, one step after the other.

Rules:
1. A tape takes what is usual: observations that are one array or integer, infos that are empty or whose keys are all
   Python numbers. `None` says that it does not, or that the parts in C were not built.
2. Whatever is not exactly as a tape has it is for Python to look at; a tape names no difference.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from rolltape.schema.space_codec import SpaceCodec

from .compared_infos import InfoRows
from .compiled_rows import NUMPY, WHY_NOT
from .value_buffers import ArrayBuffer, Expected, IntegerBuffer, value_buffer

if TYPE_CHECKING:
    from ._tape import Column, Tape

_LOW, _HIGH = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)


def _load() -> Any:
    if WHY_NOT:
        return None
    try:
        from . import _tape
    except ImportError:  # it was not built, though `_row.c` was
        return None
    return _tape.Tape


_TAPE: Final = _load()


def tape(
    codec: SpaceCodec,
    observations: np.ndarray | None,
    known: np.ndarray | None,
    rewards: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    infos: InfoRows,
    ignored: Collection[str] = (),
) -> Tape | None:
    """The tape of one environment's steps; None where there can be none.

    Args:
        codec: of the observations.
        observations: those after each step, (steps, *shape); None: they come by `observe`.
        known: bool, (steps,): of which step there is one; None: of all.
        rewards: float64, (steps,).
        ends: terminated and truncated, bool, (steps,).
        infos: of the steps.
        ignored: info keys that are not compared.
    """
    expected = _expected(codec)
    keys = None if expected is None else _info_columns(infos, ignored)
    if _TAPE is None or keys is None or expected is None:
        return None
    _, dtype, _, _, _, shape = expected
    column = np.empty((0, *shape), dtype) if observations is None else np.ascontiguousarray(observations)
    return _TAPE(NUMPY, ("v", expected, column, known, 1), _number(rewards), *[_flag(ends[i]) for i in (0, 1)], keys)


def batch_tape(
    observations: np.ndarray,
    observed: np.ndarray,
    rewards: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    known: np.ndarray,
) -> Tape | None:
    """The tape of a vector environment's calls, whose infos are empty; None where there can be none.

    Args:
        observations: those after each call, (calls, n, *shape).
        observed: bool, (calls, n): of which sub-environment there is one.
        rewards: of the dtype that the environment gives, (calls, n).
        ends: terminated and truncated, bool, (calls, n).
        known: bool, (calls, n): of which sub-environment rewards and ends are known.
    """
    if _TAPE is None or observations.dtype.hasobject or not observations[:1].nbytes:
        return None
    columns = [_batched(values, which) for values, which in ((observations, observed), (rewards, known))]
    return _TAPE(NUMPY, *columns, *[_batched(flags, known) for flags in ends], ())


def _expected(codec: SpaceCodec) -> Expected | None:
    buffer = value_buffer(codec, 1)
    return buffer.expected if isinstance(buffer, ArrayBuffer | IntegerBuffer) and buffer.expected[4] else None


def _batched(values: np.ndarray, known: np.ndarray) -> Column:
    values = np.ascontiguousarray(values)
    shape, dtype = values.shape[1:], np.dtype(values.dtype.str)  # the one object that all arrays of it have
    return "v", (None, dtype, 0, 0, values[:1].nbytes, shape), values, np.ascontiguousarray(known), shape[0]


def _number(values: np.ndarray, known: np.ndarray | None = None) -> Column:
    return "n", (None, values.dtype, 0, 0, 8, ()), np.ascontiguousarray(values, np.float64), known, 1


def _flag(values: np.ndarray, known: np.ndarray | None = None) -> Column:
    return "b", (None, values.dtype, 0, 0, 1, ()), np.ascontiguousarray(values, bool), known, 1


def _integer(values: np.ndarray, known: np.ndarray) -> Column:
    return "v", (np.int64, values.dtype, _LOW, _HIGH, 8, ()), np.ascontiguousarray(values, np.int64), known, 1


_COLUMNS: Final = {pa.int64(): _integer, pa.float64(): _number, pa.bool_(): _flag}
"""Of info keys by their recorded type."""


def _info_columns(infos: InfoRows, ignored: Collection[str]) -> tuple[tuple[str, Column], ...] | None:
    """Keys and columns of the infos; None where a tape does not take them."""
    if infos.texts.null_count != len(infos.texts):
        return None
    if infos.typed is None:
        return ()
    fields = list(infos.typed.type)
    if any(field.type not in _COLUMNS or field.name in ignored for field in fields):
        return None
    found: list[tuple[str, Column]] = []
    for field, column in zip(fields, infos.typed.flatten(), strict=True):
        values = column.fill_null(False if pa.types.is_boolean(field.type) else 0).to_numpy(zero_copy_only=False)
        known = column.is_valid().to_numpy(zero_copy_only=False)
        found.append((field.name, _COLUMNS[field.type](values, known)))
    return tuple(found)
