"""A producer's part of the live path: it is told what is wanted, has samples taken, and pushes them one by one.

Rules:
1. Nothing here is called in a step while nobody watches. While somebody does, the pump asks for a sample by lowering
   the bar at which a step says that its fragment is full; the stepping thread takes it then, and closes nothing.
2. An event takes a credit before it is published: fewer than `limit` events of its stream were published before it.
3. At most one push is under way, and at most one sample waits. Whoever is slow gets fewer samples, never old ones.
4. All of it takes at most `SHARE` of the time: where samples cost more, there are fewer.
5. Of a picture that repeats most of the one before, which the gateway holds, only what changed is sent.
6. Nobody waits for the gateway. A push that fails is `disconnected`; the hub says where to push next.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import pyarrow as pa

from rolltape.schema.adapters.live import SHARE
from rolltape.schema.live_messages import EpisodeEnd, LiveBeat, LiveDemand, LiveItem, StreamDemand

from .live_pictures import LivePictures
from .live_view import LiveView, plain

Handle = Any
TAKE_S: Final = 0.005
"""How long taking one sample may hold up the stepping thread; streams that did not fit come first in the next."""
ENDS_KEPT: Final = 64
"""Ends of episodes that a heartbeat tells one by one; of more it says how many."""
PATIENCE_S: Final = 3.0
"""How long a push may go unanswered, and how long a demand stands that nobody repeats."""
RETRY_S: Final = 1.0
SMOOTHING: Final = 0.25
"""How much of what a sample costs is that of the newest."""
RAYS_PART: Final = 5.0
"""A call takes so many times what it takes of the thread that makes it: Ray's own threads do the rest, and the steps
after it fill their caches again. A push of 16 pictures took 0.5 ms of the stepping thread, 0.4 of the pump and 2.6 in
all."""


class GatewayLink(Protocol):
    """The way to the gateway."""

    def push(self, demand: LiveDemand, owner: str, items: tuple[LiveItem, ...]) -> Handle:
        """Send items; returns at once. Raises what keeps it from sending."""
        ...

    def answer(self, handle: Handle) -> LiveDemand:
        """The answer to a push that is ready. Raises what the call raised."""
        ...


class LiveRows(Protocol):
    """What the feed asks of rows, under the producer's lock."""

    @property
    def prompted(self) -> bool:
        """Whether steps say that the fragment is full for another reason than that it is."""
        ...

    @property
    def full(self) -> bool:
        """Whether the fragment should be closed now."""
        ...

    def prompt(self) -> None:
        """The next step says that its fragment is full, whether or not it is."""

    def settle(self) -> None:
        """Steps say what is the case again."""

    def place(self, place: int) -> tuple[int, int, float]:
        """Episode, t and return so far of a sub-environment; t is -1 between episodes."""
        ...

    def places(self) -> tuple[bytes, bytes, bytes]:
        """The same of all: int64, int32 and float64."""
        ...


