"""Pictures on their way from a producer to its writer: each whole, or only where it differs from the one before.

An emulator's picture mostly repeats the last one. What is not copied, sent and kept in flight costs nothing, and caches
stay with the environment. Recordings never hold any of this: a writer puts pictures together again before it encodes.

Rules:
1. A value of the column `data` that is as long as `format` says is a picture. A shorter one is the changes since the
   picture before it in the same batch, which is of the same stream: chunks of `CHUNK` bytes, each behind its number
   (uint32, in the machine's byte order: both ends are one cluster's), and then the bytes behind the last whole chunk.
2. The first picture of a stream in a batch is whole, so that every fragment stands alone.
3. Changes are written only where they are less than half of the picture. After `MISSES` pictures in a row that were not
   worth it, no more are looked for until the next fragment.
4. Slices of a batch may be put together one after the other, in their order; anything else needs `whole` first.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from .errors import CorruptRecording
from .frame_layout import FrameLayout, check_fits

CHUNK: Final = 64
"""Bytes that are compared and sent as one."""
MISSES: Final = 2
LEAST_BYTES: Final = 16 << 10
"""Smaller pictures are always sent whole: a copy costs less than a comparison."""
_NUMBERED: Final = np.dtype([("place", np.uint32), ("chunk", np.uint8, CHUNK)])
_SIZE: Final = _NUMBERED.itemsize
Changes = Callable[[np.ndarray, np.ndarray, int, np.ndarray, int, int], int]


def changes_in_numpy(
    picture: np.ndarray, last: np.ndarray, last_at: int, room: np.ndarray, room_at: int, worth: int
) -> int:
    """What `_changes.changes` does where that was not built: the same bytes, at more than twice the cost."""
    flat = picture.reshape(-1).view(np.uint8)
    body = len(flat) // CHUNK * CHUNK
    before = last[last_at : last_at + body]
    differ = flat[:body].view(np.uint64) != before.view(np.uint64)
    places = differ.view(np.uint64).nonzero()[0]
    end = len(places) * _SIZE
    used = end + len(flat) - body
    if used >= worth:
        return -1
    written = room[room_at : room_at + end].view(_NUMBERED)
    chunks = flat[:body].reshape(-1, CHUNK)[places]
    written["place"], written["chunk"] = places, chunks
    before.reshape(-1, CHUNK)[places] = chunks
    room[room_at + end : room_at + used] = flat[body:]
    return used


try:
    from ._changes import changes
except ImportError:  # no compiler where it was installed
    changes = changes_in_numpy


class ChangeWriter:
    """Writes the pictures of some streams, which have one size.

    Args:
        streams: how many.
        nbytes: bytes of one picture.
        find: finds changes.
    """

    def __init__(self, streams: int, nbytes: int, find: Changes = changes) -> None:
        self._nbytes, self._body = nbytes, nbytes // CHUNK * CHUNK
        self._worth = nbytes // 2
        self._tried = nbytes >= LEAST_BYTES
        self._find = find
        self._state = np.zeros((2, streams), np.int64)
        self._known, self._misses = (row.data for row in self._state)
        self._state[1] = 0 if self._tried else MISSES
        self._last = np.empty(streams * self._body if self._tried else 0, np.uint8)

    def begin(self) -> None:
        """The next pictures are of another fragment."""
        if self._tried:
            self._state[:] = 0

    def forget(self, stream: int) -> None:
        """The last picture was taken back."""
        self._known[stream] = 0

    @property
    def memory(self) -> tuple[np.ndarray, np.ndarray]:
        """What it knows, for C: whether a stream's last picture is known and its misses, int64 (2, streams); and those
        pictures, uint8."""
        return self._state, self._last

    def write(self, stream: int, picture: np.ndarray, room: np.ndarray, at: int) -> int:
        """Write the next picture of a stream to `room[at:]`.

        Args:
            stream: from 0.
            picture: `nbytes` bytes, C-contiguous.
            room: uint8, one axis; at least `nbytes` behind `at`.
            at: where.

        Returns:
            How many bytes were written.
        """
        nbytes = self._nbytes
        tried = self._misses[stream] < MISSES
        if tried and self._known[stream]:
            used = self._find(picture, self._last, stream * self._body, room, at, self._worth)
            if used >= 0:
                self._misses[stream] = 0
                return used
            self._misses[stream] += 1
        flat = picture.reshape(-1).view(np.uint8)
        room[at : at + nbytes] = flat
        if tried:
            self._last[stream * self._body : (stream + 1) * self._body] = flat[: self._body]
            self._known[stream] = 1
        return nbytes


class ChangeReader:
    """Puts pictures together again, slice after slice of batches whose streams are in order.

    What it gives is valid until the next call: memory is used again.
    """

    def __init__(self) -> None:
        self._last = np.empty(0, np.uint8)
        self._memory = np.empty(0, np.uint8)

    def whole(self, rows: pa.Table) -> pa.Table:
        """The same rows with whole pictures; the rows themselves where they are whole already.

        Raises:
            CorruptRecording: changes without a picture before them, or of another size.
            SchemaMismatch: more pictures than one column can count the bytes of.
        """
        if not rows.num_rows:
            return rows
        values = [_values(chunk) for chunk in rows.column("data").chunks if len(chunk)]
        size = sizes_of(rows)
        length = np.concatenate([np.diff(offsets) for offsets, _ in values])
        if (length == size).all():
            offsets, held = values[-1]
            self._last = held[offsets[-2] : offsets[-1]]
            return rows
        ends = np.concatenate([[0], np.cumsum(size)])
        check_fits(int(ends[-1]), "Pictures whose changes were sent")
        memory, last = self._room(int(ends[-1])), self._last
        bounds, row = ends.tolist(), 0
        for offsets, held in values:
            starts = offsets.tolist()
            for start, stop in pairwise(starts):
                picture = memory[bounds[row] : bounds[row + 1]]
                _put_together(picture, held[start:stop], last)
                last = picture
                row += 1
        self._last = last.copy()
        buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(memory)]
        place = rows.schema.get_field_index("data")
        pictures = pa.BinaryArray.from_buffers(pa.binary(), row, buffers)
        return rows.set_column(place, rows.schema.field(place), pictures)

    def _room(self, nbytes: int) -> np.ndarray:
        if len(self._memory) < nbytes:
            self._memory = np.empty(nbytes, np.uint8)
        return self._memory[:nbytes]


def whole(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of frames with whole pictures, in memory of its own where it had changes. Raises CorruptRecording."""
    rows = ChangeReader().whole(pa.Table.from_batches([batch]))
    return rows.to_batches()[0] if batch.num_rows else batch


