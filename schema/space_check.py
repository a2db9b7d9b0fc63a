"""Whether values lie in their space, many at once: what `Space.contains` says, with the place and kind of what is off.

Rules:
1. A space of fixed arrays is checked leaf by leaf, all rows at once: two reductions where nothing is wrong.
2. A leaf that holds every value of its dtype (pixels from 0 to 255) is never looked at.
3. Other spaces are checked value by value, with `Space.contains`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from .space_codec import SpaceCodec
from .space_paths import Path, show_path

Kind = Literal["nan", "infinite", "outside"]
MOST_PLACES: Final = 64
"""Elements of a leaf that are named one by one; of a larger one only the leaf is named."""


@dataclass(frozen=True, slots=True)
class Off:
    """Values that are off in one way at one place.

    Attributes:
        kind: `nan`; `infinite` where the space allows it; `outside` its bounds.
        path: where, as `['position'][0]`; empty for the value itself.
        count: in how many rows.
        row: the first of them.
        found: what was found there.
        allowed: what may stand there.
    """

    kind: Kind
    path: str
    count: int
    row: int
    found: str
    allowed: str


class SpaceCheck:
    """Checks the values of one space.

    Attributes:
        trivial: whether nothing can be off.
    """

    def __init__(self, space: gym.Space[Any], codec: SpaceCodec) -> None:
        self._space, self._codec = space, codec
        self._batched: tuple[int, gym.Space[Any]] | None = None
        self._leaves: list[_Leaf | None] | None = None
        if codec.is_fixed:
            self._leaves = [_leaf(_part(space, leaf.path), leaf.path) for leaf in codec.leaves]
        self.trivial = self._leaves is not None and not any(self._leaves)

    def arrays(self, leaves: Sequence[np.ndarray]) -> Iterator[Off]:
        """What is off in the leaf arrays of a fixed space, (rows, *shape) each."""
        for leaf, values in zip(self._leaves or (), leaves, strict=True):
            if leaf is not None and len(values) and not leaf.fine(values):
                yield from leaf.off(values)

    def values(self, values: Sequence[Any]) -> Iterator[Off]:
        """What is off among single values of any space; None is no value."""
        if self._leaves is not None:
            known = [value for value in values if value is not None]
            split = [self._codec.split(value) for value in known]
            yield from self.arrays([np.stack(arrays) for arrays in zip(*split, strict=True)] if split else [])
            return
        for row, value in enumerate(values):
            if value is not None and not _contains(self._space, value):
                path = _first_outside(self._space, value, ())
                yield Off("outside", show_path(path).removeprefix("value"), 1, row, _short(value), str(self._space))

    def one(self, value: Any) -> Iterator[Off]:
        """What is off in a single value."""
        if self._leaves is None:
            yield from self.values([value])
        elif not self.trivial:
            for leaf, array in zip(self._leaves, self._codec.split(value), strict=True):
                if leaf is not None and not leaf.fine_one(array):
                    yield from leaf.off(array[None])

    def batch(self, batched: Any, n: int) -> Iterator[Off]:
        """What is off in what a vector environment gave for `n` sub-environments; `row` is the sub-environment."""
        if self._leaves is None:
            if self._batched is None or self._batched[0] != n:
                self._batched = n, gym.vector.utils.batch_space(self._space, n)
            yield from self.values(list(gym.vector.utils.iterate(self._batched[1], batched)))
        elif not self.trivial:
            yield from self.arrays(self._codec.split_batch(batched, n))


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One array of a space and its bounds, both inclusive and of the array's shape."""

    path: Path
    low: np.ndarray
    high: np.ndarray
    inner_low: Any
    inner_high: Any
    bounded: bool

    def fine_one(self, value: np.ndarray) -> bool:
        """Whether nothing is off in one value, surely."""
        if value.ndim == 0:
            number = value.item()
            return self.inner_low <= number <= self.inner_high and (self.bounded or math.isfinite(number))
        if not ((value >= self.low).all() and (value <= self.high).all()):
            return False
        return self.bounded or bool(np.isfinite(value).all())

    def fine(self, values: np.ndarray) -> bool:
        """Whether nothing is off, surely: NaN fails every comparison."""
        low, high = values.min(), values.max()
        if values.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
            return False
        if self.inner_low <= low and high <= self.inner_high:
            return True
        return bool((values >= self.low).all() and (values <= self.high).all())

    def off(self, values: np.ndarray) -> Iterator[Off]:
        masks: dict[Kind, np.ndarray] = {}
        outside = ~((values >= self.low) & (values <= self.high))
        if values.dtype.kind == "f":
            masks["nan"] = np.isnan(values)
            masks["infinite"] = np.isinf(values) & ~outside
            outside &= ~masks["nan"]
        masks["outside"] = outside
        for kind, mask in masks.items():
            if mask.any():
                yield from self._places(kind, mask, values)

    def _places(self, kind: Kind, mask: np.ndarray, values: np.ndarray) -> Iterator[Off]:
        shape = values.shape[1:]
        name = show_path(self.path).removeprefix("value")
        if not shape or self.low.size > MOST_PLACES:
            rows = mask.reshape(len(mask), -1).any(axis=1)
            row = int(np.argmax(rows))
            place = tuple(int(i) for i in np.argwhere(mask[row])[0])
            yield self._off(kind, name, int(rows.sum()), row, values, place)
            return
        for index in np.argwhere(mask.any(axis=0)):
            place = tuple(int(i) for i in index)
            rows = mask[(slice(None), *place)]
            path = name + "".join(f"[{i}]" for i in place)
            yield self._off(kind, path, int(rows.sum()), int(np.argmax(rows)), values, place)

    def _off(self, kind: Kind, path: str, count: int, row: int, values: np.ndarray, place: tuple[int, ...]) -> Off:
        allowed = f"{self.low[place]} to {self.high[place]}"
        return Off(kind, path, count, row, str(values[(row, *place)]), allowed)


