"""The swiftest way through recorded episodes in one environment: a tape compares each step before the next is taken.

It says only whether all is the same. Where something is not, or is unusual, `replay_pass` says what.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rolltape.storage.frame_store import Frames, batches_through

from .differences import same_bytes
from .pass_order import PassOrder


class Film:
    """The pictures of some episodes, one after the other.

    Attributes:
        batch: those that come next, (n, *shape), contiguous.
    """

    def __init__(self, films: list[Frames]) -> None:
        self._batches = batches_through(films)
        self.batch = np.empty(0, np.uint8)

    def has_more(self) -> bool:
        """Whether `batch` has one; where it is empty the next is read."""
        while not len(self.batch):
            following = next(self._batches, None)
            if following is None:
                return False
            self.batch = np.ascontiguousarray(following)
        return True

    def go_on(self, n: int) -> None:
        """Leave the first `n` of the batch behind."""
        self.batch = self.batch[n:]


class TapedPass:
    """Replays episodes that have nothing unusual."""

    def __init__(self, order: PassOrder) -> None:
        self._order, self._recorded = order, order.recorded
        recorded, self._whole = order.recorded, order.whole
        films = {place: film for place in self._whole if (film := recorded.frames(place)) is not None}
        self._film = Film(list(films.values())) if films else None
        self._lengths = {place: len(film) for place, film in films.items()}
        self._blocks = blocks = recorded.blocks()
        known = self._drawn() if blocks is None else blocks.known
        self._matches = None if blocks is None else recorded.matching()
        self._tape = recorded.tape(None if blocks is None else blocks.afters, known, order.ignored)

    @property
    def possible(self) -> bool:
        """Whether there is a tape of these episodes."""
        return self._tape is not None

    def through(self) -> list[int] | None:
        """The places of the episodes that are whole; None where something differs, or cannot be told."""
        try:
            return self._whole if self._all_same() else None
        except Exception:  # whatever it is, a careful pass says where
            return None

    def _drawn(self) -> np.ndarray:
        """bool, (steps,): after which step there is a picture."""
        edges = self._recorded.edges
        known = np.zeros(int(edges[-1]), bool)
        for place, length in self._lengths.items():
            known[edges[place] : edges[place] + length - 1] = True
        return known

    def _all_same(self) -> bool:
        recorded, rows = self._recorded, self._recorded.rows
        if recorded.ends_within(self._whole):
            return False
        edges = recorded.edges.tolist()
        for place in self._whole:
            observation, info = self._order.begin(place)
            if (info or rows[place]["reset_info"]) and not recorded.resets_alike([(place, info)], self._order.ignored):
                return False
            at, stop = edges[place : place + 2]
            if at < stop and not self._begins(place, at, observation):
                return False
            if not self._play(place, at, stop):
                return False
        return True

    def _begins(self, place: int, at: int, observation: Any) -> bool:
        """Whether an episode begins with the recorded observation."""
        if self._film is not None:
            begins = self._film.has_more() and same_bytes(self._film.batch[0], observation)
            self._film.go_on(1)
            return begins
        if self._blocks is None or self._matches is None:
            return True
        return self._matches(self._blocks.before(place, at), observation)

    def _play(self, place: int, at: int, stop: int) -> bool:
        """Whether the steps `at` to `stop` (exclusive) give what is recorded."""
        tape, step, actions, film = self._tape, self._order.env.step, self._recorded.actions, self._film
        assert tape is not None
        if film is None:
            return tape.play(step, actions[at:stop], at)[0] == stop - at
        seen = at + self._lengths[place] - 1
        while at < stop:
            n = stop - at
            if at < seen:
                if not film.has_more():
                    return False
                n = min(len(film.batch), seen - at)
                tape.observe(film.batch, at)
                film.go_on(n)
            if tape.play(step, actions[at : at + n], at)[0] != n:
                return False
            at += n
        return True