def changed(last: np.ndarray, data: bytes) -> np.ndarray:
    """The picture after the C-contiguous `last`, in memory of its own. Raises CorruptRecording."""
    picture = np.empty_like(last)
    flat = (array.reshape(-1).view(np.uint8) for array in (picture, last))
    _put_together(next(flat), np.frombuffer(data, np.uint8), next(flat))
    return picture


def sizes_of(rows: pa.Table) -> np.ndarray:
    """Bytes of the pictures of rows of frames, int64, by their `format`; without one, of what there is."""
    found: list[np.ndarray] = []
    for batch in rows.to_batches():
        formats, data = batch.column("format"), batch.column("data")
        if not pa.types.is_dictionary(formats.type):
            formats = formats.dictionary_encode()
        known = [FrameLayout.parse(text).nbytes for text in formats.dictionary.to_pylist()]
        indices = formats.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        there = np.diff(_values(data)[0])
        found.append(np.where(indices < len(known), np.array([*known, 0], np.int64)[indices], there))
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _values(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of n values, int32[n + 1], and the bytes that they count in."""
    _, offsets, held = column.buffers()
    counted = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    return counted, np.empty(0, np.uint8) if held is None else np.frombuffer(held, np.uint8)


def _put_together(picture: np.ndarray, value: np.ndarray, last: np.ndarray) -> None:
    nbytes, rest = len(picture), len(picture) % CHUNK
    if len(value) == nbytes:
        picture[:] = value
        return
    end = len(value) - rest
    if end < 0 or end % _SIZE or len(last) != nbytes:
        raise CorruptRecording(
            f"changes of {len(value)} bytes since a picture of {len(last)}, where pictures have {nbytes}. "
            "This is a defect of Rolltape."
        )
    picture[:] = last
    written = value[:end].view(_NUMBERED)
    picture[: nbytes - rest].reshape(-1, CHUNK)[written["place"]] = written["chunk"]
    picture[nbytes - rest :] = value[end:]
