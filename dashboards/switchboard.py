"""Streams on one side, viewers on the other: the gateway's whole state. Plain, with its clocks injected.

Rules:
1. Of each watched stream the newest item is kept, and what it was encoded to; of each (viewer, stream) two counters'
   worth. Nothing is queued, so that memory is O(streams + viewers x streams in view), whatever anybody does.
2. Towards producers the gateway is one viewer of each stream: it returns what the fastest of its viewers has shown.
3. What is told to everybody lies on a bulletin; viewers have positions on it.
4. A viewer that comes back within `REMEMBERED_S` goes on with its pools and numbers, also where the gateway has not
   noticed yet that it had gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from rolltape.actors.control_log import ControlLog
from rolltape.actors.credit_pool import CreditPool
from rolltape.actors.frame_window import FrameWindow
from rolltape.actors.live_pair import LivePair
from rolltape.schema.causes import CAUSES
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.live_messages import (
    GATEWAY_NUMBER,
    ControlEvent,
    EpisodeEnd,
    LiveDemand,
    LiveItem,
    LogLine,
    PictureChanges,
    StreamDemand,
    kind_of,
)
from rolltape.schema.picture_changes import changed

from .bulletin import Bulletin
from .live_stream import LiveStream
from .viewer import Viewer
from .wire import Message

REMEMBERED_S: Final = 60.0
MOST_VIEWERS: Final = 64
EPISODES_KEPT: Final = 1024
LOG_KEPT: Final = 512


class Switchboard:
    """All streams and viewers of one gateway.

    Args:
        life: of the gateway.
        gateway: name of its actor, to which producers push.
        live: credits and windows.
        view: rates and sizes.
        env_id: of the run.
        clock: seconds, for rates and latencies.
        wall: UTC seconds.
    """

    def __init__(
        self,
        life: str,
        gateway: str,
        live: LiveConfig,
        view: UiConfig,
        env_id: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.life, self.gateway, self.live, self.view, self.env_id = life, gateway, live, view, env_id
        self._clock, self._wall = clock, wall
        self.streams: dict[int, LiveStream] = {}
        self.viewers: dict[str, Viewer] = {}
        self.control = ControlLog()
        """Transitions of this gateway's own viewers, for the hub."""
        self.told = ControlLog()
        """Those of the whole run, as they became known."""
        self.bulletins: dict[str, Bulletin[Any]] = {
            "control": Bulletin[ControlEvent](live.early_events or 1),
            "episodes": Bulletin[EpisodeEnd](EPISODES_KEPT),
            "log": Bulletin[LogLine](LOG_KEPT),
        }
        self.omitted_ends = 0
        self.streams_version = 0
        self._viewers_made = GATEWAY_NUMBER
        self.demands = 0
        self._kind: str | None = None
        self._turn = 0
        self._gone: dict[int, dict[str, int]] = {}
        """Skipped copies of viewers that are forgotten, by stream and cause."""

    # ---- streams ----------------------------------------------------------------------------------------------------

    def know(self, index: int, owner: str, worker: int) -> None:
        """A stream and who produces it; a new life of its producer counts from 1."""
        stream = self.streams.get(index)
        if stream is None:
            stream = self.streams[index] = LiveStream(index, self._pool(f"{self.life}.{GATEWAY_NUMBER}", index))
            stream.kind = self._kind or stream.kind
            self.streams_version += 1
        if stream.owner != owner:
            stream.owner, stream.worker, stream.base = owner, worker, stream.sequence
            stream.pool.reset()

    def take(self, owner: str, items: Iterable[LiveItem]) -> list[int]:
        """Items of a producer; the streams of which somebody now has something to be sent."""
        touched = []
        for item in items:
            stream = self.streams.get(item.stream)
            if stream is None or stream.owner != owner:
                continue  # of a producer that was replaced, or that the hub has not told us of yet
            sequence = stream.base + item.sequence
            if sequence <= stream.sequence:
                continue  # pushed twice
            if isinstance(item.picture, PictureChanges):
                if stream.item is None or item.picture.since != stream.held:
                    continue  # its producer is told what is held, and sends all of the next
                item = replace(item, picture=changed(stream.item.picture, item.picture.data))
            stream.sequence, stream.item = sequence, item
            stream.published += 1
            stream.encoded.clear()
            self.scalars(item.stream, item.episode, item.t, item.episode_return)
            kind = "rgb" if item.picture is not None else kind_of(item.payload)
            if self._kind is None:
                self._take_to_be(kind)
            if kind != stream.kind:
                stream.kind = kind
                self.streams_version += 1
            pairs = [viewer.pairs[item.stream] for viewer in self.viewers.values() if item.stream in viewer.pairs]
            offered = sum(pair.offer(sequence) for pair in pairs)
            if not any(pair.watching for pair in pairs):
                self._skip_unseen(item.stream)
            elif offered or not any(pair.takes_more for pair in pairs):
                stream.pool.consume(sequence)  # but not for what was only held back: nobody will show it
            if offered:
                touched.append(item.stream)
        return touched

    def _take_to_be(self, kind: str) -> None:
        """The first item of all came: other streams are taken to look like it until they have items of their own."""
        self._kind = kind
        for stream in self.streams.values():
            stream.kind = kind
        self.streams_version += 1

    def scalars(self, index: int, episode: int, t: int, returns: float) -> None:
        """Where a stream is, as its producer says; between two episodes it stays where it was."""
        if (stream := self.streams.get(index)) is not None and t >= 0:
            stream.episode, stream.t, stream.returns = episode, t, returns

    def refused(self, index: int, causes: Mapping[str, int]) -> None:
        """What the producers of a stream could not publish, so far."""
        if (stream := self.streams.get(index)) is not None:
            stream.refused = dict(causes)

    # ---- viewers ----------------------------------------------------------------------------------------------------

    def join(self, name: str | None = None) -> tuple[Viewer, bool]:
        """A viewer connects, perhaps one that was here; whether it was."""
        self.forget()
        known = self.viewers.get(name or "")
        if known is not None:
            if known.connected:  # its socket broke, and only the viewer has noticed
                known.leave()
            known.come_back()
            return known, True
        self._viewers_made += 1
        name = f"{self.life}.{self._viewers_made}"

        def pair(stream: int) -> LivePair:
            window = FrameWindow(self.live.frame_window, clock=self._clock)
            return LivePair(self._pool(name, stream), window, clock=self._clock)

        viewer = Viewer(name, self.view.view_hz, max(2, self.live.frame_window), pair, self._clock)
        self.viewers[name] = viewer
        return viewer, False

    @property
    def is_crowded(self) -> bool:
        """No further viewer fits."""
        return sum(viewer.connected for viewer in self.viewers.values()) >= MOST_VIEWERS

    def hear(self, viewer: Viewer, message: Message) -> None:
        """A viewer said something."""
        new, shown = viewer.takes(message)
        for index in new:
            stream = self.streams.get(index)
            if stream is not None and stream.item is not None:  # the last value, for who comes late
                viewer.pairs[index].offer(stream.sequence)
        for index, sequence in shown:
            stream = self.streams.get(index)
            if stream is not None:
                stream.shown += 1
                stream.pool.returned(sequence)
        if message.wish:
            self._let_go()

    def fail(self, viewer: Viewer, index: int, sequence: int) -> None:
        """What was to be sent could not be encoded."""
        viewer.pairs[index].fail(sequence)
        if (stream := self.streams.get(index)) is not None:
            stream.pool.discharge(sequence)

    def leave(self, viewer: Viewer) -> None:
        """A viewer's socket has closed."""
        viewer.leave()
        self._let_go()

    def forget(self) -> None:
        """Viewers that have been gone for a minute do not come back; what they did not see stays counted."""
        now = self._clock()
        for name, viewer in list(self.viewers.items()):
            if not viewer.connected and now - viewer.left_at > REMEMBERED_S:
                del self.viewers[name]
                for index, pair in viewer.pairs.items():
                    _add(self._gone.setdefault(index, {}), pair.skipped)

    def _let_go(self) -> None:
        """Streams that nobody has in view owe nothing."""
        watched = {index for viewer in self.viewers.values() if viewer.connected for index in viewer.watched}
        for index, stream in self.streams.items():
            if index not in watched and stream.pool.credits < stream.pool.size:
                stream.pool.reset()

    # ---- towards producers and hub -----------------------------------------------------------------------------------

    @property
    def connected(self) -> int:
        """Viewers that are here."""
        return sum(viewer.connected for viewer in self.viewers.values())

    def wanted(self) -> tuple[float, dict[int, StreamDemand]]:
        """Samples a second, and what is wanted of each stream."""
        hz, found = 0.0, dict[int, StreamDemand]()
        for viewer in self.viewers.values():
            if not viewer.connected or viewer.hidden or not viewer.wish.sub:
                continue
            hz = max(hz, viewer.hz)
            steps = set(viewer.wish.steps)
            for index in viewer.watched:
                stream = self.streams.get(index)
                if stream is None:
                    continue
                size = viewer.wish.size
                if (other := found.get(index)) is not None:
                    size = max(size, other.size) if size and other.size else 0
                wants_steps = index in steps or bool(other and other.steps)
                found[index] = StreamDemand(index, stream.limit, size, wants_steps, stream.held)
        return hz, found

    def demand(self, owner: str) -> LiveDemand:
        """What one producer is asked to show now."""
        hz, wanted = self.wanted()
        starved = self.starved() if self.live.slow_down else frozenset()
        streams = tuple(found for index, found in wanted.items() if self.streams[index].owner == owner)
        self.demands += 1
        return LiveDemand(
            life=self.life,
            gateway=self.gateway,
            number=self.demands,
            hz=hz if streams else 0.0,
            streams=streams,
            scalars=self.connected > 0,
            slow_down=any(found.stream in starved for found in streams),
            kinds=self.view.renderers,
        )

    def starved(self) -> frozenset[int]:
        """Streams on which a viewer starves."""
        return frozenset(
            index
            for viewer in self.viewers.values()
            if viewer.connected
            for index in viewer.watched
            if viewer.pairs[index].pool.is_starved
        )

    def skipped(self) -> dict[int, dict[str, int]]:
        """Live copies that a viewer did not get to see, by stream and cause, without what producers count."""
        found = {index: dict(causes) for index, causes in self._gone.items()}
        for viewer in self.viewers.values():
            for index, pair in viewer.pairs.items():
                if pair.skipped:
                    _add(found.setdefault(index, {}), pair.skipped)
        return found

    # ---- what viewers are told ---------------------------------------------------------------------------------------

    def hello_streams(self) -> list[dict[str, Any]]:
        """The rows of `streams`."""
        return [
            {
                "index": stream.index,
                "id": f"{stream.index}/agent_0",
                "env": self.env_id,
                "sub_environment": stream.index,
                "agent": "agent_0",
                "worker": stream.worker,
                "kind": stream.kind,
            }
            for stream in self.streams.values()
        ]

    def columns(self, viewer: Viewer, most: int = 1024) -> dict[str, list[Any]]:
        """The columns of `status.streams` for a viewer: what it has in view, and others in turn."""
        mine = [index for index in viewer.watched if index in self.streams]
        seen = set(mine)
        others = [index for index in self.streams if index not in seen]
        if len(others) > most:
            start = self._turn % len(others)
            self._turn += most
            others = [*others[start:], *others[:start]][:most]
        live = {index for v in self.viewers.values() if v.connected and not v.hidden for index in v.watched}
        rows = [self._row(self.streams[index], viewer.pairs[index], index in live) for index in mine]
        rows += [self._row(self.streams[index], None, index in live) for index in others]
        names = ("index", "state", "kind", "credits", "pool", "published", "shown", "in_flight", "skipped")
        names += ("transitions", "starved_s", "episode", "t", "return")
        return {
            name: list(column)
            for name, column in zip(names, zip(*rows, strict=True) if rows else [[]] * 14, strict=True)
        }

    def _row(self, stream: LiveStream, pair: LivePair | None, live: bool) -> tuple[Any, ...]:
        pool = stream.pool if pair is None else pair.pool
        state = "starved" if pool.is_starved else "live" if live else "no_viewer"
        if pair is None:
            published, shown, in_flight = stream.published, stream.shown, stream.pool.size - stream.pool.credits
            skipped = stream.refused
        else:
            published, shown, in_flight, skipped = pair.published, pair.shown, pair.in_flight, pair.skipped
        return (
            stream.index,
            state,
            stream.kind,
            pool.credits,
            pool.size,
            published,
            shown,
            in_flight,
            dict(skipped),
            pool.transitions,
            round(pool.starved_s, 3),
            stream.episode,
            stream.t,
            stream.returns,
        )

    def totals(self) -> dict[str, int]:
        """Skipped copies of all streams by cause, what producers count included."""
        found: dict[str, int] = {}
        for causes in self.skipped().values():
            _add(found, causes)
        for stream in self.streams.values():
            _add(found, stream.refused)
        return found

    def tell_control(self, events: Iterable[ControlEvent]) -> None:
        """Transitions of the run, from wherever they become known; each is told once."""
        self.bulletins["control"].extend(self.told.extend(events))

    def causes(self) -> dict[str, dict[str, str]]:
        """The table of causes for `hello`."""
        return {cause.name: {"stage": cause.stage, "meaning": cause.meaning} for cause in CAUSES.values()}

    def _skip_unseen(self, index: int) -> None:
        _add(self._gone.setdefault(index, {}), {"no_viewer": 1})

    def _pool(self, viewer: str, stream: int) -> CreditPool:
        def say(_: Any, number: int, at: float) -> None:
            event = ControlEvent(viewer, stream, number, at)
            self.control.add(event)
            self.tell_control([event])

        live = self.live
        return CreditPool(live.credits, live.low_water, live.max_credits, say=say, clock=self._wall)


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for cause, count in more.items():
        total[cause] = total.get(cause, 0) + count
