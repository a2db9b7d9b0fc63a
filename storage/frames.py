"""Pictures <-> rows of the frames table: bytes in C order in a binary column, one picture a row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from rolltape.schema.errors import CorruptRecording
from rolltape.schema.frame_layout import FrameLayout, check_fits, is_image_space, picture_layout, stored_layout

__all__ = ["FrameLayout", "from_rows", "is_image_space", "picture_layout", "stored_layout", "to_rows"]


def to_rows(layout: FrameLayout, pictures: np.ndarray) -> pa.Array:
    """Pictures (n, *shape) as the `data` column of n rows.

    The column shares the memory of `pictures` where they lie as they are stored: do not write to them after.

    Raises:
        SchemaMismatch: they are more than 2 GiB, and Arrow counts the bytes of a binary column with 32 bits.
    """
    check_fits(len(pictures) * layout.nbytes, f"{len(pictures):,} pictures")
    stored = layout.to_stored(pictures)
    offsets = np.arange(len(stored) + 1, dtype=np.int32) * np.int32(layout.nbytes)
    data = pa.py_buffer(stored.reshape(-1).view(np.uint8))
    return pa.BinaryArray.from_buffers(pa.binary(), len(stored), [None, pa.py_buffer(offsets), data])


def from_rows(layout: FrameLayout, data: pa.Array) -> np.ndarray:
    """The pictures (n, *shape) of a `data` column without nulls: a read-only view of its memory.

    Raises:
        CorruptRecording: a row has not the bytes that a picture of this layout has.
    """
    n, size = len(data), layout.nbytes
    _, offset_buffer, values = data.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, n + 1, data.offset * 4)
    if data.null_count or not (np.diff(offsets) == size).all():
        raise CorruptRecording(f"frames that are not {size} bytes long, but their format is {layout.format}")
    flat = np.frombuffer(values, np.uint8, n * size, offsets[0]) if n else np.empty(0, np.uint8)
    pictures = layout.from_stored(flat.view(layout.dtype).reshape(n, *layout.stored_shape))
    pictures.flags.writeable = False
    return pictures
