"""What fragments hold, read back with plain pyarrow into rows that a test can compare.

A `Tape` takes fragments as a link takes them: what `close` returns may be views of buffers that the next step changes,
so it is copied at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.columns import TABLES
from rolltape.schema.frame_layout import FrameLayout
from rolltape.schema.info_json import decode_info
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .sameness import assert_same

KEY = ProducerKey(0, 0)


@dataclass(frozen=True, slots=True)
class Step:
    """A row of steps. `observation` is None where it is a picture."""

    sub_env: int
    episode: int
    t: int
    observation: Any
    action: Any
    reward: np.float64
    terminated: bool
    truncated: bool
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Episode:
    """A row of episodes."""

    sub_env: int
    episode: int
    status: str
    length: int | None
    total: np.float64 | None
    terminated: bool
    truncated: bool
    seed: int | None
    seed_episode: int | None
    replay: str
    options: dict[str, Any]
    reset_info: dict[str, Any]
    final_observation: Any


@dataclass(frozen=True, slots=True)
class Picture:
    """A row of frames, as the environment gave it."""

    sub_env: int
    episode: int
    kind: str
    t: int
    picture: np.ndarray


def taken(rows: Any, fragment: int) -> dict[str, pa.RecordBatch]:
    """The open fragment of `rows`: sealed, copied and released, so that what comes next goes into the same memory."""
    sealed = rows.seal()
    if sealed is None:
        return {}
    batches = copied(sealed.batches(fragment))
    sealed.release()
    return batches


@dataclass
class Tape:
    """The fragments of one producer."""

    schema: RunSchema
    key: ProducerKey = KEY
    fragments: list[dict[str, pa.RecordBatch]] = field(default_factory=list)
    schemas: dict[str, pa.Schema] = field(default_factory=dict)

    def take(self, rows: Any) -> dict[str, pa.RecordBatch]:
        """Close the open fragment of `rows` and keep it."""
        batches = taken(rows, len(self.fragments) + 1)
        assert rows.rows == 0
        for table, batch in batches.items():
            batch.validate(full=True)
            assert batch.num_rows
            assert batch.schema.equals(self.schemas.setdefault(table, batch.schema)), f"the columns of {table} changed"
            self._check_keys(batch, len(self.fragments) + 1)
        if "steps" in batches:
            _check_order(batches["steps"])
        if batches:
            self.fragments.append(batches)
        return batches

    def _check_keys(self, batch: pa.RecordBatch, fragment: int) -> None:
        for name, value in (
            ("run_id", self.schema.run_id),
            ("agent_id", "agent_0"),
            ("worker", self.key.producer),
            ("incarnation", self.key.incarnation),
            ("fragment", fragment),
        ):
            assert set(batch.column(name).to_pylist()) == {value}, name

    def steps(self) -> list[Step]:
        """All rows of steps in the order of (sub_env, episode, t)."""
        found = []
        for batch in self._batches("steps"):
            observations = [None] * batch.num_rows
            if self.schema.has_observation_column:
                observations = self.schema.observation.decode(batch.column("observation"))
            actions = self.schema.action.decode(batch.column("action"))
            for i, row in enumerate(_rows(batch, "sub_env", "episode", "t")):
                found.append(
                    Step(
                        *row,
                        observations[i],
                        actions[i],
                        np.float64(batch.column("reward")[i].as_py()),
                        batch.column("terminated")[i].as_py(),
                        batch.column("truncated")[i].as_py(),
                        info_of(batch, i),
                    )
                )
        return sorted(found, key=lambda row: (row.sub_env, row.episode, row.t))

    def episodes(self) -> list[Episode]:
        """All rows of episodes in the order of (sub_env, episode)."""
        found = []
        for batch in self._batches("episodes"):
            finals = [None] * batch.num_rows
            if self.schema.has_observation_column:
                finals = self.schema.observation.decode(batch.column("final_observation"))
            for i, row in enumerate(batch.to_pylist()):
                assert row["env_id"] == self.schema.env_id
                assert row["start_time"] <= row["end_time"]
                total = row["return"]
                found.append(
                    Episode(
                        row["sub_env"],
                        row["episode"],
                        row["status"],
                        row["length"],
                        None if total is None else np.float64(total),
                        row["terminated"],
                        row["truncated"],
                        row["seed"],
                        row["seed_episode"],
                        row["replay"],
                        plain(decode_info(row["options"])),
                        plain(decode_info(row["reset_info"])),
                        finals[i],
                    )
                )
        return sorted(found, key=lambda row: (row.sub_env, row.episode))

    def pictures(self) -> list[Picture]:
        """All rows of frames in the order of (sub_env, episode, kind, t), read as a reader of run.json would."""
        described = {} if self.schema.layout is None else {"observation": self.schema.layout.describe()}
        found = []
        for batch in self._batches("frames"):
            for row in batch.to_pylist():
                layout = FrameLayout.parse(row["format"], described.get(row["kind"]))
                stored = np.frombuffer(row["data"], layout.dtype).reshape(layout.stored_shape)
                place = row["sub_env"], row["episode"], row["kind"], row["t"]
                found.append(Picture(*place, np.ascontiguousarray(layout.from_stored(stored))))
        return sorted(found, key=lambda row: (row.sub_env, row.episode, row.kind, row.t))

    def _batches(self, table: str) -> list[pa.RecordBatch]:
        return [fragment[table] for fragment in self.fragments if table in fragment]


def copied(batches: Mapping[str, pa.RecordBatch]) -> dict[str, pa.RecordBatch]:
    """The same batches in memory of their own, in the order of the tables."""
    result = {}
    for table in TABLES:
        if table in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batches[table].schema) as stream:
                stream.write_batch(batches[table])
            result[table] = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
    assert result.keys() == batches.keys()
    return result


def info_of(batch: pa.RecordBatch, row: int) -> dict[str, Any]:
    """The info of one row, of both columns, in the plain form."""
    found = decode_info(batch.column("info_json")[row].as_py())
    if "info" in batch.schema.names:
        column = batch.column("info")
        for i, kind in enumerate(column.type):
            cell = column.field(i)[row]
            if not cell.is_valid:
                continue
            assert kind.name not in found, f"{kind.name} stands in both columns"
            if pa.types.is_fixed_size_list(kind.type):
                found[kind.name] = np.array(cell.as_py(), kind.type.value_type.to_pandas_dtype())
            else:
                found[kind.name] = cell.as_py()
    return plain(found)


def plain(value: Any) -> Any:
    """An info value as it can come back: numbers as Python's own but comparable bit for bit, keys sorted."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    if isinstance(value, np.ndarray) and value.shape:
        return value.copy()
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.item()
    return np.float64(value) if isinstance(value, float) else value


def assert_rows(found: list[Any], expected: list[Any]) -> None:
    """The same rows in the same order, bit for bit; says which row and field is not."""
    for i, (left, right) in enumerate(zip(found, expected, strict=False)):
        for name in right.__slots__:
            try:
                assert_same(getattr(left, name), getattr(right, name), f"row {i}: {name}")
            except AssertionError as error:
                error.add_note(f"found    {left}\nexpected {right}")
                raise
    assert len(found) == len(expected), f"{len(found)} rows found, {len(expected)} expected"


def _rows(batch: pa.RecordBatch, *names: str) -> Any:
    return zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def _check_order(batch: pa.RecordBatch) -> None:
    """[sub_env, step]: within a sub-environment in the order of time."""
    order = list(_rows(batch, "sub_env", "time", "episode", "t"))
    assert order == sorted(order), "rows are not in the order of [sub_env, step]"
