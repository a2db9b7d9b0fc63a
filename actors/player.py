"""A player: sends recorded rows as the producers that made them. A plain class; `launch` makes it an actor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from rolltape.schema.config import RecordConfig
from rolltape.schema.messages import ProducerKey, Registration
from rolltape.storage.layout import RunFolder

from .on_ray import links
from .page import ProducerPage, page_path
from .playback import PlaybackRows, Tables, commits_of, load_commit
from .producer import Producer

NAP_S: Final = 0.01
"""A player looks so often for rows that are due."""


@dataclass(frozen=True, slots=True)
class PlayOrder:
    """Everything that makes a player.

    Attributes:
        source: folder of the run that is played back.
        target: folder of the new run.
        keys: whose rows.
        first_us: UTC microseconds of the recording's first step.
        times: the recorded pace times this; None: as fast as can be.
    """

    source: str
    target: str
    keys: tuple[ProducerKey, ...]
    config: RecordConfig
    hub: Any
    writer: Any
    first_us: int
    times: float | None


@dataclass(frozen=True, slots=True)
class Played:
    """What a player did: steps sent, seconds from the common start until the last, and how late a row was at most."""

    steps: int
    seconds: float
    late_s: float


class Player:
    """Plays the rows of some producers back, on a clock that all players share."""

    def __init__(self, order: PlayOrder, wall_s: Callable[[], float] = time.time) -> None:
        # Nothing here can fail: what a constructor raises, Ray reports as the death of the actor.
        self._order, self._wall_s = order, wall_s
        self._producers: dict[ProducerKey, Producer] = {}
        self._rows: dict[ProducerKey, PlaybackRows] = {}
        self._commits: Iterator[dict[ProducerKey, Tables]] = iter(())

    def ready(self) -> tuple[ProducerKey, ...]:
        """Starts the producers and reads the first rows."""
        order, folder = self._order, RunFolder(Path(self._order.target))
        for key in order.keys:
            page = ProducerPage(page_path(folder.producers, key), key, 1)
            rows = self._rows[key] = PlaybackRows(folder.run_id, key, page, order.config.fragment)
            link, hub = links.RayWriterLink(order.writer), links.RayHubLink(order.hub)
            registration = Registration(key, folder.run_id, 0, 1)
            self._producers[key] = Producer(registration, rows, page, link, hub, order.config)
            self._producers[key].start()
        commits = (load_commit(parts, order.keys) for parts in commits_of(RunFolder(Path(order.source))))
        self._commits = chain([next(commits, {})], commits)
        return order.keys

    def play(self, begin_s: float) -> Played:
        """Send everything; it is durable when this returns. `begin_s`: UTC seconds at which the first row is due."""
        order = self._order
        late_s, end_s = 0.0, begin_s
        steps = 0
        for commit in self._commits:
            for key, tables in commit.items():
                with self._producers[key].lock:
                    self._rows[key].load(tables)
            while (next_us := self._next_us()) is not None:
                now_s = self._wall_s()
                due_s = begin_s if order.times is None else begin_s + (next_us - order.first_us) / 1e6 / order.times
                if due_s > now_s:
                    time.sleep(min(due_s - now_s, NAP_S))  # keeps the recorded pace
                    continue
                late_s = max(late_s, now_s - due_s)
                until_us = None if order.times is None else order.first_us + int((now_s - begin_s) * 1e6 * order.times)
                self._send(until_us)
                sent = sum(rows.steps for rows in self._rows.values())
                if sent > steps:  # episodes that were still open have rows from long after the last step
                    steps, end_s = sent, self._wall_s()
        for producer in self._producers.values():
            producer.close()
        return Played(steps, end_s - begin_s, late_s)

    def _next_us(self) -> int | None:
        return min((due for rows in self._rows.values() if (due := rows.next_due_us) is not None), default=None)

    def _send(self, until_us: int | None) -> None:
        for key, rows in self._rows.items():
            producer = self._producers[key]
            with producer.lock:
                if rows.next_due_us is not None and rows.advance(until_us):
                    producer.flush()
