"""The control plane of one run: who produces, what each may have in flight, and what is counted. No data passes here.

Its state is memory. Every answer carries its epoch; a producer that sees a new one registers again with what it holds.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from rolltape.schema.messages import Grant, Heartbeat, ProducerKey, Registration, RunCounts

from .credits import Need, share
from .infos import Proposal

SHARE_EVERY_S = 1.0


class TelemetryHub:
    """Registration, byte budgets, counts and the stop signal of one run.

    Args:
        run_id: the run.
        total_bytes: bytes that all producers together may have in flight.
        floor_bytes: what each producer gets whatever its rate, as far as the total goes.
    """

    def __init__(
        self,
        run_id: str,
        total_bytes: int,
        floor_bytes: int,
        *,
        epoch: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_id, self._total, self._floor, self._clock = run_id, total_bytes, floor_bytes, clock
        self.epoch = epoch or uuid.uuid4().hex
        self._registered: dict[ProducerKey, Registration] = {}
        self._beats: dict[ProducerKey, Heartbeat] = {}
        self._done: set[ProducerKey] = set()
        self._grants: dict[ProducerKey, int] = {}
        self._shared_at = float("-inf")
        self._infos: Proposal | None = None
        self._stop = False

    def register(self, registration: Registration) -> Grant:
        """A producer begins, or comes back after this hub was restarted. Raises ValueError for another run's."""
        if registration.run_id != self._run_id:
            raise ValueError(f"hub of run {self._run_id} was asked to register a producer of run {registration.run_id}")
        key = registration.key
        self._registered[key] = registration
        for other in self._registered:
            if other.producer == key.producer and other.incarnation < key.incarnation:
                self._done.add(other)
        self._beats.setdefault(key, Heartbeat(key=key, durable=registration.watermark))
        self._share()
        return self._grant(key)

    def heartbeat(self, beat: Heartbeat) -> Grant:
        """Take a producer's counts; answers what it may have in flight."""
        key = beat.key
        if key not in self._registered:
            return Grant(self.epoch, self._floor, self._stop, known=False)
        self._beats[key] = beat
        if beat.done:
            self._done.add(key)
        if self._clock() - self._shared_at >= SHARE_EVERY_S:
            self._share()
        return self._grant(key)

    def counts(self) -> RunCounts:
        """The sum over all producers that this hub has seen."""
        beats = self._beats.values()
        living = [b for k, b in self._beats.items() if k not in self._done]
        return RunCounts(
            epoch=self.epoch,
            producers=len(living),
            steps=sum(b.steps for b in beats),
            episodes=sum(b.episodes for b in beats),
            return_sum=sum(b.return_sum for b in beats),
            frames=sum(b.frames for b in beats),
            durable_steps=sum(b.durable.steps for b in beats),
            durable_episodes=sum(b.durable.episodes for b in beats),
            inflight_bytes=sum(b.inflight_bytes for b in living),
            inflight_high_bytes=sum(b.inflight_high_bytes for b in beats),
            lag_s=max((b.lag_s for b in living), default=0.0),
            lag_high_s=max((b.lag_high_s for b in beats), default=0.0),
            waited_s=sum(b.waited_s for b in beats),
            resent=sum(b.resent for b in beats),
            cpu_s=sum(b.cpu_s for b in beats),
            keys={str(k): b for k, b in self._beats.items()},
        )

    def agree(self, proposal: Proposal) -> Proposal:
        """Settle the typed info keys of the run: the first proposal holds for all."""
        if self._infos is None:
            self._infos = proposal
        return self._infos

    def stop(self) -> None:
        """Ask all producers to stop stepping; they learn it with their next heartbeat."""
        self._stop = True

    def cpu_s(self) -> float:
        """CPU seconds of the hub's process so far."""
        return time.process_time()

    def _grant(self, key: ProducerKey) -> Grant:
        return Grant(self.epoch, self._grants.get(key, self._floor), self._stop)

    def _share(self) -> None:
        self._shared_at = self._clock()
        needs = {
            key: Need(self._beats[key].rate_bytes_s, self._beats[key].commit_s)
            for key in self._registered
            if key not in self._done
        }
        self._grants = share(self._total, needs, self._floor)
