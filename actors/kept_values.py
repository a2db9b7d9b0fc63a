"""Values that an environment returned, kept for some steps and then looked at together.

Rules:
1. What is kept is looked at later than it was returned. That tells the same only while nobody writes to it any more: an
   array that is a view of another, or that comes twice, is somebody's buffer.
2. An environment is trusted after a trial: its first values are compared at once, kept, and compared once more when it
   has gone on. One that changed what it had returned is never trusted.
3. Only single arrays of one dtype and shape, and numbers, are kept; and only small ones, so that those of some hundred
   steps stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np

from rolltape.schema.space_codec import SpaceCodec

from .exact_bytes import Matching, row_bytes

TRIAL_STEPS: Final = 500
MOST_STEPS: Final = 128
MOST_BYTES: Final = 256 << 10
LARGEST: Final = 16 << 10
"""Bytes of one value; a larger one is compared at once."""
_BASE = attrgetter("base")


class KeptValues:
    """Whether an environment's observations may be kept, and what those that were kept are in one array.

    Args:
        codec: of the observations.
        trial_steps: so many values are compared at once before any is kept.

    Attributes:
        steps: so many are kept before they are compared.
    """

    def __init__(self, codec: SpaceCodec, trial_steps: int = TRIAL_STEPS) -> None:
        single = codec.is_fixed and codec.descriptor["type"] not in ("Dict", "Tuple")
        self._left = trial_steps
        self._tried: list[tuple[Any, Any]] = []
        self._refused = True
        self.steps = 1
        if not single:
            return
        (leaf,) = codec.leaves
        self._dtype, self._shape = leaf.dtype, leaf.shape
        self._scalars = {leaf.dtype.type, *((int,) if leaf.dtype == np.int64 else ())}
        self._refused = leaf.nbytes > LARGEST or leaf.dtype.hasobject
        self.steps = max(1, min(MOST_STEPS, MOST_BYTES // max(1, leaf.nbytes)))

    @property
    def possible(self) -> bool:
        """Whether values may be kept now, or after the trial."""
        return not self._refused

    @property
    def trusted(self) -> bool:
        """Whether values may be kept."""
        return not self._refused and self._left <= 0

    def trying(self, matches: Matching) -> Matching:
        """The same, and while the trial lasts what it is given is kept for `judge`."""
        if self._refused or self._left <= 0:
            return matches
        tried = self._tried

        def look(was: Any, value: Any) -> bool:
            tried.append((was, value))
            return matches(was, value)

        return look

    def judge(self, matches: Matching) -> None:
        """Look once more at all that was tried, now that the environment has gone on."""
        tried = self._tried
        if tried:
            self._left -= len(tried)
            if self.together([value for _, value in tried]) is None or not all(matches(*pair) for pair in tried):
                self.distrust()
            tried.clear()

    def distrust(self) -> None:
        """Keep nothing more."""
        self._refused = True

    def together(self, values: Sequence[Any]) -> np.ndarray | None:
        """Kept values as one array (values, *shape); None where one is not of the space or may be written to."""
        n = len(values)
        if not n:
            return np.empty((0, *self._shape), self._dtype)
        if not self._shape:
            whole = np.array(values) if {*map(type, values)} <= self._scalars else None
            return whole if whole is not None and whole.dtype == self._dtype else None
        try:
            if [*map(_BASE, values)].count(None) != n or len({*map(id, values)}) != n:
                return None
            if {*map(len, values)} != {self._shape[0]}:
                return None
            whole = np.concatenate(values, dtype=self._dtype, casting="no")
        except (AttributeError, TypeError, ValueError):  # no array, another dtype, or number of axes
            return None
        return whole.reshape(n, *self._shape) if whole.shape[1:] == self._shape[1:] else None


class RecordedBlocks:
    """What was recorded of consecutive episodes, as that which was kept is compared with it.

    Args:
        befores: observations before each step, (steps, *shape).
        finals: those after the last step of each episode, (episodes, *shape); None: of none.
        known: bool, (episodes,): whether there is a final one; None: as `finals`.
        edges: steps `edges[i]` to `edges[i + 1]` (exclusive) are those of episode i.

    Attributes:
        afters: observations after each step, (steps, *shape).
    """

    def __init__(
        self,
        befores: np.ndarray,
        finals: np.ndarray | None,
        known: np.ndarray | None,
        edges: np.ndarray,
    ) -> None:
        n = len(befores)
        self._befores = befores
        self.afters = np.empty_like(befores)
        self.afters[:-1] = befores[1:]
        there = np.diff(edges) > 0
        last = edges[1:][there] - 1
        self._unknown = np.zeros(n, bool)
        if finals is None:
            self._unknown[last] = True
        else:
            self.afters[last] = finals[there]
            self._unknown[last] = False if known is None else ~known[there]
        self._all_known = not self._unknown.any()
        stepped = np.flatnonzero(there)
        self._first_of = dict(zip(stepped.tolist(), row_bytes(befores[edges[:-1][there]]), strict=True))
        self._first_rows = edges[:-1].tolist()

    @property
    def known(self) -> np.ndarray | None:
        """bool, (steps,): after which there is one; None: after all."""
        return None if self._all_known else ~self._unknown

    def before(self, place: int, row: int) -> bytes:
        """The bytes of what was observed before a step of the episode at a place."""
        return self._first_of[place] if row == self._first_rows[place] else self._befores[row].tobytes()

    def are(self, first: int, observations: np.ndarray) -> bool:
        """Whether this is what was recorded of the steps from `first` on; observations are those after each."""
        stop = first + len(observations)
        afters = self.afters[first:stop]
        if not self._all_known and (unknown := self._unknown[first:stop]).any():
            afters, observations = afters[~unknown], observations[~unknown]
        return afters.tobytes() == observations.tobytes()
