"""Frozen records of the live path: between producers, hub, gateway and writer (docs/decisions/0023-live-path.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

KINDS: Final = ("grid", "graph", "rgb", "text")
"""What an environment may look like. A state comes first: it costs least, and has words."""
GATEWAY_NUMBER = 0
"""The viewer with which a gateway reports of itself is `<its life>.0`."""


class ControlEvent(NamedTuple):
    """One transition of one (viewer, stream). Its key is the first three; odd numbers are STARVED, even ones RESUMED.

    Attributes:
        viewer: id of the viewer, which holds the gateway's life.
        stream: sub-environment, unique in the run.
        number: of the transition within the pair, from 1.
        time: UTC seconds.
    """

    viewer: str
    stream: int
    number: int
    time: float

    @property
    def transition(self) -> Literal["STARVED", "RESUMED"]:
        """What happened."""
        return "STARVED" if self.number % 2 else "RESUMED"


class StreamDemand(NamedTuple):
    """What the gateway wants of one stream.

    Attributes:
        stream: sub-environment, unique in the run.
        limit: publish while fewer than so many were published to this life of the gateway by this life of the producer.
        size: longer side of pictures in pixels, about; 0 for their own.
        steps: values of the step are wanted besides the picture.
        held: sequence number of the picture that the gateway holds, as the stream's present producer counts; 0: none.
    """

    stream: int
    limit: int
    size: int
    steps: bool = False
    held: int = 0


class PictureChanges(NamedTuple):
    """What a picture has that an earlier one of its stream had not.

    Attributes:
        since: sequence number of the earlier one.
        data: as `schema/picture_changes.py` writes it.
    """

    since: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LiveDemand:
    """What one producer is asked to show.

    Attributes:
        life: of the gateway; counts and limits begin anew with another one.
        gateway: the name of its actor.
        number: grows with each demand of this life.
        hz: samples a second; 0 where no stream is wanted.
        streams: of this producer.
        scalars: somebody watches: heartbeats say where each stream is, and which episodes ended.
        slow_down: somebody starves, and the producer was configured to wait for those who do.
        kinds: of what may be shown, the first that an environment offers wins.
    """

    life: str
    gateway: str
    number: int = 0
    hz: float = 0.0
    streams: tuple[StreamDemand, ...] = ()
    scalars: bool = False
    slow_down: bool = False
    kinds: tuple[str, ...] = KINDS


@dataclass(frozen=True, slots=True)
class LiveItem:
    """One event of one stream: what is seen of it at one moment.

    Attributes:
        stream: sub-environment, unique in the run.
        sequence: counts what this life of the producer published of it to this life of the gateway, from 1.
        time: UTC seconds.
        episode, t: where the stream is; t is the number of steps of the episode so far.
        episode_return: sum of the episode's rewards so far.
        picture: uint8[H, W] or [H, W, 1, 3 or 4], perhaps reduced, or `PictureChanges`, which a gateway puts
            together; None where `payload` says it.
        payload: a render payload as UTF-8 JSON; None where there is a picture.
        reduced: each side of the picture was divided by this.
        step: action, reward, terminated, truncated and observation as JSON values, where wanted.
    """

    stream: int
    sequence: int
    time: float
    episode: int
    t: int
    episode_return: float
    picture: Any = None
    payload: bytes | None = None
    reduced: int = 1
    step: Mapping[str, Any] | None = None


class EpisodeEnd(NamedTuple):
    """An episode that came to its end; `time` in UTC seconds."""

    stream: int
    episode: int
    length: int
    episode_return: float
    status: str
    time: float


@dataclass(frozen=True, slots=True)
class LiveBeat:
    """What a producer's heartbeat says for those who watch. Counts are cumulative within (life, producer key).

    Attributes:
        life: of the gateway that the counts are about.
        published: events by stream.
        skipped: events by stream and cause that were not published.
        ends: episodes that ended since the last beat, the newest ones.
        ends_omitted: how many more ended since the start than were ever in `ends`.
        episode, t, returns: int64, int32 and float64 bytes, one value a sub-environment; None where nobody watches.
    """

    life: str
    published: Mapping[int, int] = field(default_factory=dict)
    skipped: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    ends: tuple[EpisodeEnd, ...] = ()
    ends_omitted: int = 0
    episode: bytes | None = None
    t: bytes | None = None
    returns: bytes | None = None


class LogLine(NamedTuple):
    """A line for those who watch; `time` in UTC seconds, `stream` None where it is of no single one."""

    time: float
    severity: str
    component: str
    code: str
    message: str
    stream: int | None = None


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What the gateway tells the hub, four times a second while somebody watches. All counts are cumulative.

    Attributes:
        life: of the gateway.
        gateway: the name of its actor.
        number: grows with each report.
        viewers: how many are connected.
        hz: samples a second that are wanted.
        demand: what is wanted of each stream; limits are in the sequence numbers of the stream's present producer.
        lives: the producer key as text to which the limit of each stream belongs.
        skipped: live copies that a viewer did not get, by stream and cause.
        shown: live copies that were shown, by stream.
        starved: streams on which somebody starves.
        kinds: as in `LiveDemand`.
        control: transitions since `control_taken` of the hub's last answer, or all that are kept.
        control_position: of the control log, where these transitions end.
        known: the hub life whose answer was seen last; with another one everything is told again.
        heard: up to which position control events and log lines of the hub were taken.
    """

    life: str
    gateway: str
    number: int
    viewers: int = 0
    hz: float = 0.0
    demand: tuple[StreamDemand, ...] = ()
    lives: Mapping[int, str] = field(default_factory=dict)
    skipped: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    shown: Mapping[int, int] = field(default_factory=dict)
    starved: frozenset[int] = frozenset()
    kinds: tuple[str, ...] = KINDS
    control: tuple[ControlEvent, ...] = ()
    control_position: int = 0
    known: str = ""
    heard: int = 0


@dataclass(frozen=True, slots=True)
class StreamOwner:
    """A producer and its streams: `first` to `first + count - 1`."""

    key: str
    first: int
    count: int
    host: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class HubView:
    """What the hub answers to a gateway.

    Attributes:
        epoch: life of the hub.
        owners: who produces which streams; the newest lives.
        beats: the newest live part of each owner's heartbeat, by key.
        control_taken: position of the gateway's control log up to which the hub has everything.
        control: events that became known after `heard`, of all gateways of the run.
        position: of the newest of those; `heard` of the next report.
        ends: episodes that ended since the last report; `ends_omitted` more did since the start.
        log: lines since the last report.
        refused: what producers could not publish, of all their lives, by stream and cause.
        stopping: the run is asked to end.
    """

    epoch: str
    owners: tuple[StreamOwner, ...]
    beats: Mapping[str, LiveBeat]
    counts: Any
    control_taken: int
    control: tuple[ControlEvent, ...]
    position: int
    ends: tuple[EpisodeEnd, ...]
    ends_omitted: int
    log: tuple[LogLine, ...] = ()
    refused: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    stopping: bool = False


def kind_of(payload: bytes | None) -> str:
    """The kind of a render payload as JSON, which comes first in it; text where there is none."""
    head = (payload or b"")[:24]
    return next((kind for kind in KINDS if f'"{kind}"'.encode() in head), "text")
