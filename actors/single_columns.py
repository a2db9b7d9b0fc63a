"""Columns of one environment's rows, from the fragment that is filled to the batches that are sent."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import EpisodeRows, key_columns
from .frame_rows import SealedFrames
from .infos import InfoColumns, InfoTypes
from .sealed import SPARES, Batches
from .value_buffers import ValueBuffer, value_buffer

_SEGMENT: Final = np.dtype([("row", np.int64), ("episode", np.int64), ("t", np.int64)])
pack_segment: Final = struct.Struct("=qqq").pack
"""Where in a fragment an episode begins or goes on: row, episode, and t of that row; as bytes, see `pack_ended`."""


class Columns:
    """Memory for the rows of one fragment, and for the observation after the last."""

    def __init__(self, schema: RunSchema, capacity: int) -> None:
        self.capacity = capacity
        self.observations = value_buffer(schema.observation, capacity + 1) if schema.has_observation_column else None
        self.actions = value_buffer(schema.action, capacity)
        self.rewards = np.empty(capacity, np.float64)
        self.times = np.empty(capacity, np.int64)

    @property
    def values(self) -> list[ValueBuffer]:
        """What holds values of spaces."""
        return [self.actions] if self.observations is None else [self.actions, self.observations]

    def grow(self) -> None:
        """Twice the room."""
        self.capacity *= 2
        for values in self.values:
            values.grow(self.capacity + 1)
        self.rewards = np.resize(self.rewards, self.capacity)
        self.times = np.resize(self.times, self.capacity)


@dataclass(slots=True)
class SealedRows:
    """A fragment of one environment. Implements `sealed.Sealed`.

    Attributes:
        ends: rows that end an episode: the row times 4, plus 2 where it terminated, plus 1 where it was truncated.
        segments: of `pack_segment`, by row.
    """

    schema: RunSchema
    key: ProducerKey
    sub_env: int
    offset_ns: int
    rows: int
    columns: Columns
    ends: list[int]
    segments: list[bytes]
    infos: InfoColumns
    info_types: InfoTypes
    episodes: EpisodeRows
    frames: list[SealedFrames]
    nbytes: int
    oldest_ns: int
    spare: list[Columns]

    @property
    def bulky(self) -> bool:
        """As in `Sealed`."""
        return bool(self.frames)

    def batches(self, fragment: int) -> Batches:
        """As in `Sealed`."""
        batches: Batches = {}
        frames = [sealed.batch(self.key, fragment, self.sub_env) for sealed in self.frames]
        if frames:
            batches["frames"] = frames[0] if len(frames) == 1 else pa.concat_batches(frames)
        if self.rows:
            batches["steps"] = self._steps(fragment)
        if (episodes := self.episodes.close(self.key, fragment)) is not None:
            batches["episodes"] = episodes
        return batches

    def release(self) -> None:
        """As in `Sealed`."""
        for frames in self.frames:
            frames.release()
        for values in self.columns.values:
            values.clear()
        if len(self.spare) < SPARES:
            self.spare.append(self.columns)

    def _steps(self, fragment: int) -> pa.RecordBatch:
        n, columns = self.rows, self.columns
        segments = np.frombuffer(b"".join(self.segments), _SEGMENT)
        lengths = np.diff(segments["row"], append=n)
        episode = np.repeat(segments["episode"], lengths)
        first_t = np.repeat(segments["t"] - segments["row"], lengths)
        ends = np.array(self.ends, np.int64)
        terminated, truncated = np.zeros(n, bool), np.zeros(n, bool)
        terminated[ends >> 2], truncated[ends >> 2] = ends & 2, ends & 1
        info, info_json = self.infos.close(n)
        arrays = key_columns(self.schema, self.key, fragment, np.full(n, self.sub_env, np.int32), episode)
        arrays.append(pa.array((np.arange(n) + first_t).astype(np.int32)))
        arrays.append(pa.array((columns.times[:n] + self.offset_ns) // 1000).cast(pa.timestamp("us", tz="UTC")))
        if columns.observations is not None:
            arrays.append(columns.observations.take(n))
        arrays += [
            columns.actions.take(n),
            pa.array(columns.rewards[:n]),
            pa.array(terminated),
            pa.array(truncated),
        ]
        arrays += [info_json] if info is None else [info, info_json]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema.arrow("steps", self.info_types.struct))
