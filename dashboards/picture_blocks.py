"""Some pictures of an episode in one piece of bytes: each `<u32 t, u32 bytes>` and a PNG."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from rolltape.storage.frame_store import Frames

from .pngs import png

PICTURE_HEAD: Final = struct.Struct("<II")
"""Before each picture: t, number of bytes."""


def picture_block(frames: Frames, first: int, count: int, every: int = 1) -> bytes:
    """`count` pictures, those of t from `first` on, every `every`-th; fewer where the episode ends, then also none.

    Raises:
        LakeNotFound: they are of a type that cannot be shown.
        MissingExtra: Pillow is not installed.
    """
    start = int(np.searchsorted(frames.t, first))
    places = range(start, len(frames), every)[:count]
    body = bytearray()
    if places:
        block = frames[places[0] : places[-1] + 1]
        for place in places:
            encoded = png(block[place - places[0]])
            body += PICTURE_HEAD.pack(int(frames.t[place]), len(encoded)) + encoded
    return bytes(body)
