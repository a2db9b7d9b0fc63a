"""What a picture looks like as raw bytes: dtype, shape, and whether its channels are stored one by one.

Rules:
1. A picture is stored in C order; the `format` column names dtype and shape of the stored bytes, such as
   `uint8[210,160,3]`.
2. A channels-last *stack* (last axis 2..16 but not 3, both other axes at least 16) is stored
   planar as (C, H, W), because interleaved stacks compress 2.3 times worse. `run.json` says so under
   `frames.layouts`; readers turn it back.
3. Everything else is stored as the environment gave it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .errors import CorruptRecording, SchemaMismatch, UnsupportedSpace

if TYPE_CHECKING:
    import gymnasium as gym

MIN_SIDE: Final = 16
"""Fewer pixels than this on a side is a grid of features (MiniGrid's 7x7x3), not a picture."""
MOST_BYTES: Final = 2**31 - 1
"""Bytes of pictures in one Arrow column, which counts them with 32 bits."""
_STACK_DEPTHS: Final = frozenset(range(2, 17)) - {3}
_FORMAT: Final = re.compile(r"([a-z]+[0-9]*)\[([0-9]+(?:,[0-9]+)*)\]")


def check_fits(nbytes: int, what: str) -> None:
    """Whether one column holds so many bytes of pictures. Raises SchemaMismatch, which names `what` they are."""
    if nbytes > MOST_BYTES:
        raise SchemaMismatch(
            f"{what} are {nbytes:,} bytes; together they may have {MOST_BYTES:,}. Let fewer sub-environments step "
            "together (more workers), or record smaller pictures."
        )


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """How one kind of picture lies in the bytes of `frames.data`.

    Attributes:
        dtype: NumPy name of the element type, such as `uint8`.
        shape: shape that the environment gave and that readers return, (H, W) or (H, W, C) or (C, H, W).
        planar: whether an (H, W, C) picture is stored as (C, H, W).
    """

    dtype: str
    shape: tuple[int, ...]
    planar: bool = False

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the stored bytes: channels first where planar."""
        return (self.shape[-1], *self.shape[:-1]) if self.planar else self.shape

    @property
    def format(self) -> str:
        """Value of the `format` column, the stored dtype and shape: `uint8[4,84,84]`."""
        return f"{self.dtype}[{','.join(map(str, self.stored_shape))}]"

    @property
    def nbytes(self) -> int:
        """Bytes of one picture."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def to_stored(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (…, *shape) as a C-contiguous array (…, *stored_shape); no copy where nothing moves."""
        if self.planar:
            pictures = np.moveaxis(pictures, -1, -3)
        return np.ascontiguousarray(pictures)

    def from_stored(self, pictures: np.ndarray) -> np.ndarray:
        """The inverse of `to_stored`; a view, which is not contiguous where planar."""
        return np.moveaxis(pictures, -3, -1) if self.planar else pictures

    def describe(self) -> dict[str, Any] | None:
        """Entry of `run.json["frames"]["layouts"]`, or None where the format column says all."""
        return {"stored": "planar", "shape": list(self.shape)} if self.planar else None

    @classmethod
    def parse(cls, text: str, described: dict[str, Any] | None = None) -> FrameLayout:
        """Read a `format` value, with the run's entry for that kind of picture where it has one.

        Raises:
            CorruptRecording: not a format, or one that contradicts `described`.
        """
        match = _FORMAT.fullmatch(text)
        if match is None:
            raise CorruptRecording(f"not a frame format: {text!r}; expected dtype and shape like uint8[210,160,3]")
        dtype, shape = match[1], tuple(int(n) for n in match[2].split(","))
        if not described:
            return cls(dtype, shape)
        layout = cls(dtype, tuple(described["shape"]), described.get("stored") == "planar")
        if layout.stored_shape != shape:
            raise CorruptRecording(
                f"frames are {text}, but run.json says {described}, which would be stored as {layout.format}"
            )
        return layout


def is_image_space(space: gym.Space[Any]) -> bool:
    """Whether observations are pictures: a uint8 Box of 2 or 3 axes, two neighbouring ones at least 16."""
    from gymnasium.spaces import Box  # readers of pictures do without Gymnasium

    if not isinstance(space, Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    shape = space.shape
    return min(shape[:2]) >= MIN_SIDE or min(shape[-2:]) >= MIN_SIDE


def stored_layout(space: gym.Space[Any]) -> FrameLayout:
    """How pictures of an image space are stored.

    Raises:
        UnsupportedSpace: `space` is not an image space.
    """
    if not is_image_space(space):
        raise UnsupportedSpace(
            f"{space} holds no pictures: expected a Box of uint8 with 2 or 3 axes and sides >= {MIN_SIDE}"
        )
    assert space.shape is not None
    return picture_layout("uint8", space.shape)


def picture_layout(dtype: str, shape: tuple[int, ...]) -> FrameLayout:
    """How pictures of this dtype and shape are stored; `render()` has no space, so it is asked by shape."""
    shape = tuple(int(n) for n in shape)
    stack = len(shape) == 3 and shape[-1] in _STACK_DEPTHS and min(shape[:2]) >= MIN_SIDE
    return FrameLayout(str(np.dtype(dtype)), shape, planar=stack)
