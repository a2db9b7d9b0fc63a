"""Fragments for tests: what a producer would send, made from a few numbers.

`Producer` numbers fragments and episodes as a real one does. Every value of a row follows from its key, so a
test can say what must be found on the disk without keeping what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.columns import table_schema
from rolltape.schema.messages import FragmentHeader, ProducerKey

RUN_ID = "01K00000000000000000000000"
OBSERVATION = pa.field("observation", pa.list_(pa.float32(), 4))
ACTION = pa.field("action", pa.int64())
STEPS = table_schema("steps", observation=OBSERVATION, action=ACTION)
FRAMES = table_schema("frames")
EPISODES = table_schema("episodes", observation=OBSERVATION)
LEDGER = table_schema("ledger")
TIME_0_US = 1_790_000_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """A header and the batches of its tables, in no particular order."""

    header: FragmentHeader
    batches: Mapping[str, pa.RecordBatch]


def constant(value: str, rows: int, kind: pa.DataType) -> pa.DictionaryArray:
    """A column of one string as a dictionary of one entry."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int8)), pa.array([value], pa.string())).cast(
        kind
    )


def batch(schema: pa.Schema, rows: int, values: Mapping[str, Any]) -> pa.RecordBatch:
    """A batch of `schema`; `values` are arrays or one value for all rows; what is missing is null."""
    columns = []
    for field in schema:
        value = values.get(field.name)
        if value is None:
            columns.append(pa.nulls(rows, field.type))
        elif pa.types.is_dictionary(field.type) and isinstance(value, str):
            columns.append(constant(value, rows, field.type))
        elif isinstance(value, pa.Array):
            columns.append(value.cast(field.type))
        elif isinstance(value, int | float | bool | str):
            columns.append(pa.repeat(pa.scalar(value, field.type), rows))
        else:
            columns.append(pa.array(value, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class Producer:
    """One life of a producer with `num_envs` sub-environments whose episodes all have `length` steps.

    `fragment(steps_per_env)` returns the next fragment. With `frames` > 0 each step brings a picture of that
    many bytes. Sub-environments are numbered from `number * num_envs`.
    """

    def __init__(
        self,
        number: int = 0,
        incarnation: int = 0,
        *,
        num_envs: int = 2,
        length: int = 3,
        frames: int = 0,
        run_id: str = RUN_ID,
        episode_stride: int = 1000,
    ) -> None:
        self.key = ProducerKey(number, incarnation)
        self.num_envs, self.length, self.frame_bytes, self.run_id = num_envs, length, frames, run_id
        self.stride = episode_stride
        self.sequence = self.steps = self.episodes = 0
        self._clock = 0  # steps of each sub-environment

    def fragment(self, steps_per_env: int = 2) -> Fragment:
        """The next fragment: `steps_per_env` steps of each sub-environment, in the order [sub_env, t]."""
        self.sequence += 1
        n, length = self.num_envs, self.length
        clock = np.arange(self._clock, self._clock + steps_per_env)
        self._clock += steps_per_env
        sub_env = np.repeat(np.arange(n) + self.key.producer * n, steps_per_env).astype(np.int32)
        clocks = np.tile(clock, n)
        t = (clocks % length).astype(np.int32)
        episode = sub_env + self.stride * (clocks // length + 100 * self.key.incarnation)
        rows = len(t)
        ends = t == length - 1
        keys = {
            "run_id": self.run_id,
            "agent_id": "agent_0",
            "worker": self.key.producer,
            "incarnation": self.key.incarnation,
            "fragment": self.sequence,
        }
        observation = (episode[:, None] * 10 + t[:, None] + np.arange(4)).astype(np.float32)
        steps = batch(
            STEPS,
            rows,
            keys
            | {
                "sub_env": sub_env,
                "episode": episode,
                "t": t,
                "time": pa.array(TIME_0_US + clocks, pa.timestamp("us", tz="UTC")),
                "observation": pa.FixedSizeListArray.from_arrays(observation.reshape(-1), 4),
                "action": (episode + t) % 2,
                "reward": 1.0,
                "terminated": pa.array(ends),
                "truncated": False,
            },
        )
        batches = {"steps": steps}
        if self.frame_bytes:
            batches["frames"] = self._frames(keys, sub_env, episode, t)
        ended = int(ends.sum())
        if ended:
            batches["episodes"] = batch(
                EPISODES,
                ended,
                keys
                | {
                    "sub_env": sub_env[ends],
                    "episode": episode[ends],
                    "env_id": "Test-v0",
                    "status": "completed",
                    "length": length,
                    "return": float(length),
                    "terminated": True,
                    "truncated": False,
                    "replay": "none",
                },
            )
        self.steps += rows
        self.episodes += ended
        header = FragmentHeader(
            key=self.key,
            sequence=self.sequence,
            steps=rows,
            episodes=ended,
            steps_total=self.steps,
            episodes_total=self.episodes,
            nbytes=sum(b.get_total_buffer_size() for b in batches.values()),
            opened_ns=TIME_0_US * 1000,
            closed_ns=TIME_0_US * 1000 + 1,
        )
        return Fragment(header, batches)

    def _frames(self, keys: dict, sub_env: np.ndarray, episode: np.ndarray, t: np.ndarray) -> pa.RecordBatch:
        data = [
            (int(e * 1000 + i).to_bytes(8, "little") * (self.frame_bytes // 8 + 1))[: self.frame_bytes]
            for e, i in zip(episode, t, strict=True)
        ]
        return batch(
            FRAMES,
            len(t),
            keys
            | {
                "sub_env": sub_env,
                "episode": episode,
                "t": t,
                "kind": "observation",
                "format": f"uint8[{self.frame_bytes}]",
                "data": pa.array(data, pa.binary()),
            },
        )
