"""Stand-ins for what a producer needs around it: a clock, a page in memory, an agreement on infos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.actors.infos import Proposal
from rolltape.schema.config import FragmentConfig, FramesConfig
from rolltape.schema.messages import Ack, FragmentHeader, Grant, Heartbeat, ProducerKey, Registration
from rolltape.schema.run_schema import RunSchema

from .recorded import copied

RUN_ID = "01K00000000000000000000000"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Ticks:
    """A wall clock and a counter of nanoseconds that move on by a microsecond each time they are read."""

    offset_ns = 0

    def __init__(self) -> None:
        self.ns = 1_790_000_000_000_000_000

    def counter_ns(self) -> int:
        self.ns += 1000
        return self.ns

    def now_us(self) -> int:
        return self.counter_ns() // 1000


class MemoryPage:
    """A producer's page without a file."""

    def __init__(self, num_envs: int = 1) -> None:
        array = np.zeros(8 + 2 * num_envs, np.int64)
        self.words = memoryview(array)
        self.episode_index, self.episode_steps = array[8 : 8 + num_envs], array[8 + num_envs :]
        array[8:] = -1


class Agreement:
    """The hub's part in settling infos: the first proposal holds."""

    def __init__(self) -> None:
        self.settled: Proposal | None = None
        self.asked = 0

    def __call__(self, proposal: Proposal) -> Proposal:
        self.asked += 1
        if self.settled is None:
            self.settled = proposal
        return self.settled


def run_schema(observation_space: Any, action_space: Any, frames: Any = "auto", every: int = 1) -> RunSchema:
    """The contract of a run of `Test-v0`."""
    return RunSchema(RUN_ID, "Test-v0", observation_space, action_space, FramesConfig(policy=frames, every=every))


def fragments(max_rows: int = 1_000_000, **values: Any) -> FragmentConfig:
    """When to close fragments."""
    return FragmentConfig(max_rows=max_rows, **values)


class FakeLink:
    """A way to a writer that a test answers by hand: `answers[handle]` is an `Ack` or what the call raises."""

    def __init__(self) -> None:
        self.sent: list[FragmentHeader] = []
        self.handles: list[object] = []
        self.payloads: list[Any] = []
        self.answers: dict[object, Ack | BaseException] = {}
        self.hurried = 0
        self.broken: Exception | None = None

    def hold(self, batches: dict[str, Any]) -> Any:
        return copied(batches)

    def append(self, header: FragmentHeader, payload: Any) -> object:
        if self.broken is not None:
            raise self.broken
        handle = object()
        self.sent.append(header)
        self.handles.append(handle)
        self.payloads.append(payload)
        return handle

    def answer(self, handle: object) -> Ack:
        answer = self.answers[handle]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def hurry(self, key: ProducerKey, sequence: int) -> None:
        self.hurried += 1

    @property
    def sequences(self) -> list[int]:
        """What was sent, in order, resent fragments too."""
        return [header.sequence for header in self.sent]


def header(sequence: int, nbytes: int = 10, steps: int = 2, key: ProducerKey | None = None) -> FragmentHeader:
    """The header of a fragment; all before it had as many steps, and no episode ended."""
    return FragmentHeader(
        key=key or ProducerKey(0, 0),
        sequence=sequence,
        steps=steps,
        episodes=0,
        steps_total=steps * sequence,
        episodes_total=0,
        nbytes=nbytes,
        opened_ns=1,
        closed_ns=2,
    )


def durable(sequence: int, commit_s: float = 0.0, key: ProducerKey | None = None) -> Ack:
    """A writer's answer: committed."""
    return Ack("durable", key or ProducerKey(0, 0), sequence, commit_s=commit_s)


class FakeHub:
    """A hub that answers every heartbeat at once; `wait` says which calls of `link` a test has answered.

    Attributes:
        epoch, known: what it answers; `gone` makes its calls fail.
        before_wait: called by each `wait`, as time passes there: the place for what happens meanwhile.
    """

    def __init__(self, link: FakeLink, budget_bytes: int = 1 << 30) -> None:
        self.link, self.budget_bytes = link, budget_bytes
        self.epoch, self.known, self.stop, self.gone = "first", True, False, False
        self.registered: list[Registration] = []
        self.beats: list[Heartbeat] = []
        self.before_wait: Callable[[], None] = lambda: None
        self._handles: dict[object, Grant] = {}

    def register(self, registration: Registration) -> Grant:
        if self.gone:
            raise ConnectionError("no hub")
        self.registered.append(registration)
        self.known = True
        return self._grant()

    def beat(self, heartbeat: Heartbeat) -> object:
        self.beats.append(heartbeat)
        handle = object()
        self._handles[handle] = self._grant()
        return handle

    def grant(self, handle: object) -> Grant:
        if self.gone:
            raise ConnectionError("no hub")
        return self._handles.pop(handle)

    def wait(self, handles: list[object], timeout_s: float, bell: Any) -> list[object]:
        self.before_wait()
        return [handle for handle in handles if handle in self.link.answers or handle in self._handles]

    def _grant(self) -> Grant:
        return Grant(self.epoch, self.budget_bytes, self.stop, self.known)


class FakeRows:
    """An open fragment of numbered rows; the batch of a fragment holds their numbers."""

    def __init__(self, clock: Clock, max_age_s: float = 0.5) -> None:
        self._clock, self._max_age_s = clock, max_age_s
        self.steps = self.rows = self.episodes = self.completed = self.frames = 0
        self.return_sum = 0.0
        self.oldest_ns: int | None = None
        self.row_bytes = 10
        self.hastened = False
        self.broken: Exception | None = None
        self.aborted = 0

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes

    def step(self, n: int = 1) -> bool:
        if self.oldest_ns is None:
            self.oldest_ns = int(self._clock() * 1e9)
        self.steps += n
        self.rows += n
        return self.hastened

    def due(self, now_ns: int) -> bool:
        return self.oldest_ns is not None and now_ns - self.oldest_ns >= self._max_age_s * 1e9

    def hasten(self) -> None:
        self.hastened = True

    def relax(self) -> None:
        self.hastened = False

    def abort(self) -> None:
        self.aborted += 1

    def seal(self) -> FakeSealed | None:
        if self.oldest_ns is None:
            return None
        sealed = FakeSealed(np.arange(self.steps - self.rows, self.steps), self.nbytes, self.oldest_ns, self.broken)
        self.rows, self.oldest_ns = 0, None
        return sealed


@dataclass
class FakeSealed:
    """The numbers of a fragment's rows."""

    numbers: np.ndarray
    nbytes: int
    oldest_ns: int
    broken: Exception | None

    @property
    def bulky(self) -> bool:
        return self.nbytes > 1 << 20

    def batches(self, fragment: int) -> dict[str, pa.RecordBatch]:
        if self.broken is not None:
            raise self.broken
        if not len(self.numbers):
            return {}
        return {"steps": pa.RecordBatch.from_arrays([pa.array(self.numbers.copy())], ["number"])}

    def release(self) -> None:
        self.numbers[:] = -1
