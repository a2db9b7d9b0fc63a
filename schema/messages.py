"""Frozen records that travel between a producer, the hub and a writer.

The life of a fragment, in the words used here:

1. A *producer* (an environment worker or a recorder) has a number, unique in the run, and an incarnation: 0, then one
   more after each restart. `ProducerKey` names one life of one producer.
2. It closes fragments and numbers them 1, 2, 3, … within its incarnation.
3. A writer takes only the next number of a key and answers each with an `Ack` once it is durable, or at once with the
   number it expects.
4. A `Watermark` says up to where a key is durable. Watermarks only grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from .columns import PAYLOAD_VERSION
from .live_messages import LiveBeat, LiveDemand
from .mismatches import Mismatch

FIRST_STREAM: Final = -(1 << 30)
"""Numbers of producers from here downwards are streams of log records: one a process, chosen by chance. They have
neither steps nor episodes nor a page, and the hub does not know them."""


class ProducerKey(NamedTuple):
    """One life of one producer; prints as `p<producer>.<incarnation>`."""

    producer: int
    incarnation: int

    def __str__(self) -> str:
        return f"p{self.producer}.{self.incarnation}"

    @classmethod
    def parse(cls, text: str) -> ProducerKey:
        """The inverse of `str`. Raises ValueError for anything else."""
        head, dot, tail = text.partition(".")
        if not (head.startswith("p") and dot):
            raise ValueError(f"not a producer key: {text!r}; expected p<producer>.<incarnation>")
        return cls(int(head[1:]), int(tail))


@dataclass(frozen=True, slots=True)
class FragmentHeader:
    """What a fragment says of itself; the record batches travel beside it.

    Attributes:
        key: whose fragment it is.
        sequence: from 1, without holes, within the key.
        steps: rows of the steps table in this fragment.
        episodes: rows of the episodes table in this fragment.
        steps_total: steps of this key up to and including this fragment.
        episodes_total: episode rows of this key up to and including this fragment.
        nbytes: Arrow buffer bytes of all tables.
        opened_ns: UTC time of its oldest row, in nanoseconds.
        closed_ns: UTC time when it was closed, in nanoseconds.
        payload_version: the version in which the producer speaks of its steps.
        mismatches: all that this key counted up to and including this fragment.
        skipped: steps of this key that were left out on purpose up to and including this fragment.
    """

    key: ProducerKey
    sequence: int
    steps: int
    episodes: int
    steps_total: int
    episodes_total: int
    nbytes: int
    opened_ns: int
    closed_ns: int
    payload_version: int = PAYLOAD_VERSION
    mismatches: tuple[Mismatch, ...] = ()
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to where one producer key is durable: sequence, and the totals of that fragment's header."""

    sequence: int = 0
    steps: int = 0
    episodes: int = 0
    payload_version: int = PAYLOAD_VERSION
    mismatches: tuple[Mismatch, ...] = ()
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """A writer's answer to one fragment.

    `durable`: it is committed (now or already before). `refused`: send again from `expected`. `fenced`: this
    incarnation was replaced and must stop.
    """

    status: Literal["durable", "refused", "fenced"]
    key: ProducerKey
    sequence: int
    expected: int = 0
    commit_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Registration:
    """What a producer tells the hub when it starts, and again whenever the hub's epoch changes."""

    key: ProducerKey
    run_id: str
    sub_env_offset: int
    num_envs: int
    payload_versions: tuple[int, ...] = (PAYLOAD_VERSION,)
    watermark: Watermark = Watermark()
    host: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A producer's counts since its start; the hub keeps the newest.

    `inflight_bytes` are sent and not acknowledged; `inflight_high_bytes` is their greatest value so far. `waited_s` is
    the time that the producer stood still for budget. `rate_bytes_s` is its present rate of closed fragments. `queued`
    are its fragments that are not acknowledged, `memory_bytes` is the resident memory of its process. `live` is for
    those who watch.
    """

    key: ProducerKey
    steps: int = 0
    episodes: int = 0
    return_sum: float = 0.0
    frames: int = 0
    durable: Watermark = Watermark()
    inflight_bytes: int = 0
    inflight_high_bytes: int = 0
    rate_bytes_s: float = 0.0
    commit_s: float = 0.0
    lag_s: float = 0.0
    lag_high_s: float = 0.0
    waited_s: float = 0.0
    resent: int = 0
    cpu_s: float = 0.0
    queued: int = 0
    memory_bytes: int = 0
    done: bool = False
    live: LiveBeat | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """The hub's answer: how many bytes may be in flight, which life of the hub says so, in which payload version the
    producer is to speak, and what those who watch want of it (None: nobody is known to watch)."""

    epoch: str
    budget_bytes: int
    stop: bool = False
    known: bool = True
    payload_version: int = PAYLOAD_VERSION
    live: LiveDemand | None = None


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The sum over all producers of a run, living and gone; `producers` are the living."""

    epoch: str = ""
    producers: int = 0
    steps: int = 0
    episodes: int = 0
    return_sum: float = 0.0
    frames: int = 0
    durable_steps: int = 0
    durable_episodes: int = 0
    inflight_bytes: int = 0
    inflight_high_bytes: int = 0
    lag_s: float = 0.0
    lag_high_s: float = 0.0
    waited_s: float = 0.0
    resent: int = 0
    cpu_s: float = 0.0
    keys: dict[str, Heartbeat] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    hub_host: str = ""
    hub_cpu_s: float = 0.0
    hub_memory_bytes: int = 0

    @classmethod
    def of(cls, epoch: str, beats: Mapping[str, Heartbeat]) -> RunCounts:
        """Sum the newest heartbeats of all producers, by their keys as text."""
        living = [b for b in beats.values() if not b.done]
        return cls(
            epoch=epoch,
            producers=len(living),
            steps=sum(b.steps for b in beats.values()),
            episodes=sum(b.episodes for b in beats.values()),
            return_sum=sum(b.return_sum for b in beats.values()),
            frames=sum(b.frames for b in beats.values()),
            durable_steps=sum(b.durable.steps for b in beats.values()),
            durable_episodes=sum(b.durable.episodes for b in beats.values()),
            inflight_bytes=sum(b.inflight_bytes for b in living),
            inflight_high_bytes=sum(b.inflight_high_bytes for b in beats.values()),
            lag_s=max((b.lag_s for b in living), default=0.0),
            lag_high_s=max((b.lag_high_s for b in beats.values()), default=0.0),
            waited_s=sum(b.waited_s for b in beats.values()),
            resent=sum(b.resent for b in beats.values()),
            cpu_s=sum(b.cpu_s for b in beats.values()),
            keys=dict(beats),
        )
