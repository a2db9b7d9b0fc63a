"""A block of a vector environment's rows, from the fragment that is filled to the batches that are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import EpisodeRows, key_columns
from .frame_rows import SealedFrames
from .grids import grid, ordered
from .infos import InfoColumns, InfoTypes
from .obituary import Obituary, ledger_batch
from .sealed import SPARES, Batches

MANY: Final = 256
"""Sub-environments with which a step is array operations that leave the interpreter to others."""


class VectorBlock:
    """Memory for the rows of one fragment, `[slot, sub-environment]`, and for the observations after the last."""

    def __init__(self, schema: RunSchema, num_envs: int, slots: int) -> None:
        self.observations = grid(schema.observation, num_envs, slots + 1) if schema.has_observation_column else None
        self.actions = grid(schema.action, num_envs, slots)
        self.rewards = np.empty((slots, num_envs), np.float64)
        self.terminated = np.empty((slots, num_envs), bool)
        self.truncated = np.empty((slots, num_envs), bool)
        self.t = np.empty((slots, num_envs), np.int32)
        self.episode = np.empty((slots, num_envs), np.int64)
        self.valid = np.empty((slots, num_envs), bool)
        self.times = np.empty(slots, np.int64)

    @property
    def slots(self) -> int:
        """Steps that it has room for."""
        return len(self.times)

    @property
    def nbytes(self) -> int:
        """Bytes of values whose size the space does not say."""
        return self.actions.nbytes + (self.observations.nbytes if self.observations is not None else 0)

    def clear(self) -> None:
        """Forget everything."""
        self.actions.clear()
        if self.observations is not None:
            self.observations.clear()

    def grow(self) -> None:
        """Room for one slot more."""
        for name in ("rewards", "terminated", "truncated", "t", "episode", "valid"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, old[:1]]))
        self.times = np.append(self.times, 0)
        self.actions.grow()
        if self.observations is not None:
            self.observations.grow()


@dataclass(slots=True)
class SealedBlock:
    """A fragment of a vector environment. Implements `sealed.Sealed`."""

    schema: RunSchema
    key: ProducerKey
    sub_env: np.ndarray
    slots: int
    rows: int
    block: VectorBlock
    infos: InfoColumns
    info_types: InfoTypes
    episodes: EpisodeRows
    frames: list[SealedFrames]
    obituary: Obituary | None
    nbytes: int
    oldest_ns: int
    spare: list[VectorBlock]

    @property
    def bulky(self) -> bool:
        """As in `Sealed`."""
        return bool(self.frames) or len(self.sub_env) >= MANY

    def batches(self, fragment: int) -> Batches:
        """As in `Sealed`."""
        batches: Batches = {}
        frames = [sealed.batch(self.key, fragment, int(self.sub_env[0])) for sealed in self.frames]
        if frames:
            batches["frames"] = frames[0] if len(frames) == 1 else pa.concat_batches(frames)
        if self.rows:
            batches["steps"] = self._steps(fragment)
        ledger = self.obituary and ledger_batch(self.schema, self.obituary, self.key, fragment)
        if ledger is not None:
            batches["ledger"] = ledger
        if (episodes := self.episodes.close(self.key, fragment)) is not None:
            batches["episodes"] = episodes
        return batches

    def release(self) -> None:
        """As in `Sealed`."""
        for frames in self.frames:
            frames.release()
        self.block.clear()
        if len(self.spare) < SPARES:
            self.spare.append(self.block)

    def _steps(self, fragment: int) -> pa.RecordBatch:
        block, slots, num_envs = self.block, self.slots, len(self.sub_env)
        valid = block.valid[:slots]
        place, slot = np.divmod(np.flatnonzero(valid.T), slots)
        order = slot * num_envs + place

        def take(array: np.ndarray) -> np.ndarray:
            return ordered(array[:slots], order)

        columns = key_columns(self.schema, self.key, fragment, self.sub_env[place], take(block.episode))
        times = block.times.take(slot)
        columns += [pa.array(take(block.t)), pa.array(times).cast(pa.timestamp("us", tz="UTC"))]
        if block.observations is not None:
            columns.append(block.observations.take(order, slots))
        columns.append(block.actions.take(order, slots))
        columns += [pa.array(take(array)) for array in (block.rewards, block.terminated, block.truncated)]

        def row_of(noted: list[int]) -> np.ndarray:
            """From slot * N + place to the row of the batch, -1 where that was no transition."""
            rows = np.full(slots * num_envs, -1)
            rows[order] = np.arange(len(order))
            return rows[np.asarray(noted)]

        info, info_json = self.infos.close(self.rows, row_of)
        columns += [info_json] if info is None else [info, info_json]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema.arrow("steps", self.info_types.struct))
