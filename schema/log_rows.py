"""Rows of the table `logs`: records and lines in, one Arrow batch out."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from .columns import CONSTANT, table_schema
from .log_codes import LogCode

SCHEMA: Final = table_schema("logs")
RECORD: Final = "record"
SMALL: Final = 500
"""Rows up to which columns of one value are kept for the next batch: small ones cost more to make than to fill."""
TIME: Final = pa.timestamp("us", tz="UTC")


class LogRow(NamedTuple):
    """A structured record, ready to be kept. `time_us` is UTC, `data` a JSON object as text or None."""

    time_us: int
    code: LogCode
    message: str
    data: str | None
    worker: int | None
    incarnation: int | None
    sub_env: int | None
    episode: int | None
    env_id: str


@dataclass(slots=True)
class LineRows:
    """Lines of an external program, by columns of equal length: `codes`, `messages`, `data`, and times and origins."""

    codes: list[LogCode] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    data: list[str | None] = field(default_factory=list)
    time_us: list[int] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)


def record_batch(rows: Sequence[LogRow], run_id: str, fragment: int) -> pa.RecordBatch:
    """The batch of structured records."""
    times, codes, messages, data, workers, incarnations, sub_envs, episodes, env_ids = zip(*rows, strict=True)
    return _batch(
        len(rows),
        run_id,
        fragment,
        worker=_whole("worker", workers),
        incarnation=_whole("incarnation", incarnations),
        sub_env=_whole("sub_env", sub_envs),
        episode=_whole("episode", episodes),
        codes=codes,
        messages=messages,
        data=data,
        time_us=times,
        origin=_constant("origin", RECORD, len(rows)),
        env_id=_few("env_id", env_ids),
        pid=os.getpid(),
    )


def line_batch(lines: LineRows, run_id: str, fragment: int, env_id: str, pid: int) -> pa.RecordBatch:
    """The batch of a program's lines; `pid` is the program's."""
    n = len(lines.codes)
    return _batch(
        n,
        run_id,
        fragment,
        worker=pa.nulls(n, pa.int32()),
        incarnation=pa.nulls(n, pa.int32()),
        sub_env=pa.nulls(n, pa.int32()),
        episode=pa.nulls(n, pa.int64()),
        codes=lines.codes,
        messages=lines.messages,
        data=lines.data,
        time_us=lines.time_us,
        origin=_few("origin", lines.origins),
        env_id=_constant("env_id", env_id, n),
        pid=pid,
    )


def _batch(
    n: int,
    run_id: str,
    fragment: int,
    *,
    worker: pa.Array,
    incarnation: pa.Array,
    sub_env: pa.Array,
    episode: pa.Array,
    codes: Sequence[LogCode],
    messages: Sequence[str],
    data: Sequence[str | None],
    time_us: Sequence[int],
    origin: pa.Array,
    env_id: pa.Array,
    pid: int,
) -> pa.RecordBatch:
    kinds: dict[LogCode, int] = {}
    numbers: dict[int, int] = {}  # an entry is hashed once, not once a row
    which = np.empty(n, np.int16)
    for at, code in enumerate(codes):
        number = numbers.get(id(code))
        if number is None:
            number = numbers[id(code)] = kinds.setdefault(code, len(kinds))
        which[at] = number
    entries = list(kinds)
    columns: dict[str, Any] = {
        "run_id": _constant("run_id", run_id, n),
        "agent_id": _constant("agent_id", "agent_0", n),
        "worker": worker,
        "incarnation": incarnation,
        "fragment": pa.array(np.full(n, fragment, np.int64)),
        "sub_env": sub_env,
        "episode": episode,
        "time": pa.Array.from_buffers(TIME, n, [None, pa.py_buffer(np.fromiter(time_us, np.int64, n))]),
        **_of_codes(entries, which),
        "message": pa.array(messages, pa.string()),
        "data": pa.array(data, pa.string()),
        "origin": origin,
        "env_id": env_id,
        "host": _constant("host", _host(), n),
        "pid": _same("pid", pid, n),
    }
    return pa.RecordBatch.from_arrays([columns[field.name] for field in SCHEMA], schema=SCHEMA)


def _of_codes(entries: Sequence[LogCode], which: np.ndarray) -> dict[str, pa.Array]:
    """The columns that follow from the code."""
    n = len(which)
    if len(entries) == 1:
        (one,) = entries
        return {
            "level": _constant("level", one.level, n),
            "severity": _same("severity", one.severity, n),
            "code": _constant("code", one.code, n),
            "component": _constant("component", one.component, n),
            "subcomponent": _constant("subcomponent", one.subcomponent, n),
        }
    severities = np.array([entry.severity for entry in entries], np.int16)
    return {
        "level": _by_kind("level", which, [entry.level for entry in entries]),
        "severity": pa.array(severities[which] if n else np.empty(0, np.int16)),
        "code": _by_kind("code", which, [entry.code for entry in entries]),
        "component": _by_kind("component", which, [entry.component for entry in entries]),
        "subcomponent": _by_kind("subcomponent", which, [entry.subcomponent for entry in entries]),
    }


@cache
def _host() -> str:
    return socket.gethostname()


def _whole(name: str, values: Sequence[int | None]) -> pa.Array:
    """A column of integers, mostly all the same."""
    if values.count(values[0]) == len(values):
        return _same(name, values[0], len(values))
    return pa.array(values, SCHEMA.field(name).type)


def _same(name: str, value: int | None, n: int) -> pa.Array:
    return _kept_same(name, value, n) if n <= SMALL else _made_same(name, value, n)


def _made_same(name: str, value: int | None, n: int) -> pa.Array:
    kind = SCHEMA.field(name).type
    return pa.nulls(n, kind) if value is None else pa.array(np.full(n, value, kind.to_pandas_dtype()))


_kept_same: Final = lru_cache(256)(_made_same)


def _constant(name: str, value: str, n: int) -> pa.Array:
    return _kept_constant(name, value, n) if n <= SMALL else _made_constant(name, value, n)


def _made_constant(name: str, value: str, n: int) -> pa.Array:
    kind = SCHEMA.field(name).type
    indices = pa.array(np.zeros(n, np.int8 if kind == CONSTANT else np.int16))
    return pa.DictionaryArray.from_arrays(indices, pa.array([value], pa.string()))


_kept_constant: Final = lru_cache(512)(_made_constant)


def _few(name: str, values: Sequence[str]) -> pa.Array:
    if values and values.count(values[0]) == len(values):
        return _constant(name, values[0], len(values))
    return pa.array(values, pa.string()).dictionary_encode().cast(SCHEMA.field(name).type)


def _by_kind(name: str, which: np.ndarray, values: list[str]) -> pa.Array:
    """A column that follows from the code: few values, each once in the dictionary."""
    distinct = {value: number for number, value in enumerate(dict.fromkeys(values))}
    kind = SCHEMA.field(name).type
    dtype = np.int8 if kind == CONSTANT else np.int16
    numbers = np.array([distinct[value] for value in values], dtype)
    indices = pa.array(numbers[which] if len(which) else np.empty(0, dtype))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(distinct), pa.string()))
