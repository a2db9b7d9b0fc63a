"""The hub's part in the live path: it carries what gateway and producers tell each other, and counts. Plain, no data.

Rules:
1. Everything that is told is cumulative, or has a key, so that it may be told again after any restart.
2. A gateway that is silent for `SILENT_S` wants nothing.
3. Counts are kept for each life of a gateway and of a producer, so that none is lost when another one begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rolltape.schema.live_messages import (
    ControlEvent,
    EpisodeEnd,
    GatewayReport,
    HubView,
    LiveBeat,
    LiveDemand,
    LogLine,
    StreamDemand,
    StreamOwner,
)
from rolltape.schema.messages import ProducerKey, Registration, RunCounts

from .control_log import ControlLog
from .early_buffer import EarlyBuffer

SILENT_S: Final = 3.0
ENDS_KEPT: Final = 1024
LOG_KEPT: Final = 256

Skipped = dict[int, dict[str, int]]


class LiveDesk:
    """What the hub knows of those who watch.

    Args:
        clock: seconds.
        wall: UTC seconds, for log lines.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock, self._wall = clock, wall
        self._report: GatewayReport | None = None
        self._by_owner: dict[str, tuple[StreamDemand, ...]] = {}
        self._heard_at = float("-inf")
        self._skipped: dict[str, Mapping[int, Mapping[str, int]]] = {}
        """By gateway's life, and by gateway's life and producer."""
        self._beats: dict[str, LiveBeat] = {}
        self._owners: dict[str, StreamOwner] = {}
        self._ends: EarlyBuffer[EpisodeEnd] = EarlyBuffer(ENDS_KEPT)
        self._log: EarlyBuffer[LogLine] = EarlyBuffer(LOG_KEPT)
        self.control = ControlLog()

    def registered(self, registration: Registration) -> None:
        """A producer is here, perhaps in place of one before it."""
        key = str(registration.key)
        for name, owner in self._owners.items():
            known = ProducerKey.parse(name)
            if known.producer == registration.key.producer and known.incarnation > registration.key.incarnation:
                return
            if owner.first == registration.sub_env_offset and known.producer == registration.key.producer:
                self._owners.pop(name)
                if name != key:
                    self.say("WARNING", "hub", f"{name} was replaced by {key}.")
                break
        self._owners[key] = StreamOwner(key, registration.sub_env_offset, registration.num_envs, registration.host)

    def beat(self, key: ProducerKey, beat: LiveBeat | None) -> None:
        """A producer's heartbeat."""
        if beat is None:
            return
        name = str(key)
        self._beats[name] = beat
        self._skipped[f"{beat.life} {name}"] = beat.skipped
        for end in beat.ends:
            self._ends.put(end)

    def demand_of(self, key: ProducerKey) -> LiveDemand | None:
        """What a producer is asked to show; None where no gateway was ever heard of."""
        report = self._report
        if report is None:
            return None
        if self._clock() - self._heard_at > SILENT_S:
            return LiveDemand(report.life, report.gateway, report.number)
        streams = self._by_owner.get(str(key), ())
        return LiveDemand(
            life=report.life,
            gateway=report.gateway,
            number=report.number,
            hz=report.hz if streams else 0.0,
            streams=streams,
            scalars=report.viewers > 0,
            slow_down=any(wanted.stream in report.starved for wanted in streams),
            kinds=report.kinds,
        )

    def report(self, report: GatewayReport, epoch: str, counts: RunCounts, stopping: bool = False) -> HubView:
        """A gateway tells what it wants, and is told what there is."""
        known = self._report
        if known is not None and known.life != report.life:
            self.say("WARNING", "hub", f"The gateway was started again (life {report.life}).")
        if known is None or known.life != report.life or report.number > known.number:
            self._report = report
            by_owner: dict[str, list[StreamDemand]] = {}
            for wanted in report.demand:
                by_owner.setdefault(report.lives.get(wanted.stream, ""), []).append(wanted)
            self._by_owner = {owner: tuple(streams) for owner, streams in by_owner.items()}
        self._heard_at = self._clock()
        self._skipped[report.life] = report.skipped
        self.control.extend(report.control)
        heard = report.heard if report.known == epoch else 0
        ends: list[EpisodeEnd] = []
        self._ends.open(ends.append)
        self._ends.close()
        log: list[LogLine] = []
        self._log.open(log.append)
        self._log.close()
        return HubView(
            epoch=epoch,
            owners=tuple(self._owners.values()),
            beats={name: self._beats[name] for name in self._owners if name in self._beats},
            counts=counts,
            control_taken=report.control_position,
            control=tuple(self.control.after(heard)),
            position=self.control.position,
            ends=tuple(ends),
            ends_omitted=self._ends.overflowed + sum(beat.ends_omitted for beat in self._beats.values()),
            log=tuple(log),
            refused=self.refused(),
            stopping=stopping,
        )

    def say(self, severity: str, component: str, message: str) -> None:
        """A line for those who watch."""
        self._log.put(LogLine(self._wall(), severity, component, "", message))

    def skipped(self) -> Skipped:
        """Live copies that were not shown, of all lives, by stream and cause."""
        return _sum(self._skipped.values())

    def refused(self) -> Skipped:
        """Those of them that producers could not publish."""
        return _sum(streams for name, streams in self._skipped.items() if " " in name)

    def told(self, position: int) -> tuple[Iterable[ControlEvent], int]:
        """Transitions behind a position, for who stores them, and the position of the newest."""
        return tuple(self.control.after(position)), self.control.position


def _sum(lives: Iterable[Mapping[int, Mapping[str, int]]]) -> Skipped:
    total: Skipped = {}
    for streams in lives:
        for stream, causes in streams.items():
            found = total.setdefault(stream, {})
            for cause, count in causes.items():
                found[cause] = found.get(cause, 0) + count
    return total
