"""The control plane of one run: who produces, what each may have in flight, and what is counted. No data passes here.

Its state is memory. Every answer carries its epoch; a producer that sees a new one registers again with what it holds.
Only what must not be settled twice is kept in a file: the columns of the run.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from rolltape.schema.columns import PAYLOAD_VERSION
from rolltape.schema.live_messages import ControlEvent, GatewayReport, HubView
from rolltape.schema.messages import Grant, Heartbeat, ProducerKey, Registration, RunCounts
from rolltape.schema.payload_versions import negotiate, taken_from

from .credits import Need, share
from .infos import Proposal
from .live_desk import LiveDesk
from .settled import settle

SHARE_EVERY_S = 1.0


class TelemetryHub:
    """Registration, byte budgets, counts and the stop signal of one run.

    Args:
        run_id: the run.
        total_bytes: bytes that all producers together may have in flight.
        floor_bytes: what each producer gets whatever its rate, as far as the total goes.
        settled: the file in which the types of the run's infos are kept; None: in memory only.
        oldest_payload: the oldest payload version in which a producer may speak.
    """

    def __init__(
        self,
        run_id: str,
        total_bytes: int,
        floor_bytes: int,
        settled: Path | None = None,
        oldest_payload: int = 0,
        *,
        epoch: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_id, self._total, self._floor, self._clock = run_id, total_bytes, floor_bytes, clock
        self._settled = settled
        self.epoch = epoch or uuid.uuid4().hex
        self._versions = taken_from(oldest_payload)
        self._spoken: dict[ProducerKey, int] = {}
        self._registered: dict[ProducerKey, Registration] = {}
        self._beats: dict[ProducerKey, Heartbeat] = {}
        self._grants: dict[ProducerKey, int] = {}
        self._shared_at = float("-inf")
        self._infos: Proposal | None = None
        self._stop = False
        self._live = LiveDesk(clock=clock)

    def register(self, registration: Registration) -> Grant:
        """A producer begins, or comes back after this hub was restarted; the grant says which payload version to speak.

        Raises ValueError for another run's, VersionRefused where the run takes no version that it speaks.
        """
        if registration.run_id != self._run_id:
            raise ValueError(f"hub of run {self._run_id} was asked to register a producer of run {registration.run_id}")
        key = registration.key
        who = f"Producer {key} on {registration.host or 'this host'}"
        version = negotiate(registration.payload_versions, self._versions, who, self._run_id)
        self._spoken[key] = version
        self._registered[key] = registration
        self._live.registered(registration)
        self._beats.setdefault(key, Heartbeat(key=key, durable=registration.watermark))
        newest = max(other.incarnation for other in self._registered if other.producer == key.producer)
        for other, beat in self._beats.items():
            if other.producer == key.producer and other.incarnation < newest:
                self._beats[other] = replace(beat, done=True)
        self._share()
        return self._grant(key)

    def heartbeat(self, beat: Heartbeat) -> Grant:
        """Take a producer's counts; answers what it may have in flight, and whether it has to register (again)."""
        key = beat.key
        self._live.beat(key, beat.live)
        if beat.live is not None:
            beat = replace(beat, live=None)  # it is not among the counts, which many ask for
        known = self._beats.get(key)
        if known is not None and known.done and not beat.done:  # it was replaced and does not know
            beat = replace(beat, done=True)
        self._beats[key] = beat
        if key not in self._registered:
            return Grant(self.epoch, self._floor, self._stop, known=False, live=self._live.demand_of(key))
        if self._clock() - self._shared_at >= SHARE_EVERY_S:
            self._share()
        return self._grant(key)

    def counts(self) -> RunCounts:
        """The sum over all producers that this hub has seen, and what its own process takes."""
        return replace(
            RunCounts.of(self.epoch, {str(key): beat for key, beat in self._beats.items()}),
            hosts={str(key): registration.host for key, registration in self._registered.items()},
            hub_host=socket.gethostname(),
            hub_cpu_s=time.process_time(),
            hub_memory_bytes=psutil.Process().memory_info().rss,
        )

    def watch(self, report: GatewayReport) -> HubView:
        """The gateway tells what those who watch want, and is told what there is to see."""
        return self._live.report(report, self.epoch, self.counts(), self._stop)

    def control(self, epoch: str, position: int) -> tuple[str, tuple[ControlEvent, ...], int]:
        """STARVED and RESUMED that became known behind a position of that life of the hub, for who stores them; this
        life, the events, and the newest position."""
        events, newest = self._live.told(position if epoch == self.epoch else 0)
        return self.epoch, tuple(events), newest

    def unseen(self) -> dict[int, dict[str, int]]:
        """Live copies that were not shown, by stream and cause."""
        return self._live.skipped()

    def agree(self, proposal: Proposal) -> Proposal:
        """Settle the typed info keys of the run: the first proposal holds for all, also after a restart of the hub."""
        if self._infos is None:
            self._infos = proposal if self._settled is None else settle(self._settled, proposal)
        return self._infos

    def stop(self) -> None:
        """Ask all producers to stop stepping; they learn it with their next heartbeat."""
        self._stop = True

    def cpu_s(self) -> float:
        """CPU seconds of the hub's process so far."""
        return time.process_time()

    def _grant(self, key: ProducerKey) -> Grant:
        version = self._spoken.get(key, PAYLOAD_VERSION)
        budget = self._grants.get(key, self._floor)
        return Grant(self.epoch, budget, self._stop, payload_version=version, live=self._live.demand_of(key))

    def _share(self) -> None:
        self._shared_at = self._clock()
        needs = {
            key: Need(self._beats[key].rate_bytes_s, self._beats[key].commit_s)
            for key in self._registered
            if not self._beats[key].done
        }
        self._grants = share(self._total, needs, self._floor)
