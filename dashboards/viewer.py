"""One viewer as the gateway knows it: what it wants, its pairs, and what it was told."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from rolltape.actors.frame_window import depth_for
from rolltape.actors.live_pair import LivePair

from .pictures import Layout
from .wire import Message, Wish

LATENCIES: Final = 64
SLOW_SHARE: Final = 0.5
"""A viewer that shows less than this share of what it was published is told why."""


class Viewer:
    """One viewer, connected or gone for a moment.

    Args:
        name: its id.
        hz: pictures a second where it asks for nothing else.
        depth: pictures under way before a latency is known.
        pair: makes the pair of a stream.
        clock: seconds.

    Attributes:
        wish: what it wants.
        pairs: by stream; of those that it does not watch any more too, so that counts and numbers go on.
        connected: its socket is open.
        left_at: when it went.
        heard: positions up to which it was told of control, episodes, log and streams.
        layout: of its mosaic.
        sent_bytes: so far.
    """

    def __init__(
        self,
        name: str,
        hz: float,
        depth: int,
        pair: Callable[[int], LivePair],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self._hz, self._depth, self._pair, self._clock = name, hz, depth, pair, clock
        self.wish = Wish()
        self.pairs: dict[int, LivePair] = {}
        self.connected = True
        self.hidden = False
        self.left_at = 0.0
        self.heard: dict[str, int] = {}
        self.layout: Layout | None = None
        self.layouts = 0
        self.mosaics_under_way: deque[tuple[int, dict[int, int]]] = deque()
        self.mosaics = 0
        self.sent_bytes = 0
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._fps_at, self._fps_shown, self.fps = clock(), 0, 0.0

    @property
    def hz(self) -> float:
        """Pictures a second that it wants of each stream."""
        return self._hz if self.wish.hz is None else self.wish.hz

    @property
    def depth(self) -> int:
        """Pictures under way for each stream."""
        if self.wish.depth is not None:
            return self.wish.depth
        return depth_for(self.hz, self.latency(0.95)) if self._latencies else self._depth

    @property
    def watched(self) -> list[int]:
        """Streams that it has in view."""
        return [stream for stream in self.wish.sub if (pair := self.pairs.get(stream)) and pair.watching]

    def latency(self, share: float) -> float:
        """Seconds from sending to being shown, at that share of the last ones; 0 where none is known."""
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def wants(self, changes: dict[str, Any]) -> list[int]:
        """Change its wish; the streams that came into view."""
        self.wish = replace(self.wish, **changes)
        new = []
        if "sub" in changes:
            wanted = set(self.wish.sub)
            for stream, pair in self.pairs.items():
                if pair.watching and stream not in wanted:
                    pair.leave("no_viewer")
            for stream in self.wish.sub:
                pair = self.pairs.get(stream)
                if pair is None:
                    self.pairs[stream] = self._pair(stream)
                elif pair.watching:
                    continue
                else:
                    pair.come_back()
                new.append(stream)
        self._settle()
        return new

    def takes(self, message: Message) -> tuple[list[int], list[tuple[int, int]]]:
        """Take what it said; streams that came into view, and (stream, sequence) of what was shown."""
        new = self.wants(dict(message.wish)) if message.wish else []
        if message.hidden is not None:
            self.hidden = message.hidden
            for stream in self.watched:
                self.pairs[stream].hide(self.hidden)
        shown = list(self._rendered(message.rendered))
        while message.mosaics is not None and self.mosaics_under_way:
            if self.mosaics_under_way[0][0] > message.mosaics:
                break
            shown += self._rendered(self.mosaics_under_way.popleft()[1].items())
        self._settle()
        return new, shown

    def leave(self) -> None:
        """Its socket is closed."""
        for stream in self.watched:
            self.pairs[stream].leave("disconnected")
        self.mosaics_under_way.clear()
        self.connected, self.left_at = False, self._clock()

    def come_back(self) -> None:
        """It is here again, with the same wish as nothing: its page will say what it has in view."""
        self.connected, self.hidden = True, False
        self.wish, self.layout = Wish(), None
        self.heard = {}

    def measure(self) -> None:
        """Count pictures a second since the last call."""
        now, shown = self._clock(), sum(pair.shown for pair in self.pairs.values())
        if now > self._fps_at:
            self.fps = (shown - self._fps_shown) / (now - self._fps_at)
        self._fps_at, self._fps_shown = now, shown

    def totals(self) -> dict[str, int]:
        """Live copies by cause that it did not get to see."""
        found: dict[str, int] = {}
        for pair in self.pairs.values():
            for cause, count in pair.skipped.items():
                found[cause] = found.get(cause, 0) + count
        return found

    def row(self, me: bool) -> dict[str, Any]:
        """Its row in `status`."""
        pairs = self.pairs.values()
        watched = self.watched
        starved = sum(self.pairs[stream].pool.is_starved for stream in watched)
        return {
            "id": self.name,
            "me": me,
            "hidden": self.hidden,
            "mode": "mosaic" if self.layout is not None else "tiles",
            "subscribed": len(watched),
            "starved": starved,
            "window": self.depth,
            "fps": round(self.fps, 1),
            "latency_ms": round(1000 * self.latency(0.5), 1),
            "latency_p95_ms": round(1000 * self.latency(0.95), 1),
            "published": sum(pair.published for pair in pairs),
            "shown": sum(pair.shown for pair in pairs),
            "in_flight": sum(pair.in_flight for pair in pairs),
            "skipped": self.totals(),
            "advice": self._advice(starved),
        }

    def _advice(self, starved: int) -> str:
        if starved:
            return f"{starved} of its streams starve: it has shown nothing for a whole pool of events."
        need, depth = depth_for(self.hz, self.latency(0.95)), self.depth
        if self._latencies and need > depth:
            return f"A window of {depth} is too small for {1000 * self.latency(0.95):.0f} ms at {self.hz:g} a second."
        watched = len(self.watched)
        if watched and 0 < self.fps < SLOW_SHARE * self.hz * watched:
            return "It draws slower than pictures come; fewer or smaller tiles would be smoother."
        return ""

    def _rendered(self, said: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
        for stream, up_to in said:
            pair = self.pairs.get(stream)
            if pair is None or not pair.watching:
                continue  # it was drawn after the stream had gone from view
            shown = pair.rendered(up_to)
            if shown.sequence is not None:
                self._latencies.append(shown.latency_s)
                yield stream, shown.sequence

    def _settle(self) -> None:
        depth, interval_s = self.depth, 1 / self.hz
        for stream in self.watched:
            pair = self.pairs[stream]
            pair.window.depth, pair.interval_s = depth, interval_s
            if pair.hidden != self.hidden:
                pair.hide(self.hidden)
