"""Recorded pictures beside the replay of a batch: one film a sub-environment, read on as its episode goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .differences import picture_difference
from .replayed import Divergence

if TYPE_CHECKING:
    from rolltape.storage.runs import Run


class Films:
    """The recorded pictures that sub-environments observed, each read while its episode is replayed."""

    def __init__(self, run: Run, episode: np.ndarray, t: np.ndarray) -> None:
        self._run, self._episode, self._t = run, episode, t
        self._open: dict[int, Iterator[np.ndarray]] = {}
        self._at: dict[int, int] = {}

    def unlike(self, rows: list[int], observations: Any) -> Iterator[tuple[int, Divergence]]:
        """Places whose picture before a step differs; `rows` by place, -1: none."""
        for place, row in enumerate(rows):
            if row < 0:
                continue
            t = self._at[place] = int(self._t[row])
            if t == 0:
                self._open[place] = iter(self._run.frames(int(self._episode[row]), kind="observation"))
            if (was := next(self._open[place], None)) is None:
                yield place, Divergence(t, "observation", "no picture", "a picture", None)
            elif (found := picture_difference(t, was, observations[place])) is not None:
                yield place, found

    def unlike_last(self, last: dict[int, Any]) -> Iterator[tuple[int, Divergence]]:
        """The same of the pictures after the last steps of episodes, where they are durable."""
        for place, picture in last.items():
            was = next(self._open[place], None)
            if was is not None and (found := picture_difference(self._at[place] + 1, was, picture)) is not None:
                yield place, found
