"""Rows of the table `logs`: records and lines in, one Arrow batch out."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from .columns import CONSTANT, table_schema
from .log_codes import LogCode

SCHEMA: Final = table_schema("logs")
RECORD: Final = "record"


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
        worker=pa.array(workers, pa.int32()),
        incarnation=pa.array(incarnations, pa.int32()),
        sub_env=pa.array(sub_envs, pa.int32()),
        episode=pa.array(episodes, pa.int64()),
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
    severities = np.array([entry.severity for entry in entries], np.int16)
    columns: dict[str, Any] = {
        "run_id": _constant("run_id", run_id, n),
        "agent_id": _constant("agent_id", "agent_0", n),
        "worker": worker,
        "incarnation": incarnation,
        "fragment": pa.array(np.full(n, fragment, np.int64)),
        "sub_env": sub_env,
        "episode": episode,
        "time": pa.array(np.fromiter(time_us, np.int64, n)).cast(pa.timestamp("us", tz="UTC")),
        "level": _by_kind("level", which, [entry.level for entry in entries]),
        "severity": pa.array(severities[which] if n else np.empty(0, np.int16)),
        "code": _by_kind("code", which, [entry.code for entry in entries]),
        "component": _by_kind("component", which, [entry.component for entry in entries]),
        "subcomponent": _by_kind("subcomponent", which, [entry.subcomponent for entry in entries]),
        "message": pa.array(messages, pa.string()),
        "data": pa.array(data, pa.string()),
        "origin": origin,
        "env_id": env_id,
        "host": _constant("host", socket.gethostname(), n),
        "pid": pa.array(np.full(n, pid, np.int32)),
    }
    return pa.RecordBatch.from_arrays([columns[field.name] for field in SCHEMA], schema=SCHEMA)


def _constant(name: str, value: str, n: int) -> pa.Array:
    kind = SCHEMA.field(name).type
    indices = pa.array(np.zeros(n, np.int8 if kind == CONSTANT else np.int16))
    return pa.DictionaryArray.from_arrays(indices, pa.array([value], pa.string()))


def _few(name: str, values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode().cast(SCHEMA.field(name).type)


def _by_kind(name: str, which: np.ndarray, values: list[str]) -> pa.Array:
    """A column that follows from the code: few values, each once in the dictionary."""
    distinct = {value: number for number, value in enumerate(dict.fromkeys(values))}
    kind = SCHEMA.field(name).type
    dtype = np.int8 if kind == CONSTANT else np.int16
    numbers = np.array([distinct[value] for value in values], dtype)
    indices = pa.array(numbers[which] if len(which) else np.empty(0, dtype))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(distinct), pa.string()))
