"""What `EnvWorker` and `rolltape.record` share: the open fragment, the window behind it, and the talk with the hub.

Rules:
1. The stepping thread writes rows. When a fragment is full it waits until the pump has taken it, which is at once
   unless the one before still waits for room: what is full and cannot be sent holds the environment still, and nothing
   else does. While the oldest row on its way is older than `max_unacked_age_s`, every fragment with a row is full.
2. A second thread, the pump, does all the rest: it seals a fragment that is full, or that is old while there is room,
   makes its batches while the environment is stepped on, sends them, takes acknowledgements in, sends again after a
   fault, and tells the hub four times a second. At most one sealed fragment waits.
3. One lock guards rows and window. It is not held while waiting for a call, nor while the batches of a bulky fragment
   are made and copied. Others are made under it: a thread that has to win the interpreter from one that is busy costs
   both more than the milliseconds that stepping stands still. (The first fragment asks the hub which infos are typed.)
4. An interrupt goes to the main thread, which only waits: none comes between sealing and sending.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import psutil

from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import RolltapeError, RunFailed
from rolltape.schema.messages import FragmentHeader, Grant, Heartbeat, ProducerKey, Registration
from rolltape.schema.mismatches import Mismatch, MismatchCounts

from . import switching
from .doorbell import Doorbell
from .hub_link import HubLink
from .live_feed import LiveFeed
from .open_fragment import OpenFragment
from .page import SEQUENCE, ProducerPage
from .sealed import Batches, Sealed, SealedCopy
from .window import Handle, Link, Window

HEARTBEAT_S = 0.25
SOON_S = 0.005
"""The shortest wait of the pump for something that is due by time."""
WAIT_S = 0.5
"""How long somebody who waits for the pump sleeps at most."""
SLOW_DOWN_S = 0.02
"""How long each step is held up while a viewer starves; only where `live.slow_down` asks for it."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a producer did, read when it closed."""

    key: ProducerKey
    steps: int
    episodes: int
    frames: int
    durable_steps: int


