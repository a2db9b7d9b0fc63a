"""Recordings that leave steps out on purpose: the last N of each episode, or every k-th.

Rules:
1. Rows are filled as always; what is left out is left out of a closed fragment, by the thread that sends. A step costs
   what it costs without.
2. `keep_last`: closed rows wait in memory, at most N of each open episode, until it ends or `save` asks for them.
3. `sample`: the steps with t = 0, k, 2k, … stay, and the last picture.
4. Everything left out is counted: in the page, in the watermark of the producer, and in the row of its episode.
5. What waits when a process dies is lost, as what is in an open fragment is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.columns import SKIPPED_TYPE
from rolltape.schema.picture_changes import whole

from .page import ProducerPage
from .sealed import Batches, Sealed


class KeptRows:
    """Stands before the rows of a producer where it closes fragments; all else is theirs.

    Args:
        rows: any rows.
        page: counts what is left out.
        keep_last: of each episode only so many steps; 0: all.
        sample: every so many steps one; 1: all.

    Attributes:
        skipped: steps left out since the start.
        rows_behind: the rows.
    """

    def __init__(self, rows: Any, page: ProducerPage, *, keep_last: int = 0, sample: int = 1) -> None:
        self.rows_behind, self._page = rows, page
        self._last, self._every = keep_last, sample
        self._waiting: dict[str, pa.RecordBatch] = {}
        self._saved: dict[int, int] = {}
        self._save = False
        self.skipped = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rows_behind, name)

    def save(self) -> None:
        """Have the next fragment take along what waits."""
        self._save = True

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the end of their episodes."""
        return sum(batch.nbytes for batch in self._waiting.values())

    def seal(self) -> Sealed | None:
        """As in the rows."""
        sealed = self.rows_behind.seal()
        save, self._save = self._save, False
        if sealed is None and not (save and self._waiting):
            return None
        return _SealedKept(self, sealed, save)

    def kept(self, batches: Batches, fragment: int, save: bool) -> Batches:
        """What of a closed fragment is sent, and of what waited."""
        ended = _lengths(batches.get("episodes"))
        if (frames := batches.get("frames")) is not None:
            batches = {**batches, "frames": whole(frames)}  # changes since a picture that is left out say nothing
        sampled = self._every > 1
        found = self._sampled(batches, ended) if sampled else self._ring(batches, ended, save)
        episodes = batches.get("episodes")
        kept: Batches = {}
        for name, batch in batches.items():
            if name not in ("steps", "frames", "episodes"):
                kept[name] = batch
        for name, batch in found.items():
            if batch.num_rows:
                kept[name] = _of_fragment(batch, fragment)
        if episodes is not None:
            kept["episodes"] = self._with_skipped(episodes)
        self._page.skipped = self.skipped
        return {name: kept[name] for name in sorted(kept, key=lambda name: name == "episodes")}

    def _sampled(self, batches: Batches, ended: Mapping[int, int]) -> Batches:
        found: Batches = {}
        if (steps := batches.get("steps")) is not None:
            here = steps.column("t").to_numpy() % self._every == 0
            self.skipped += int(np.count_nonzero(~here))
            found["steps"] = _taken(steps, here)
        if (frames := batches.get("frames")) is not None:
            t, episode = frames.column("t").to_numpy(), frames.column("episode").to_numpy()
            last = np.array([ended.get(number, -1) for number in episode.tolist()], np.int64)
            found["frames"] = _taken(frames, (t % self._every == 0) | (t == last))
        return found

    def _ring(self, batches: Batches, ended: Mapping[int, int], save: bool) -> Batches:
        found: Batches = {}
        lengths = dict(ended)
        steps = self._with_waiting("steps", batches)
        if steps is not None:
            episode, t = steps.column("episode").to_numpy(), steps.column("t").to_numpy()
            numbers, group = np.unique(episode, return_inverse=True)
            so_far = np.zeros(len(numbers), np.int64)
            np.maximum.at(so_far, group, t + 1)
            for number, length in zip(numbers.tolist(), so_far.tolist(), strict=True):
                lengths.setdefault(number, length)
            length = np.array([lengths[number] for number in numbers.tolist()], np.int64)
            over = np.array([number in ended for number in numbers.tolist()], bool)
            last = t >= length[group] - self._last
            sent = last & (over[group] | save)
            self.skipped += int(np.count_nonzero(~last))
            found["steps"] = _taken(steps, sent)
            self._keep_waiting("steps", steps, last & ~sent)
            for number, count in zip(
                numbers.tolist(), np.bincount(group[sent], minlength=len(numbers)).tolist(), strict=True
            ):
                self._saved[number] = self._saved.get(number, 0) + count
        frames = self._with_waiting("frames", batches)
        if frames is not None:
            episode, t = frames.column("episode").to_numpy(), frames.column("t").to_numpy()
            numbers, group = np.unique(episode, return_inverse=True)
            newest = np.zeros(len(numbers), np.int64)
            np.maximum.at(newest, group, t)
            length = np.array(
                [lengths.get(number, n) for number, n in zip(numbers.tolist(), newest.tolist(), strict=True)], np.int64
            )
            over = np.array([number in ended for number in numbers.tolist()], bool)
            last = t >= length[group] - self._last
            sent = last & (over[group] | (save & (t < length[group])))
            found["frames"] = _taken(frames, sent)
            self._keep_waiting("frames", frames, last & ~sent)
        return found

    def _with_waiting(self, table: str, batches: Batches) -> pa.RecordBatch | None:
        there = [batch for batch in (self._waiting.get(table), batches.get(table)) if batch is not None]
        return pa.concat_batches(there) if len(there) > 1 else there[0] if there else None

    def _keep_waiting(self, table: str, batch: pa.RecordBatch, which: np.ndarray) -> None:
        self._waiting.pop(table, None)
        if which.any():
            self._waiting[table] = _taken(batch, which)

    def _with_skipped(self, episodes: pa.RecordBatch) -> pa.RecordBatch:
        """With the column `skipped` behind `length`; null where the length is unknown."""
        skipped: list[int | None] = []
        for number, length in zip(*(episodes.column(name).to_pylist() for name in ("episode", "length")), strict=True):
            if length is None:
                skipped.append(None)
            elif self._every > 1:
                skipped.append(length - -(-length // self._every))
            else:
                skipped.append(length - self._saved.pop(number, 0))
        place = episodes.schema.get_field_index("length") + 1
        return episodes.add_column(place, "skipped", pa.array(skipped, SKIPPED_TYPE))


class _SealedKept:
    """A closed fragment of which some is kept. Implements `Sealed`."""

    def __init__(self, kept: KeptRows, sealed: Sealed | None, save: bool) -> None:
        self._kept, self._sealed, self._save = kept, sealed, save
        self.nbytes = (kept.waiting_bytes if save else 0) + (0 if sealed is None else sealed.nbytes)
        self.oldest_ns = time.perf_counter_ns() if sealed is None else sealed.oldest_ns
        self.bulky = sealed is not None and sealed.bulky

    def batches(self, fragment: int) -> Batches:
        """As in `Sealed`."""
        return self._kept.kept({} if self._sealed is None else self._sealed.batches(fragment), fragment, self._save)

    def release(self) -> None:
        """As in `Sealed`."""
        if self._sealed is not None:
            self._sealed.release()


def _lengths(episodes: pa.RecordBatch | None) -> dict[int, int]:
    """Of the episodes that ended."""
    if episodes is None:
        return {}
    pairs = zip(episodes.column("episode").to_pylist(), episodes.column("length").to_pylist(), strict=True)
    return {number: length for number, length in pairs if length is not None}


def _taken(batch: pa.RecordBatch, which: np.ndarray) -> pa.RecordBatch:
    """Some rows, copied: the memory of a closed fragment takes others soon."""
    return batch.take(pa.array(np.flatnonzero(which)))


def _of_fragment(batch: pa.RecordBatch, fragment: int) -> pa.RecordBatch:
    """The fragment that brings the rows: those that waited were closed in an earlier one."""
    place = batch.schema.get_field_index("fragment")
    return batch.set_column(place, batch.schema.field(place), pa.array(np.full(batch.num_rows, fragment, np.int64)))
