"""Pictures of a fragment: a block of memory, filled in place, that becomes an Arrow binary column without a copy.

The block is `[sub-environment, picture, bytes]`, so that a fragment is in the order in which pictures compress best
(the same game's last frame is next to it). A sub-environment's region may hold more or fewer pictures than its
neighbour's; the holes are closed only where there are any.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.frame_layout import FrameLayout
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import constant, key_columns

SPARES: Final = 1
"""Blocks kept for the next fragment: one is filled while another is sent."""
ROOM: Final = 2
"""Pictures that one step may bring for one sub-environment: the last of an episode and the first of the next."""


class _Block:
    """Memory for the pictures of one fragment."""

    def __init__(self, layout: FrameLayout, num_envs: int, slots: int) -> None:
        self.data = np.empty((num_envs, slots, *layout.stored_shape), layout.dtype)
        self.episode = np.zeros((num_envs, slots), np.int64)
        self.t = np.zeros((num_envs, slots), np.int32)
        self.count = np.zeros(num_envs, np.int64)

    def grown(self, more: int) -> _Block:
        """A copy with room for `more` pictures a sub-environment."""
        new = copy.copy(self)
        for name in ("data", "episode", "t"):
            old = getattr(self, name)
            array = np.empty((len(old), old.shape[1] + more, *old.shape[2:]), old.dtype)
            array[:, : old.shape[1]] = old
            setattr(new, name, array)
        return new


class FrameRows:
    """Pictures of one kind for all sub-environments of a producer: those of the open fragment."""

    def __init__(self, schema: RunSchema, kind: str, layout: FrameLayout, num_envs: int, max_bytes: int) -> None:
        self._schema, self._kind, self._layout = schema, kind, layout
        self._num_envs = num_envs
        self._frame_bytes = layout.nbytes
        self._room = max(ROOM, max_bytes // max(1, num_envs * layout.nbytes))
        self._spare: list[_Block] = []
        self._begin()

    def _begin(self) -> None:
        block = self._spare.pop() if self._spare else _Block(self._layout, self._num_envs, self._room)
        block.count[:] = 0
        self._block, self._count, self._slots, self._highest = block, block.count, block.data.shape[1], 0

    @property
    def full(self) -> bool:
        """True where the next step might not find room."""
        return self._highest + ROOM > self._slots

    @property
    def rows(self) -> int:
        """Pictures in the open fragment."""
        return int(self._count.sum())

    @property
    def nbytes(self) -> int:
        """Bytes of those pictures."""
        return self.rows * self._frame_bytes

    def check(self, episode: int, t: int, picture: np.ndarray) -> None:
        """Raises SchemaMismatch where a picture has not the shape and dtype of the others."""
        if picture.shape != self._layout.shape or picture.dtype != self._layout.dtype:
            raise SchemaMismatch(
                f"{self._kind} picture of episode {episode}, t {t}: expected {self._layout.dtype}"
                f"{list(self._layout.shape)}, found {picture.dtype}{list(picture.shape)}. "
                "All pictures of a run have one shape."
            )

    def add(self, place: int, episode: int, t: int, picture: np.ndarray) -> None:
        """Copy one picture of sub-environment `place` (from 0 in this producer). Raises SchemaMismatch."""
        self.check(episode, t, picture)
        slot = int(self._count[place])
        if slot == self._slots:
            self._grow()
        block = self._block
        block.data[place, slot] = self._layout.to_stored(picture)
        block.episode[place, slot] = episode
        block.t[place, slot] = t
        self._count[place] = slot + 1
        self._highest = max(self._highest, slot + 1)

    def drop(self, place: int, episode: int, t: int) -> None:
        """Take back the newest pictures of an episode after `t`."""
        slot = int(self._count[place])
        block = self._block
        while slot and block.episode[place, slot - 1] == episode and block.t[place, slot - 1] > t:
            slot -= 1
        self._count[place] = slot

    def _grow(self) -> None:
        """More room, where a full fragment could not be sent because the wait for it was interrupted."""
        self._block = self._block.grown(ROOM)
        self._slots += ROOM

    def seal(self) -> SealedFrames | None:
        """Take the pictures out; None where there are none."""
        if not self.rows:
            return None
        sealed = SealedFrames(self._schema, self._kind, self._layout, self._block, self._spare)
        self._begin()
        return sealed


@dataclass(frozen=True, slots=True)
class SealedFrames:
    """Pictures of one kind of a fragment that takes no more."""

    schema: RunSchema
    kind: str
    layout: FrameLayout
    block: _Block
    spare: list[_Block]

    def batch(self, key: ProducerKey, fragment: int, sub_env_offset: int) -> pa.RecordBatch:
        """All pictures; the data may be a view of memory that `release` gives back."""
        counts, data, episode, t = self.block.count, self.block.data, self.block.episode, self.block.t
        n = int(counts.sum())
        if len(counts) == 1:
            take = np.s_[0, :n]
            data, episode, t = data[take], episode[take], t[take]
        elif not (counts == data.shape[1]).all():
            filled = np.arange(data.shape[1]) < counts[:, None]
            data, episode, t = data[filled], episode[filled], t[filled]
        offsets = np.arange(n + 1, dtype=np.int32) * np.int32(self.layout.nbytes)
        pictures = pa.BinaryArray.from_buffers(
            pa.binary(), n, [None, pa.py_buffer(offsets), pa.py_buffer(data.reshape(-1).view(np.uint8))]
        )
        sub_env = np.repeat(np.arange(sub_env_offset, sub_env_offset + len(counts)), counts)
        columns = [
            *key_columns(self.schema, key, fragment, sub_env, episode.reshape(-1)),
            pa.array(t.reshape(-1)),
            constant(self.kind, n),
            constant(self.layout.format, n),
            pictures,
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema.arrow("frames"))

    def release(self) -> None:
        """The batch was copied: its memory may take the pictures of another fragment."""
        if len(self.spare) < SPARES:
            self.spare.append(self.block)
