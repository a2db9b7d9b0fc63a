"""Pictures of a fragment: one preallocated block, filled in place, that becomes an Arrow binary column without a copy.

The block is `[sub-environment, picture, bytes]`, so that a fragment is in the order in which pictures compress best
(the same game's last frame is next to it). A sub-environment's region may hold more or fewer pictures than its
neighbour's; the holes are closed only where there are any.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.frame_layout import FrameLayout
from rolltape.schema.messages import ProducerKey
from rolltape.schema.run_schema import RunSchema

from .episode_rows import constant, key_columns

ROOM: Final = 2
"""Pictures that one step may bring for one sub-environment: the last of an episode and the first of the next."""


class FrameRows:
    """Pictures of one kind for all sub-environments of a producer."""

    def __init__(self, schema: RunSchema, kind: str, layout: FrameLayout, num_envs: int, max_bytes: int) -> None:
        self._schema, self._kind, self._layout = schema, kind, layout
        self._num_envs = num_envs
        self._frame_bytes = layout.nbytes
        self._slots = max(ROOM, max_bytes // max(1, num_envs * layout.nbytes))
        self._block = np.empty((num_envs, self._slots, *layout.stored_shape), layout.dtype)
        self._episode = np.zeros((num_envs, self._slots), np.int64)
        self._t = np.zeros((num_envs, self._slots), np.int32)
        self._count = np.zeros(num_envs, np.int64)
        self._highest = 0

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
        self._block[place, slot] = self._layout.to_stored(picture)
        self._episode[place, slot] = episode
        self._t[place, slot] = t
        self._count[place] = slot + 1
        self._highest = max(self._highest, slot + 1)

    def drop(self, place: int, episode: int, t: int) -> None:
        """Take back the newest pictures of an episode after `t`."""
        slot = int(self._count[place])
        while slot and self._episode[place, slot - 1] == episode and self._t[place, slot - 1] > t:
            slot -= 1
        self._count[place] = slot

    def _grow(self) -> None:
        """More room, where a full fragment could not be sent because the wait for it was interrupted."""
        more = self._slots + ROOM
        for name in ("_block", "_episode", "_t"):
            old = getattr(self, name)
            new = np.empty((self._num_envs, more, *old.shape[2:]), old.dtype)
            new[:, : self._slots] = old
            setattr(self, name, new)
        self._slots = more

    def close(self, key: ProducerKey, fragment: int, sub_env_offset: int) -> pa.RecordBatch | None:
        """All pictures as a batch (its data is a view of this block until the next `add`), and empty again."""
        n = self.rows
        if not n:
            return None
        counts = self._count
        if self._num_envs == 1:
            take = np.s_[0, :n]
            block, episode, t = self._block[take], self._episode[take], self._t[take]
        elif (counts == self._slots).all():
            block, episode, t = self._block, self._episode, self._t
        else:
            filled = np.arange(self._slots) < counts[:, None]
            block, episode, t = self._block[filled], self._episode[filled], self._t[filled]
        offsets = np.arange(n + 1, dtype=np.int32) * np.int32(self._frame_bytes)
        data = pa.BinaryArray.from_buffers(
            pa.binary(), n, [None, pa.py_buffer(offsets), pa.py_buffer(block.reshape(-1).view(np.uint8))]
        )
        sub_env = np.repeat(np.arange(sub_env_offset, sub_env_offset + self._num_envs), counts)
        columns = [
            *key_columns(self._schema, key, fragment, sub_env, episode.reshape(-1).copy()),
            pa.array(t.reshape(-1).copy()),
            constant(self._kind, n),
            constant(self._layout.format, n),
            data,
        ]
        self._count[:] = 0
        self._highest = 0
        return pa.RecordBatch.from_arrays(columns, schema=self._schema.arrow("frames"))
