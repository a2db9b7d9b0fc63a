"""Recorded statistics of normalizing wrappers, put back where a replayed episode begins.

Rules:
1. What is recorded is how statistics stood after the reset. They are put back before it, held still for it, and
   then go on, or stay frozen, as they did.
2. The k-th wrapper of a kind around the replayed environment, the outermost first, has those of the k-th recorded.
3. Where something of it is not there, an episode is not replayed, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .normalization import DISCOUNTED, SWITCHES, Statistics, find_statistics

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

OLDER: Final = "normalization statistics were recorded without what a replay needs of them, by an older version"


class RecordedStatistics:
    """The statistics at the beginnings of some episodes.

    Args:
        run: the recording.
        episodes: their numbers.
        env: where they are replayed.

    Attributes:
        wanted: what keeps statistics there.
    """

    def __init__(self, run: Run, episodes: Sequence[int], env: Any) -> None:
        self.wanted = find_statistics(env)
        self._rows: dict[int, dict[tuple[Any, ...], list[dict[str, Any]]]] = {}
        if not self.wanted or not episodes or not run.parts("normalization"):
            return
        where = f"moment = 'episode' and episode between {min(episodes)} and {max(episodes)}"
        among = set(episodes)
        for row in run.normalization(where).order("episode", "place").to_dicts():
            if row["episode"] in among:
                kind = row["wrapper"], row["target"], row["entry"]
                self._rows.setdefault(row["episode"], {}).setdefault(kind, []).append(row)

    def lacks(self, episode: int) -> str:
        """Why an episode cannot begin as it did; empty where it can."""
        for one, row in zip(self.wanted, self._of(self.wanted, episode), strict=True):
            if row is None:
                return f"normalization statistics of {one.wrapper} ({one.target}) at its beginning were not recorded"
            if row.get("dtype") is None or (hasattr(one.holder, DISCOUNTED) and row.get("discounted") is None):
                return OLDER
            if _switch(one.holder) is None:
                return (
                    f"normalization statistics of {one.wrapper} cannot be held still for a reset: it has no "
                    f"{' or '.join(SWITCHES)}"
                )
        return ""

    @contextmanager
    def put_back(self, env: Any, episode: int) -> Iterator[None]:
        """Reset `env` inside: its statistics are those after that reset, and go on afterwards."""
        found = find_statistics(env)
        rows = [row for row in self._of(found, episode) if row is not None]
        for one, row in zip(found, rows, strict=True):
            _put(one, row)
            setattr(one.holder, str(_switch(one.holder)), False)
        yield
        for one, row in zip(found, rows, strict=True):
            setattr(one.holder, str(_switch(one.holder)), row["updating"])

    def _of(self, found: Sequence[Statistics], episode: int) -> Iterator[dict[str, Any] | None]:
        left = {kind: iter(rows) for kind, rows in self._rows.get(episode, {}).items()}
        for one in found:
            yield next(left.get((one.wrapper, one.target, one.entry), iter(())), None)


def _put(one: Statistics, row: dict[str, Any]) -> None:
    holder = one.holder
    kept = getattr(holder, one.attribute)
    rms = kept if one.entry is None else next(rms for entry, rms in kept.items() if str(entry) == one.entry)
    for name in ("mean", "var"):
        setattr(rms, name, np.array(row[name], row["dtype"]).reshape(row["shape"]))
    rms.count = row["count"]
    if row["discounted"] is not None:
        setattr(holder, DISCOUNTED, np.array(row["discounted"]).reshape(np.shape(getattr(holder, DISCOUNTED))))


def _switch(holder: Any) -> str | None:
    return next((name for name in SWITCHES if isinstance(getattr(holder, name, None), bool)), None)
