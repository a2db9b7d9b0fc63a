"""Recorded pictures as PNG, without loss: the pixels that a browser shows are those that were recorded."""

from __future__ import annotations

import io

import numpy as np

from rolltape.schema.errors import LakeNotFound, MissingExtra


def png(picture: np.ndarray) -> bytes:
    """A picture as PNG.

    Args:
        picture: uint8, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); of a stack (H, W, n) the newest, which is the last.

    Raises:
        LakeNotFound: an array of another type or shape: it is data, and no picture of it is there.
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pictures need Pillow: pip install 'rolltape[dashboard]'") from None

    shown = shown_part(picture)
    out = io.BytesIO()
    Image.fromarray(shown).save(out, "PNG", compress_level=1)
    return out.getvalue()


def shown_part(picture: np.ndarray) -> np.ndarray:
    """What of a picture is shown, (H, W), (H, W, 3) or (H, W, 4). Raises LakeNotFound where nothing can be."""
    if picture.dtype == np.uint8 and min(picture.shape[:2], default=0) > 0:
        if picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4)):
            return np.ascontiguousarray(picture)
        if picture.ndim == 3 and picture.shape[2] <= 16:
            return np.ascontiguousarray(picture[..., -1])
        if picture.ndim == 3 and picture.shape[0] <= 16:
            return np.ascontiguousarray(picture[-1])
    raise LakeNotFound(
        f"Pictures of {picture.dtype}{list(picture.shape)} cannot be shown: expected uint8 of (H, W) or (H, W, C). "
        "`run.frames(episode)` gives them as arrays."
    )
