"""What `EnvWorker` and `rolltape.record` share: the open fragment, the window behind it, and the talk with the hub.

Rules:
1. The stepping thread writes rows and closes a fragment when it is full. Before it closes one it waits until the window
   has room: what is full and cannot be sent holds the environment still, and nothing else does.
2. A second thread, the pump, closes a fragment when it is old and there is room, takes acknowledgements in, sends again
   after a fault, and tells the hub four times a second.
3. One lock guards rows and window. It is never held while waiting for a remote call.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import RolltapeError, RunFailed
from rolltape.schema.messages import FragmentHeader, Grant, Heartbeat, ProducerKey, Registration

from .page import SEQUENCE, ProducerPage
from .window import Handle, Link, Window

HEARTBEAT_S = 0.25
PUMP_S = 0.05


class Rows(Protocol):
    """The open fragment: `SingleRows` or `VectorRows`."""

    rows: int
    steps: int
    episodes: int
    completed: int
    frames: int
    return_sum: float
    oldest_ns: int | None

    @property
    def nbytes(self) -> int:
        """Bytes of the open fragment, about."""
        ...

    def due(self, now_ns: int) -> bool:
        """Whether its oldest row is too old to wait any longer."""
        ...

    def abort(self) -> None:
        """Close the open episodes as `aborted`."""

    def close(self, fragment: int) -> dict[str, Any]:
        """The open fragment as record batches by table; empty again."""
        ...


class HubLink(Protocol):
    """The way to the hub."""

    def register(self, registration: Registration) -> Grant:
        """Blocks until the hub answers."""
        ...

    def beat(self, heartbeat: Heartbeat) -> Handle:
        """Send a heartbeat; returns at once."""
        ...

    def grant(self, handle: Handle) -> Grant:
        """The answer of a heartbeat that is ready. Raises what the call raised."""
        ...

    def wait(self, handles: list[Handle], timeout_s: float) -> list[Handle]:
        """Those of `handles` that are ready, waiting at most `timeout_s` for the first."""
        ...


@dataclass(frozen=True, slots=True)
class Totals:
    """What a producer did, read when it closed."""

    key: ProducerKey
    steps: int
    episodes: int
    frames: int
    durable_steps: int


class Producer:
    """One life of one producer. Made with its rows; `start` before the first step, `close` after the last."""

    def __init__(
        self,
        registration: Registration,
        rows: Rows,
        page: ProducerPage,
        link: Link,
        hub: HubLink,
        config: RecordConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = registration.key
        self.rows = rows
        self._registration = replace(registration, host=socket.gethostname(), pid=os.getpid())
        self._page, self._hub, self._config, self._clock = page, hub, config, clock
        self.mutex = threading.Lock()
        self.lock = threading.Condition(self.mutex)
        self._window = Window(self.key, link, config.budget, budget_bytes=4 * config.fragment.max_bytes, clock=clock)
        self._sequence = 0
        self._steps_sent = self._episodes_sent = 0
        self._bytes_sent = 0
        self._rate = 0.0
        self._waited_s = 0.0
        self._waiting = False
        self._epoch = ""
        self._closing = threading.Event()
        self._pump = threading.Thread(target=self._run_pump, name=f"rolltape-{self.key}", daemon=True)
        self.stop_asked = False

    def start(self) -> None:
        """Register with the hub and begin to send."""
        self._accept(self._hub.register(self._registration))
        self._pump.start()

    def flush(self) -> None:
        """Close the open fragment and send it, waiting for room. The caller holds `lock`.

        Raises WriterStalled, DiskFull and the like when the run cannot go on.
        """
        self._window.raise_if_failed()
        nbytes = self.rows.nbytes
        if not self._window.fits(nbytes):
            self._wait_for_room(nbytes)
        self._send()

    def close(self, timeout_s: float | None = None) -> Totals:
        """Close open episodes, send everything, and wait until it is durable. Raises RunFailed and the like."""
        with self.lock:
            self.rows.abort()
            self.flush()
        self.drain(timeout_s)
        return self.shut()

    def drain(self, timeout_s: float | None = None) -> None:
        """Send the open fragment and wait until everything sent is durable; open episodes stay open."""
        deadline = None if timeout_s is None else self._clock() + timeout_s
        with self.lock:
            self.flush()
            self._window.hurry()
            while len(self._window):
                self._window.raise_if_failed()
                if deadline is not None and self._clock() > deadline:
                    raise RunFailed(
                        f"{len(self._window)} fragments of {self.key} were not durable within {timeout_s:g} s."
                    )
                self.lock.wait(0.5)
            self._window.raise_if_failed()

    def shut(self) -> Totals:
        """Stop the pump and tell the hub the last counts, whatever state the window is in."""
        self._closing.set()
        with self.lock:
            self.lock.notify_all()
        if self._pump.is_alive():
            self._pump.join()
        with self.lock:
            beat = replace(self._heartbeat(), done=True)
        ready = self._hub.wait([handle := self._hub.beat(beat)], 5.0)
        if ready:
            self._try_grant(handle)
        rows = self.rows
        return Totals(self.key, rows.steps, rows.episodes, rows.frames, self._window.durable.steps)

    @property
    def failed(self) -> RolltapeError | None:
        """What ended this producer, if something did."""
        return self._window.failed

    def _wait_for_room(self, nbytes: int) -> None:
        began = self._clock()
        self._waiting = True
        try:
            self._window.hurry()
            while not self._window.fits(nbytes):
                self.lock.wait(0.5)
                self._window.raise_if_failed()
        finally:
            self._waiting = False
            self._waited_s += self._clock() - began

    def _send(self) -> None:
        rows = self.rows
        oldest_ns = rows.oldest_ns
        if oldest_ns is None:
            return
        batches = rows.close(self._sequence + 1)
        if not batches:
            return
        self._sequence += 1
        self._page.words[SEQUENCE] = self._sequence
        steps = batches["steps"].num_rows if "steps" in batches else 0
        episodes = batches["episodes"].num_rows if "episodes" in batches else 0
        self._steps_sent += steps
        self._episodes_sent += episodes
        age_s = (time.perf_counter_ns() - oldest_ns) / 1e9
        closed_ns = time.time_ns()
        nbytes = sum(batch.get_total_buffer_size() for batch in batches.values())
        self._bytes_sent += nbytes
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
        )
        self._window.push(header, batches, self._clock() - age_s)

    def _run_pump(self) -> None:
        try:
            self._pump_until_closed()
        except BaseException as error:  # nothing else would tell the stepping thread, which waits for us
            with self.lock:
                failure = RunFailed(f"Producer {self.key} broke: {type(error).__name__}: {error}")
                failure.__cause__ = error
                self._window.failed = self._window.failed or failure
                self.lock.notify_all()

    def _pump_until_closed(self) -> None:
        beat_at, beat_handle = self._clock(), None
        sent, sent_at = 0, self._clock()
        while not self._closing.is_set():
            with self.lock:
                handles = self._window.handles
            if beat_handle is not None:
                handles = [*handles, beat_handle]
            if handles:
                ready = self._hub.wait(handles, PUMP_S)
            else:
                self._closing.wait(PUMP_S)
                ready = []
            with self.lock:
                for handle in ready:
                    if handle is beat_handle:
                        beat_handle = None
                        self._try_grant(handle)
                    else:
                        self._window.answered(handle)
                self._window.tick()
                self._flush_if_due()
                if ready or self._window.failed is not None:
                    self.lock.notify_all()
                now = self._clock()
                if now - beat_at >= HEARTBEAT_S:
                    self._rate = (self._bytes_sent - sent) / max(now - sent_at, 1e-3)
                    sent, sent_at, beat_at = self._bytes_sent, now, now
                    if beat_handle is None:
                        beat_handle = self._hub.beat(self._heartbeat())

    def _flush_if_due(self) -> None:
        if self._waiting or self._window.failed is not None:
            return
        if self.rows.due(time.perf_counter_ns()) and self._window.fits(self.rows.nbytes):
            self._send()

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
        )

    def _try_grant(self, handle: Handle) -> None:
        try:
            grant = self._hub.grant(handle)
        except Exception:  # the hub is gone for a moment: the next heartbeat asks again, and the budget stands
            return
        self._accept(grant)

    def _accept(self, grant: Grant) -> None:
        self._window.budget_bytes = grant.budget_bytes
        self.stop_asked = self.stop_asked or grant.stop
        if not grant.known and grant.epoch != self._epoch:
            self._registration = replace(self._registration, watermark=self._window.durable)
            self._reregister()
        self._epoch = grant.epoch

    def _reregister(self) -> None:
        threading.Thread(target=self._hub.register, args=(self._registration,), daemon=True).start()