class LiveFeed:
    """One life of one producer, for those who watch. The producer's lock is held in every call but `push`.

    Args:
        owner: the producer's key as text.
        first, count: its streams.
        rows: where they are.
        view: makes what they look like, when the first sample is wanted.
        link: the way to the gateway.

    Attributes:
        demand: what is wanted; None: no gateway is known.
        asked: a sample is wanted from the next step.
    """

    def __init__(
        self,
        owner: str,
        first: int,
        count: int,
        rows: LiveRows,
        view: Callable[[], LiveView],
        link: GatewayLink,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._owner, self._first, self._count = owner, first, count
        self.rows, self._make, self._link, self._clock, self._wall, self._cpu = rows, view, link, clock, wall, cpu
        self._cost_s, self._taken_s = 0.0, 0.0
        self._pictures = LivePictures()
        self._view: LiveView | None = None
        self.demand: LiveDemand | None = None
        self._life = ""
        self._published: dict[int, int] = {}
        self._skipped: dict[int, dict[str, int]] = {}
        self.asked = False
        self._sample: tuple[LiveItem, ...] = ()
        self._pushed: tuple[LiveItem, ...] = ()
        self.handle: Handle = None
        self._pushed_at = self._heard_at = self._next_at = float("-inf")
        self._from = 0
        self._ends: deque[EpisodeEnd] = deque(maxlen=ENDS_KEPT)
        self._ended = self._told = 0

    # ---- the pump ---------------------------------------------------------------------------------------------------

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has one of its streams in view."""
        return self.demand is not None and self.demand.hz > 0

    @property
    def slows_down(self) -> bool:
        """Whether steps are to be held up, because a viewer starves and the configuration says so."""
        return self.demand is not None and self.demand.slow_down

    @property
    def due_at(self) -> float:
        """When the next sample is due, by the clock; infinity where none is."""
        if not self.is_wanted or self.asked or self._sample or self.handle is not None:
            return float("inf")
        return self._next_at

    def accept(self, demand: LiveDemand | None, *, from_hub: bool = True) -> None:
        """What is wanted from now on, as hub or gateway say; the older one of two is ignored."""
        now = self._clock()
        if demand is None:
            if now - self._heard_at > PATIENCE_S:
                self.demand = None
            return
        known = self.demand
        if known is not None and known.life == demand.life and demand.number <= known.number:
            return
        if from_hub and known is not None and known.life != demand.life and now - self._heard_at < RETRY_S:
            return  # the gateway itself has just answered: the hub knows only the one before it
        if demand.life != self._life:
            self._life, self._published, self._skipped = demand.life, {}, {}
            self._pictures.keep(frozenset())
        if not from_hub:
            self._heard_at = now
        self.demand = demand
        self._pictures.keep(frozenset(wanted.stream for wanted in demand.streams))

    def tick(self) -> bool:
        """Have a sample taken when it is due; True when the next step is to be told so."""
        if self.handle is not None and self._clock() - self._pushed_at > PATIENCE_S:
            self._failed()
        if self._clock() < self.due_at:
            return self.slows_down
        demand = self.demand
        assert demand is not None
        now, period = self._clock(), max(1 / demand.hz, self._cost_s / SHARE)
        self._next_at = self._next_at + period if self._next_at + period > now else now + period
        ready = False
        for wanted in demand.streams:
            if self._published.get(wanted.stream, 0) < wanted.limit:
                ready = True
            else:
                self._skip(wanted.stream, "no_credit")
        self.asked = ready
        return ready or self.slows_down

    def push(self) -> Handle:
        """Send the sample that waits, where there is one; what to wait for, or None."""
        if not self._sample or self.handle is not None or self.demand is None:
            return None
        self._pushed, self._sample = self._sample, ()
        self._pushed_at, began = self._clock(), self._cpu()
        try:
            self.handle = self._link.push(self.demand, self._owner, self._pushed)
        except Exception:  # the gateway is gone: nothing of the recording depends on it
            self._failed()
        took = self._taken_s + RAYS_PART * (self._cpu() - began)
        self._cost_s += (took - self._cost_s) * SMOOTHING
        return self.handle

    def answered(self) -> None:
        """The push was answered: take what the gateway wants next."""
        handle, self.handle = self.handle, None
        try:
            demand = self._link.answer(handle)
        except Exception:  # as above; the hub says where the next gateway is
            self._failed()
            return
        self._pushed = ()
        self.accept(demand, from_hub=False)

    def _failed(self) -> None:
        for item in self._pushed:
            self._skip(item.stream, "disconnected")
        self._pushed, self.handle = (), None
        self.demand = None
        self._next_at = self._clock() + RETRY_S

    # ---- the stepping thread ----------------------------------------------------------------------------------------

    def take(self, action: Any, observation: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """Look at the streams that are wanted, after a step with these values (batched where the rows are)."""
        self.asked = False
        demand = self.demand
        if demand is None or not demand.streams:
            return
        until, began = self._clock() + TAKE_S, self._cpu()
        items: list[LiveItem] = []
        streams = demand.streams
        start = self._from % len(streams)
        for n, wanted in enumerate((*streams[start:], *streams[:start])):
            if n and self._clock() > until:
                self._from = start + n
                break
            if self._published.get(wanted.stream, 0) >= wanted.limit:
                continue
            try:
                item = self._item(wanted, demand.kinds, action, observation, reward, terminated, truncated)
            except Exception:  # whoever steps must not suffer from those who watch
                self._skip(wanted.stream, "encode_error")
                continue
            if item is not None:
                self._published[wanted.stream] = item.sequence
                items.append(item)
        self._sample, self._taken_s = tuple(items), self._cpu() - began

    def _item(self, wanted: StreamDemand, kinds: tuple[str, ...], *step: Any) -> LiveItem | None:
        action, observation, reward, terminated, truncated = step
        place = wanted.stream - self._first
        if not 0 <= place < self._count:
            return None
        if self._view is None:
            self._view = self._make()
        look = self._view.look(place, observation, wanted.size, kinds)
        if look is None:
            return None
        sequence = self._published.get(wanted.stream, 0) + 1
        picture = None
        if look.picture is not None:
            picture = self._pictures.of(wanted.stream, sequence, wanted.held, look.picture)
        episode, t, returns = self.rows.place(place)
        values = None
        if wanted.steps:
            values = self._view.values(place, action, observation)
            for name, value in (("reward", reward), ("terminated", terminated), ("truncated", truncated)):
                found = plain(value)
                values[name] = found[place] if isinstance(found, list) and place < len(found) else found
        return LiveItem(
            stream=wanted.stream,
            sequence=sequence,
            time=self._wall(),
            episode=episode,
            t=t,
            episode_return=returns,
            picture=picture,
            payload=look.payload,
            reduced=look.reduced,
            step=values,
        )

    # ---- heartbeats -------------------------------------------------------------------------------------------------

    def ended(self, batches: Mapping[str, pa.RecordBatch]) -> None:
        """A fragment was closed: note which episodes ended in it, where somebody wants to know."""
        if self.demand is None or not self.demand.scalars or (found := batches.get("episodes")) is None:
            return
        self._ended += found.num_rows
        rows = found.slice(max(0, found.num_rows - ENDS_KEPT))
        names = ("sub_env", "episode", "length", "return", "status", "end_time")
        for stream, episode, length, returns, status, at in zip(
            *(rows.column(name).to_pylist() for name in names), strict=True
        ):
            when = self._wall() if at is None else at.timestamp()
            self._ends.append(EpisodeEnd(stream, episode, length or 0, returns or 0.0, status, when))

    def beat(self) -> LiveBeat | None:
        """What the next heartbeat says; None where no gateway was ever known."""
        demand = self.demand
        if not self._life:
            return None
        scalars = demand is not None and demand.scalars
        ends, self._ends = tuple(self._ends), deque(maxlen=ENDS_KEPT)
        self._told += len(ends)
        episode, t, returns = self.rows.places() if scalars else (None, None, None)
        return LiveBeat(
            life=self._life,
            published=dict(self._published),
            skipped={stream: dict(causes) for stream, causes in self._skipped.items()},
            ends=ends,
            ends_omitted=self._ended - self._told,
            episode=episode,
            t=t,
            returns=returns,
        )

    def _skip(self, stream: int, cause: str) -> None:
        causes = self._skipped.setdefault(stream, {})
        causes[cause] = causes.get(cause, 0) + 1