class Producer:
    """One life of one producer. Made with its rows; `start` before the first step, `close` after the last.

    `inspect` is given every fragment before it is sent; `mismatches` is what was counted of the rows so far; `live` is
    for those who watch.
    """

    def __init__(
        self,
        registration: Registration,
        rows: OpenFragment,
        page: ProducerPage,
        link: Link,
        hub: HubLink,
        config: RecordConfig,
        *,
        inspect: Callable[[Batches], None] | None = None,
        mismatches: MismatchCounts | None = None,
        live: LiveFeed | None = None,
        clock: Callable[[], float] = time.monotonic,
        counter_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.key = registration.key
        self._inspect, self._mismatches, self._live = inspect, mismatches, live
        self.payload_version = max(registration.payload_versions)
        self.rows = rows
        self._registration = replace(registration, host=socket.gethostname(), pid=os.getpid())
        self._page, self._link, self._hub, self._config = page, link, hub, config
        self._clock, self._counter_ns = clock, counter_ns
        self.mutex = threading.Lock()
        self.lock = threading.Condition(self.mutex)
        self._window = Window(self.key, link, config.budget, budget_bytes=4 * config.fragment.max_bytes, clock=clock)
        self._sequence = 0
        self._steps_sent = self._episodes_sent = 0
        self._bytes_sent = 0
        self._rate = 0.0
        self._waited_s = 0.0
        self._sealed: Sealed | None = None
        self._said: tuple[Mismatch, ...] = ()
        self._counts_alone = False
        self._wanted = False  # the stepping thread waits for its fragment to be sealed
        self._draining = False  # or for everything to be durable
        self._held = False  # no fragment is filled any further
        self._beat_at = self._rate_at = clock()
        self._hurried_at = -math.inf
        self._rate_from = 0
        self._beat: Handle = None
        self._registering: threading.Thread | None = None
        self._closing = threading.Event()
        self._bell = Doorbell()
        self._pump = threading.Thread(target=self._run_pump, name=f"rolltape-{self.key}", daemon=True)
        self._process = psutil.Process()
        self.stop_asked = False

    def start(self) -> None:
        """Register with the hub and begin to send."""
        self.register()
        switching.interval.enter()
        self._pump.start()

    def register(self) -> None:
        """Register with the hub. Raises VersionRefused where the run takes no payload version that this one speaks."""
        grant = self._hub.register(self._registration)
        self.payload_version = grant.payload_version
        self._accept(grant)

    def attend(self, action: Any, observation: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """A step with these values has said that its fragment is full, or was asked to be looked at. The caller holds
        `lock`. Raises as `flush`."""
        live = self._live
        if live is not None and live.rows.prompted:
            if live.asked:
                live.take(action, observation, reward, terminated, truncated)
                self._bell.ring()
            if live.slows_down:
                self.lock.wait(SLOW_DOWN_S)
            else:
                live.rows.settle()
            if not live.rows.full:
                return
        self.flush()

    def flush(self) -> None:
        """Have the open fragment taken, waiting for room. The caller holds `lock`.

        Raises WriterStalled, DiskFull and the like when the run cannot go on.
        """
        self._window.raise_if_failed()
        began = self._clock()
        self._wanted = True
        self._bell.ring()
        while self._wanted and not self._closing.is_set():
            self.lock.wait(WAIT_S)
            self._window.raise_if_failed()
            now = self._clock()
            self._waited_s += now - began  # heartbeats say how long it is so far
            began = now

    def close(self, timeout_s: float | None = None) -> Totals:
        """Close open episodes, send everything, and wait until it is durable. Raises RunFailed and the like."""
        with self.lock:
            self.rows.abort()
            self.flush()
        self.drain(timeout_s)
        if self._mismatches is not None and self._mismatches.frozen() != self._said:
            with self.lock:  # what was refused after the last row: a fragment that brings counts and no rows
                self._sealed = SealedCopy(lambda _: {}, 0, self._counter_ns())
                self._counts_alone = True
            self.drain(timeout_s)
        return self.shut()

    def drain(self, timeout_s: float | None = None) -> None:
        """Send the open fragment and wait until everything sent is durable; open episodes stay open."""
        deadline = None if timeout_s is None else self._clock() + timeout_s
        with self.lock:
            self.flush()
            self._draining = True
            self._hurried_at = -math.inf
            self._bell.ring()
            try:
                while self._sealed is not None or len(self._window):
                    self._window.raise_if_failed()
                    if deadline is not None and self._clock() > deadline:
                        raise RunFailed(
                            f"{len(self._window)} fragments of {self.key} were not durable within {timeout_s:g} s."
                        )
                    self.lock.wait(WAIT_S)
                self._window.raise_if_failed()
            finally:
                self._draining = False

    def shut(self) -> Totals:
        """Stop the pump and tell the hub the last counts, whatever state the window is in."""
        self._closing.set()
        self._bell.ring()
        with self.lock:
            self.lock.notify_all()
        if self._pump.is_alive():
            self._pump.join()
            switching.interval.leave()
        with self.lock:
            beat = replace(self._heartbeat(), done=True)
        try:
            self._hub.wait([self._hub.beat(beat)], 5.0, Doorbell())
        except Exception:  # the hub may be gone, with Ray itself; what is durable does not depend on it
            pass
        rows = self.rows
        return Totals(self.key, rows.steps, rows.episodes, rows.frames, self._window.durable.steps)

    def fail(self, error: BaseException) -> None:
        """The run cannot go on, for a reason that lies elsewhere: whoever steps or waits here is told."""
        with self.lock:
            self._fail(error)
            self.lock.notify_all()

    @property
    def failed(self) -> RolltapeError | None:
        """What ended this producer, if something did."""
        return self._window.failed

    def _fail(self, error: BaseException) -> None:
        """Nothing more is sent; the stepping thread hears of it with its next step."""
        if isinstance(error, RolltapeError):
            self._window.fail(error)
        else:
            failure = RunFailed(f"Producer {self.key} broke: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self._window.fail(failure)
        self.rows.hasten()

    def _run_pump(self) -> None:
        try:
            while not self._closing.is_set():
                self.turn()
        except BaseException as error:  # nothing else would tell the stepping thread, which waits for us
            with self.lock:
                self._fail(error)
                self.lock.notify_all()

    def turn(self) -> None:
        """One turn of the pump: take answers in, send again, seal and send what is full or old, tell the hub."""
        with self.lock:
            handles = self._window.handles
            pause_s = self._pause_s()
        if self._beat is not None:
            handles = [*handles, self._beat]
        live = self._live
        if live is not None and live.handle is not None:
            handles = [*handles, live.handle]
        ready = self._hub.wait(handles, pause_s, self._bell)
        with self.lock:
            for handle in ready:
                if handle is self._beat:
                    self._beat = None
                    self._try_grant(handle)
                elif live is not None and handle is live.handle:
                    live.answered()
                else:
                    self._window.answered(handle)
            self._window.tick()
            self._bound_the_age()
            if ready or self._window.failed is not None:
                self.lock.notify_all()
            if live is not None and live.tick():
                live.rows.prompt()
        if live is not None:
            live.push()
        while self._send():
            pass
        with self.lock:
            self._hurry()
            now = self._clock()
            if now - self._beat_at >= HEARTBEAT_S:
                self._beat_at = now
                self._rate = (self._bytes_sent - self._rate_from) / max(now - self._rate_at, 1e-3)
                self._rate_from, self._rate_at = self._bytes_sent, now
                if self._beat is None:
                    self._beat = self._try_beat()

    def _bound_the_age(self) -> None:
        """Hold the environment still while the oldest row is too old: the open fragment would take rows for minutes."""
        held = self._window.failed is not None or self._window.late
        if held != self._held:
            self._held = held
            (self.rows.hasten if held else self.rows.relax)()

    def _pause_s(self) -> float:
        """How long nothing is due: at most until the next heartbeat."""
        now = self._clock()
        until = self._beat_at + HEARTBEAT_S
        if self._live is not None:
            until = min(until, self._live.due_at)
        if self._window.retry_at is not None:
            until = min(until, self._window.retry_at)
        if self.rows.oldest_ns is not None and self._sealed is None:
            age_s = (self._counter_ns() - self.rows.oldest_ns) / 1e9
            if age_s < self._config.fragment.max_age_s:  # an older one waits for room, which comes with an answer
                until = min(until, now + self._config.fragment.max_age_s - age_s)
        return max(SOON_S, until - now)

    def _send(self) -> bool:
        """Seal a fragment, and send the one that is sealed when there is room; whether one was sent.

        What fails here ends the run: the rows may be gone, or in part.
        """
        with self.lock:
            if self._window.failed is not None:
                return False
            if self._sealed is None:
                self._seal()
            sealed = self._sealed
            if sealed is None or not self._window.fits(sealed.nbytes):
                return False
            if not sealed.bulky:
                self._push(sealed, self._prepare(sealed))
                return self._window.failed is None
        prepared = self._prepare(sealed)
        with self.lock:
            self._push(sealed, prepared)
            return self._window.failed is None

    def _seal(self) -> None:
        old = self.rows.due(self._counter_ns()) and self._window.fits(self.rows.nbytes)
        if not (self._wanted or old):
            return
        self._sealed = self.rows.seal()
        if self._wanted:
            self._wanted = False
            self.lock.notify_all()

    def _prepare(self, sealed: Sealed) -> tuple[Any, int, int, int] | BaseException:
        """The payload of a fragment, its steps, episodes and bytes; or why there is none."""
        try:
            batches = sealed.batches(self._sequence + 1)
            if self._inspect is not None:
                self._inspect(batches)
            if self._live is not None:
                self._live.ended(batches)
            steps = batches["steps"].num_rows if "steps" in batches else 0
            episodes = batches["episodes"].num_rows if "episodes" in batches else 0
            nbytes = sum(batch.get_total_buffer_size() for batch in batches.values())
            payload = self._link.hold(batches) if batches or self._counts_alone else None
            batches.clear()
            sealed.release()
        except BaseException as error:
            return error
        return payload, steps, episodes, nbytes

    def _push(self, sealed: Sealed, prepared: tuple[Any, int, int, int] | BaseException) -> None:
        self._sealed = None
        if isinstance(prepared, BaseException):
            self._fail(prepared)
            self.lock.notify_all()
            return
        payload, steps, episodes, nbytes = prepared
        if payload is None:
            return
        self._sequence = self._page.words[SEQUENCE] = self._sequence + 1
        mismatches = () if self._mismatches is None else self._mismatches.frozen()
        self._said = mismatches
        self._steps_sent += steps
        self._episodes_sent += episodes
        self._bytes_sent += nbytes
        age_s = (self._counter_ns() - sealed.oldest_ns) / 1e9
        closed_ns = time.time_ns()
        header = FragmentHeader(
            key=self.key,
            sequence=self._sequence,
            steps=steps,
            episodes=episodes,
            steps_total=self._steps_sent,
            episodes_total=self._episodes_sent,
            nbytes=nbytes,
            opened_ns=closed_ns - int(age_s * 1e9),
            closed_ns=closed_ns,
            payload_version=self.payload_version,
            mismatches=mismatches,
            skipped=getattr(self.rows, "skipped", 0),
        )
        try:
            self._window.push(header, payload, self._clock() - age_s)
        except BaseException as error:
            self._fail(error)
            self.lock.notify_all()

    def _hurry(self) -> None:
        """Who waits for room, or for the end, wants a commit. A writer that was restarted is told again."""
        waits = self._draining or (self._wanted and self._sealed is not None)
        if waits and self._clock() - self._hurried_at >= WAIT_S:
            self._hurried_at = self._clock()
            self._window.hurry()

    def _heartbeat(self) -> Heartbeat:
        rows, window = self.rows, self._window
        return Heartbeat(
            key=self.key,
            steps=rows.steps,
            episodes=rows.completed,
            return_sum=rows.return_sum,
            frames=rows.frames,
            durable=window.durable,
            inflight_bytes=window.inflight_bytes,
            inflight_high_bytes=window.inflight_high_bytes,
            rate_bytes_s=self._rate,
            commit_s=window.commit_s,
            lag_s=window.lag_s,
            lag_high_s=window.lag_high_s,
            waited_s=self._waited_s,
            resent=window.resent,
            cpu_s=time.process_time(),
            queued=len(window),
            memory_bytes=self._process.memory_info().rss,
            live=None if self._live is None else self._live.beat(),
        )

    def _try_beat(self) -> Handle:
        try:
            return self._hub.beat(self._heartbeat())
        except Exception:  # as below
            return None

    def _try_grant(self, handle: Handle) -> None:
        try:
            grant = self._hub.grant(handle)
        except Exception:  # the hub is gone for a moment: the next heartbeat asks again, and the budget stands
            return
        self._accept(grant)

    def _accept(self, grant: Grant) -> None:
        self._window.budget_bytes = grant.budget_bytes
        self.stop_asked = self.stop_asked or grant.stop
        if self._live is not None:
            self._live.accept(grant.live)
        if not grant.known and not (self._registering is not None and self._registering.is_alive()):
            self._registration = replace(self._registration, watermark=self._window.durable)
            self._registering = threading.Thread(target=self._register_again, daemon=True)
            self._registering.start()

    def _register_again(self) -> None:
        try:
            self._hub.register(self._registration)
        except Exception:  # the hub is gone again: its next answer says that it does not know us, and we come back
            return
