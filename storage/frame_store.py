"""Pictures of a lake, by episode and t: one at random, or an episode's in order.

What it costs (measured in docs/reading.md): decoding rules. A row group is decoded in pieces of about 1 MiB, which stay
in the processor's cache and in memory that was used before; whole row groups cost three times as much. Decoding stops
at the wanted row.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import numpy as np

from rolltape.schema.errors import LakeNotFound
from rolltape.schema.frame_layout import FrameLayout

from .episode_rows import once_more
from .frame_index import FrameIndex
from .frames import from_rows
from .listing import LakeListing
from .part_files import part_errors

PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive rows `start` to `stop` (exclusive) of one row group: pictures of one episode and kind."""

    path: str
    group: int
    start: int
    stop: int
    t: np.ndarray
    layout: FrameLayout


class FrameStore:
    """Finds and decodes the pictures of a lake. Threads may share it.

    Args:
        listing: which parts exist.
        run_info: gives the content of a run's `run.json`.
    """

    def __init__(self, listing: LakeListing, run_info: Callable[[str], Mapping[str, Any]]) -> None:
        self._listing = listing
        self._run_info = run_info
        self._indexes: dict[str, FrameIndex] = {}
        self._lock = threading.Lock()

    def one(self, run_id: str, episode: int, t: int, *, kind: str | None = None) -> np.ndarray:
        """The picture seen before step `t`, as an array of its own. Raises LakeNotFound where there is none."""
        return once_more(self._listing, self._one, run_id, int(episode), int(t), kind)

    def episode(self, run_id: str, episode: int, *, kind: str | None = None) -> Frames:
        """All pictures of an episode. Raises LakeNotFound where there are none."""
        stretches = self.stretches(run_id, int(episode), kind)
        if not stretches:
            raise LakeNotFound(self._nothing(run_id, episode, kind))
        return Frames(self, run_id, int(episode), kind, stretches)

    def stretches(self, run_id: str, episode: int, kind: str | None) -> list[Stretch]:
        """Where the pictures of an episode lie now, in the order of `t`."""
        return once_more(self._listing, self._stretches, run_id, episode, kind)

    def pieces(self, run_id: str, stretch: Stretch) -> Iterator[np.ndarray]:
        """The pictures of a stretch, some at a time: read-only views (n, *shape)."""
        with self._lock:
            file = self._index(run_id).open(stretch.path)
        rows, at = max(1, PIECE_BYTES // stretch.layout.nbytes), 0
        with part_errors(stretch.path):
            for batch in file.iter_batches(rows, [stretch.group], columns=["data"], use_threads=False):
                first, last = max(stretch.start - at, 0), min(stretch.stop - at, batch.num_rows)
                if first < last:
                    yield from_rows(stretch.layout, batch.column(0).slice(first, last - first))
                at += batch.num_rows
                if at >= stretch.stop:
                    return

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _one(self, run_id: str, episode: int, t: int, kind: str | None) -> np.ndarray:
        found = self._stretches(run_id, episode, kind, t)
        if not found:
            raise LakeNotFound(self._nothing(run_id, episode, kind, t))
        return np.array(next(self.pieces(run_id, found[0]))[0], order="C")

    def _stretches(self, run_id: str, episode: int, kind: str | None, t: int | None = None) -> list[Stretch]:
        stride = self._run_info(run_id).get("episode_stride")
        sub_env = episode % stride if isinstance(stride, int) and stride > 0 else None
        found: dict[str, list[Stretch]] = {}
        with self._lock:
            index = self._index(run_id)
            index.update(self._listing.parts(run_id, "frames"))
            for path, number in index.find(sub_env=sub_env, episode=episode, t=t):
                group = index.group(path, number)
                wanted = group.episode == episode
                if t is not None:
                    wanted &= group.t == t
                if kind is not None:
                    wanted &= group.kind == kind
                rows = np.flatnonzero(wanted)
                for piece in np.split(rows, np.flatnonzero(self._breaks(group, rows)) + 1) if len(rows) else ():
                    first, last = int(piece[0]), int(piece[-1]) + 1
                    its_kind = str(group.kind[first])
                    layout = self._layout(run_id, its_kind, str(group.format[first]))
                    stretch = Stretch(path, number, first, last, group.t[first:last], layout)
                    found.setdefault(its_kind, []).append(stretch)
        kinds = [k for k in ("observation", "render") if k in found] or list(found)
        return sorted(found[kinds[0]], key=lambda s: int(s.t[0])) if kinds else []

    @staticmethod
    def _breaks(group: Any, rows: np.ndarray) -> np.ndarray:
        return (np.diff(rows) != 1) | (group.kind[rows[1:]] != group.kind[rows[:-1]])

    def _index(self, run_id: str) -> FrameIndex:
        return self._indexes.setdefault(run_id, FrameIndex())

    def _layout(self, run_id: str, kind: str, text: str) -> FrameLayout:
        frames = self._run_info(run_id).get("frames") or {}
        return FrameLayout.parse(text, (frames.get("layouts") or {}).get(kind))

    def _nothing(self, run_id: str, episode: int, kind: str | None, t: int | None = None) -> str:
        what = "picture" if kind is None else f"{kind} picture"
        policy = (self._run_info(run_id).get("frames") or {}).get("policy")
        if not self._listing.parts(run_id, "frames"):
            return f"Run {run_id} has no pictures (frames={policy}). Record with frames='observation' or 'render'."
        has = self._stretches(run_id, int(episode), None) if t is not None or kind is not None else []
        if not has:
            return f"Run {run_id} has no pictures of an episode {episode}. run.episodes() lists the episodes."
        ts = np.concatenate([stretch.t for stretch in has])
        return (
            f"Run {run_id} has no {what} of episode {episode}{'' if t is None else f' at t={t}'}: "
            f"it has {len(ts):,} for t {ts.min()} to {ts.max()}, kept by frames={policy}."
        )


class Frames:
    """The pictures of one episode in the order of `t`: iterate, index, slice, or take all with `array()`.

    Iterating reads while it goes, a piece of about 1 MiB at a time; what it gives are read-only views.

    Attributes:
        t: of each picture, the step that it was seen before.
        layout: dtype and shape.
    """

    def __init__(
        self, store: FrameStore, run_id: str, episode: int, kind: str | None, stretches: list[Stretch]
    ) -> None:
        self._store, self._run_id, self._episode, self._kind = store, run_id, episode, kind
        self._stretches = stretches
        self.layout = stretches[0].layout
        self.t = np.concatenate([stretch.t for stretch in stretches])

    @property
    def shape(self) -> tuple[int, ...]:
        """(number of pictures, *shape of one)."""
        return (len(self.t), *self.layout.shape)

    def __len__(self) -> int:
        return len(self.t)

    def between(self, first: int, last: int) -> Frames:
        """The pictures from t = `first` to t = `last`, both among them. Raises LakeNotFound where there are none."""
        start, stop = np.searchsorted(self.t, (first, last + 1)).tolist()
        if start >= stop:
            has = f"there are some for t {self.t[0]} to {self.t[-1]}"
            raise LakeNotFound(f"No pictures for t {first} to {last}: {has}.")
        return self._between(start, stop)

    def batches(self) -> Iterator[np.ndarray]:
        """The pictures some at a time, (n, *shape): the cheapest way through an episode."""
        done = 0
        try:
            for batch in self._pieces():
                yield batch
                done += len(batch)
        except FileNotFoundError:  # compacted since this object was made: what is left lies elsewhere now
            yield from self._found_again(done)._pieces()

    def _pieces(self) -> Iterator[np.ndarray]:
        for stretch in self._stretches:
            yield from self._store.pieces(self._run_id, stretch)

    def _found_again(self, first: int) -> Frames:
        stretches = self._store.stretches(self._run_id, self._episode, self._kind)
        whole = Frames(self._store, self._run_id, self._episode, self._kind, stretches)
        place = int(np.searchsorted(whole.t, self.t[first]))
        return whole._between(place, place + len(self) - first)

    def __iter__(self) -> Iterator[np.ndarray]:
        for batch in self.batches():
            yield from batch

    def __getitem__(self, which: int | slice) -> np.ndarray:
        """One picture, or those of a slice as (n, *shape); in memory of their own."""
        if isinstance(which, slice):
            places = np.arange(len(self))[which]
            if not len(places):
                return np.empty((0, *self.layout.shape), self.layout.dtype)
            first = int(places.min())
            return self._between(first, int(places.max()) + 1).array()[places - first]
        place = range(len(self))[which]
        return self._between(place, place + 1).array()[0]

    def _between(self, first: int, stop: int) -> Frames:
        kept: list[Stretch] = []
        at = 0
        for stretch in self._stretches:
            start, end = max(first - at, 0), min(stop - at, len(stretch.t))
            if start < end:
                rows = stretch.start + start, stretch.start + end
                kept.append(replace(stretch, start=rows[0], stop=rows[1], t=stretch.t[start:end]))
            at += len(stretch.t)
        return Frames(self._store, self._run_id, self._episode, self._kind, kept)

    def array(self) -> np.ndarray:
        """All pictures, (n, *shape), in memory of their own."""
        everything = np.empty(self.shape, self.layout.dtype)
        at = 0
        for batch in self.batches():
            everything[at : at + len(batch)] = batch
            at += len(batch)
        return everything

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array() if dtype is None else self.array().astype(dtype)

    def __repr__(self) -> str:
        return f"<Frames {len(self):,} x {self.layout.dtype}{list(self.layout.shape)}>"


def through(films: Sequence[Frames]) -> Iterator[np.ndarray]:
    """The pictures of some episodes of one run, one episode after the other."""
    return chain.from_iterable(batches_through(films))


def batches_through(films: Sequence[Frames]) -> Iterator[np.ndarray]:
    """The same, some pictures at a time: read-only views (n, *shape), in which episodes may meet.

    Episodes that lie next to each other in a row group are decoded together: alone, each would decode the group from
    its beginning.
    """
    done = 0
    try:
        for store, run_id, stretch in _joined(films):
            for batch in store.pieces(run_id, stretch):
                yield batch
                done += len(batch)
    except FileNotFoundError:  # compacted meanwhile: what is left lies elsewhere now
        for film in films:
            if done < len(film):
                yield from film.batches() if not done else film._found_again(done)._pieces()
            done = max(0, done - len(film))


def _joined(films: Sequence[Frames]) -> Iterator[tuple[FrameStore, str, Stretch]]:
    """Their stretches; those that follow each other in a row group as one."""
    last: tuple[FrameStore, str, Stretch] | None = None
    for film in films:
        for stretch in film._stretches:
            if last is not None:
                was = last[2]
                if (was.path, was.group, was.stop, was.layout) == (
                    stretch.path, stretch.group, stretch.start, stretch.layout,
                ):  # fmt: skip
                    t = np.concatenate([was.t, stretch.t])
                    last = film._store, film._run_id, replace(was, stop=stretch.stop, t=t)
                    continue
                yield last
            last = film._store, film._run_id, stretch
    if last is not None:
        yield last
