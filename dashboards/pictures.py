"""Pictures for viewers: reduced, encoded, or composed to one mosaic. Pillow, imported when the first one comes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from .wire import CHANNELS, JPEG, PNG

MOST_SIDE: Final = 4096
"""Pixels of a mosaic's longer side."""
PNG_LEVEL: Final = 1
KEEPS_HALF: Final = 0.5
"""Tiles of a mosaic that become less than half as small leave pixels out, as producers do: a fifth of the time that
averaging takes, which for 64 tiles is the larger part of the whole."""


class Encoded(NamedTuple):
    """A picture as it is sent: codec of the wire, width and height in pixels, bytes."""

    codec: int
    width: int
    height: int
    data: bytes


class Layout(NamedTuple):
    """Where the tiles of a mosaic lie: tile i in column `i % columns`, row `i // columns`.

    Attributes:
        number: of the layout, unique within its viewer; 1 to 65,534.
        columns: tiles in a row.
        tile: width and height of a tile in pixels.
        streams: of the tiles, in their order.
    """

    number: int
    columns: int
    tile: tuple[int, int]
    streams: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the mosaic in pixels."""
        rows = math.ceil(len(self.streams) / self.columns)
        return self.columns * self.tile[0], rows * self.tile[1]


def colours(picture: np.ndarray) -> np.ndarray:
    """Any picture of an environment as uint8[height, width, 3].

    Args:
        picture: uint8 or bool (H, W), (H, W, 1), (H, W, 3), (H, W, 4), a stack (H, W, n) or (n, H, W), of which the
            newest, the last one, is shown. Floats are taken to lie between 0 and 1.

    Raises:
        ValueError: it has another shape.
    """
    if picture.dtype != np.uint8:
        scale = 255 if picture.dtype.kind in "fb" else 1
        picture = np.clip(np.nan_to_num(picture.astype(np.float32)) * scale, 0, 255).astype(np.uint8)
    if picture.ndim == 3 and picture.shape[-1] not in (1, CHANNELS, 4):
        channels_first = picture.shape[0] < min(picture.shape[1:])
        if channels_first and picture.shape[0] == CHANNELS:
            picture = np.moveaxis(picture, 0, -1)
        else:
            picture = picture[-1] if channels_first else picture[..., -1]
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[-1] not in (1, CHANNELS, 4) or not picture.size:
        raise ValueError(f"a picture has shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {picture.shape}")
    if picture.shape[-1] == 1:
        return np.repeat(picture, CHANNELS, axis=-1)
    return np.ascontiguousarray(picture[..., :CHANNELS])


def fitted(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height with which the longer side is at most `size`; 0: as it is. Pictures are never made larger."""
    longer = max(width, height)
    if size == 0 or longer <= size:
        return width, height
    return max(1, round(width * size / longer)), max(1, round(height * size / longer))


def encode(picture: np.ndarray, size: int, lossless: bool, quality: int) -> Encoded:
    """One picture for one tile. Raises ValueError for what is none."""
    from PIL import Image

    image = Image.fromarray(colours(picture))
    wanted = fitted(*image.size, size)
    if wanted != image.size:
        image = image.resize(
            wanted, Image.Resampling.BOX if wanted[0] * 2 <= image.size[0] else Image.Resampling.BILINEAR
        )
    out = io.BytesIO()
    if lossless:
        image.save(out, "PNG", compress_level=PNG_LEVEL)
    else:
        image.save(out, "JPEG", quality=quality)
    return Encoded(PNG if lossless else JPEG, *image.size, out.getvalue())


def layout_for(number: int, streams: Sequence[int], shape: tuple[int, int], size: int) -> Layout:
    """A layout of about equal width and height.

    Args:
        number: of the layout.
        streams: of its tiles.
        shape: width and height of the first picture.
        size: longer side of a tile, in pixels; 0 for the pictures' own. Smaller where there are many.
    """
    width, height = fitted(*shape, size)
    columns = max(1, math.ceil(math.sqrt(len(streams) * height / width)))
    columns = min(columns, len(streams))
    rows = math.ceil(len(streams) / columns)
    most = min(1.0, MOST_SIDE / (columns * width), MOST_SIDE / (rows * height))
    return Layout(number, columns, (max(1, int(width * most)), max(1, int(height * most))), tuple(streams))


class Mosaic:
    """The canvas of one viewer: tiles are put where they lie, the rest stays."""

    def __init__(self, layout: Layout) -> None:
        from PIL import Image

        self.layout = layout
        self._canvas = Image.new("RGB", layout.size)

    def compose(self, tiles: Mapping[int, np.ndarray], quality: int) -> tuple[Encoded, frozenset[int]]:
        """Put pictures, by the place of their tile, and encode the whole; the places of those that are no pictures."""
        from PIL import Image

        columns, (width, height) = self.layout.columns, self.layout.tile
        bad = set()
        for place, picture in tiles.items():
            try:
                image = Image.fromarray(colours(picture))
            except ValueError:
                bad.add(place)
                continue
            scale = min(width / image.width, height / image.height, 1.0)
            wanted = max(1, round(image.width * scale)), max(1, round(image.height * scale))
            if wanted != image.size:
                way = Image.Resampling.NEAREST if scale >= KEEPS_HALF else Image.Resampling.BOX
                image = image.resize(wanted, way)
            left, top = place % columns * width, place // columns * height
            if wanted != (width, height):
                self._canvas.paste((0, 0, 0), (left, top, left + width, top + height))
            self._canvas.paste(image, (left + (width - wanted[0]) // 2, top + (height - wanted[1]) // 2))
        out = io.BytesIO()
        self._canvas.save(out, "JPEG", quality=quality)
        return Encoded(JPEG, *self._canvas.size, out.getvalue()), frozenset(bad)
