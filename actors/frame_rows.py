"""Pictures of a fragment: a block of memory, filled in place, that becomes an Arrow binary column.

The block has a region for each sub-environment, so that a fragment is in the order in which pictures compress best
(the same game's last frame is next to it). A region takes pictures one after the other, whole or as changes since the
last one; what is left of it is closed only where there are several regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.frame_layout import MOST_BYTES, FrameLayout, check_fits
from rolltape.schema.messages import ProducerKey
from rolltape.schema.picture_changes import LEAST_BYTES, ChangeWriter
from rolltape.schema.run_schema import RunSchema

from .episode_rows import constant, key_columns

SPARES: Final = 1
"""Blocks kept for the next fragment: one is filled while another is sent."""
ROOM: Final = 2
"""Pictures that one step may bring for one sub-environment: the last of an episode and the first of the next."""
CHANGED: Final = 4
"""How many times as many pictures a fragment takes where most of each repeats the last one."""


class FrameRows:
    """Pictures of one kind for all sub-environments of a producer: those of the open fragment.

    Attributes:
        most: so many of one sub-environment make the fragment full.
    """

    def __init__(self, schema: RunSchema, kind: str, layout: FrameLayout, num_envs: int, max_bytes: int) -> None:
        self._schema, self._kind, self._layout = schema, kind, layout
        self._shape, self._dtype = layout.shape, np.dtype(layout.dtype)
        self._num_envs = num_envs
        self._frame_bytes = layout.nbytes
        self._changes = ChangeWriter(num_envs, layout.nbytes)
        whole = max(ROOM, max_bytes // max(1, num_envs * layout.nbytes))
        self._usual_room = whole * layout.nbytes
        most = whole * CHANGED if layout.nbytes >= LEAST_BYTES else whole
        self.most = max(ROOM, min(most, MOST_BYTES // max(1, num_envs * layout.nbytes)))
        self._spare: list[np.ndarray] = []
        self._begin()

    def _begin(self) -> None:
        self._block = self._spare.pop() if self._spare else np.empty((self._num_envs, self._usual_room), np.uint8)
        self._use(self._block)
        self._state = np.zeros((2, self._num_envs), np.int64)
        self._at, self._count = (row.data for row in self._state)
        """How far a region is filled, and with how many pictures."""
        self._note_in(np.empty((self._num_envs, self.most, 3), np.int64))
        self._highest = self._furthest = 0
        self._changes.begin()

    def _note_in(self, noted: np.ndarray) -> None:
        """Of each picture where it ends in its region, its episode and t."""
        self._noted, self._cells = noted, noted.data

    def _use(self, block: np.ndarray) -> None:
        self._block, self._flat, self._room = block, block.reshape(-1), block.shape[1]

    @property
    def full(self) -> bool:
        """True where the next step might not find room."""
        return self._highest + ROOM > self.most or self._furthest + ROOM * self._frame_bytes > self._room

    @property
    def rows(self) -> int:
        """Pictures in the open fragment."""
        return sum(self._count)

    @property
    def nbytes(self) -> int:
        """Bytes that those pictures take."""
        return sum(self._at)

    def check(self, episode: int, t: int, picture: np.ndarray) -> None:
        """Raises SchemaMismatch where a picture has not the shape and dtype of the others."""
        if picture.shape != self._shape or picture.dtype != self._dtype:
            raise SchemaMismatch(
                f"{self._kind} picture of episode {episode}, t {t}: expected {self._layout.dtype}"
                f"{list(self._layout.shape)}, found {picture.dtype}{list(picture.shape)}. "
                "All pictures of a run have one shape."
            )

    def add(self, place: int, episode: int, t: int, picture: np.ndarray) -> None:
        """Copy one picture of sub-environment `place` (from 0 in this producer). Raises SchemaMismatch."""
        self.check(episode, t, picture)
        at = self._at[place]
        if at + self._frame_bytes > self._room or self._count[place] == self._noted.shape[1]:
            self._grow()
        stored = self._layout.to_stored(picture)
        at += self._changes.write(place, stored, self._flat, place * self._room + at)
        cells, count = self._cells, self._count[place]
        cells[place, count, 0], cells[place, count, 1], cells[place, count, 2] = at, episode, t
        self._at[place], self._count[place] = at, count + 1
        self._highest, self._furthest = max(self._highest, count + 1), max(self._furthest, at)

    def drop(self, place: int, episode: int, t: int) -> None:
        """Take back the newest pictures of an episode after `t`."""
        count = self._count[place]
        while count and self._cells[place, count - 1, 1] == episode and self._cells[place, count - 1, 2] > t:
            count -= 1
        self._count[place] = count
        self._at[place] = self._cells[place, count - 1, 0] if count else 0
        self._changes.forget(place)

    def _grow(self) -> None:
        """More room, where a full fragment could not be sent because the wait for it was interrupted."""
        block = np.empty((self._num_envs, self._room + ROOM * self._frame_bytes), np.uint8)
        block[:, : self._room] = self._block
        self._use(block)
        self._note_in(np.concatenate([self._noted, np.empty_like(self._noted)], axis=1))

    @property
    def memory(self) -> tuple[np.ndarray, ...]:
        """What C needs to add pictures of one environment: the block, what was noted, how far and how many, (2, 1), and
        what `ChangeWriter.memory` says."""
        return self._flat, self._noted, self._state, *self._changes.memory

    def seal(self) -> SealedFrames | None:
        """Take the pictures out; None where there are none."""
        if not self.rows:
            return None
        counts = self._state[1].tolist()
        noted = [region[:count] for region, count in zip(self._noted, counts, strict=True)]
        sealed = SealedFrames(self._schema, self._kind, self._layout, self._block, noted, self._spare)
        self._begin()
        return sealed


@dataclass(frozen=True, slots=True)
class SealedFrames:
    """Pictures of one kind of a fragment that takes no more."""

    schema: RunSchema
    kind: str
    layout: FrameLayout
    block: np.ndarray
    noted: list[np.ndarray]
    spare: list[np.ndarray]

    def batch(self, key: ProducerKey, fragment: int, sub_env_offset: int) -> pa.RecordBatch:
        """All pictures, as `picture_changes` says; the data may be a view of memory that `release` gives back.

        Raises SchemaMismatch where one column cannot count their bytes.
        """
        ends, episode, t = np.concatenate(self.noted).T
        counts = [len(rows) for rows in self.noted]
        used = [int(rows[-1, 0]) if len(rows) else 0 for rows in self.noted]
        check_fits(sum(used), f"The {self.kind} pictures of a fragment")
        if len(used) == 1 or min(used) == self.block.shape[1]:
            data = self.block.reshape(-1)[: sum(used)]
        else:
            data = np.concatenate([region[:end] for region, end in zip(self.block, used, strict=True)])
        n = len(t)
        offsets = np.zeros(n + 1, np.int32)
        offsets[1:] = ends + np.repeat(np.cumsum([0, *used[:-1]]), counts)
        pictures = pa.BinaryArray.from_buffers(pa.binary(), n, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
        sub_env = np.repeat(np.arange(sub_env_offset, sub_env_offset + len(counts)), counts)
        columns = [
            *key_columns(self.schema, key, fragment, sub_env, episode),
            pa.array(t.astype(np.int32)),
            constant(self.kind, n),
            constant(self.layout.format, n),
            pictures,
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema.arrow("frames"))

    def release(self) -> None:
        """The batch was copied: its memory may take the pictures of another fragment."""
        if len(self.spare) < SPARES:
            self.spare.append(self.block)