def _leaf(space: gym.Space[Any], path: Path) -> _Leaf | None:
    match space:
        case spaces.Box():
            low, high = space.low, space.high
        case spaces.Discrete():
            last = min(int(space.start) + int(space.n) - 1, int(np.iinfo(space.dtype).max))  # type: ignore[arg-type]
            low, high = np.array(space.start, space.dtype), np.array(last, space.dtype)
        case spaces.MultiDiscrete():
            low = space.start
            last = low.astype(object) + space.nvec.astype(object) - 1  # Python's numbers: an int8 from -128 on wraps
            high = np.minimum(last, np.iinfo(low.dtype.name).max).astype(low.dtype)
        case spaces.MultiBinary():
            low, high = np.zeros(space.shape, space.dtype), np.ones(space.shape, space.dtype)
        case _:
            return None
    dtype = low.dtype
    if not low.size or dtype.kind == "b":
        return None
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        if (low <= limits.min).all() and (high >= limits.max).all():
            return None
    with np.errstate(invalid="ignore"):
        bounded = dtype.kind != "f" or bool(np.isfinite(low).all() and np.isfinite(high).all())
        return _Leaf(path, low, high, low.max().item(), high.min().item(), bounded)


def _part(space: gym.Space[Any], path: Path) -> gym.Space[Any]:
    for key in path:
        space = space.spaces[key]  # type: ignore[attr-defined, index]
    return space


def _contains(space: gym.Space[Any], value: Any) -> bool:
    """`Space.contains`; true where Gymnasium itself cannot tell, as in a stacked Sequence of something empty."""
    try:
        return bool(space.contains(value))
    except (ValueError, IndexError, TypeError, OverflowError):
        return True


def _first_outside(space: gym.Space[Any], value: Any, path: Path) -> Path:
    """Where the first part lies that is not in its space; `path` itself where the form is wrong."""
    parts: list[tuple[Any, gym.Space[Any], Any]] = []
    match space, value:
        case spaces.Dict(), dict() if value.keys() == space.spaces.keys():
            parts = [(key, part, value[key]) for key, part in space.spaces.items()]
        case spaces.Tuple(), tuple() if len(value) == len(space.spaces):
            parts = [(i, part, value[i]) for i, part in enumerate(space.spaces)]
        case spaces.OneOf(), (int() | np.integer() as choice, inner) if 0 <= choice < len(space.spaces):
            parts = [(int(choice), space.spaces[int(choice)], inner)]
        case spaces.Sequence(), tuple():
            parts = [(i, space.feature_space, item) for i, item in enumerate(value)]
    for key, part, inner in parts:
        if not _contains(part, inner):
            return _first_outside(part, inner, (*path, key))
    return path


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "…"
