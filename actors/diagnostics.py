"""Whether a run is well: looks at the samples of its processes, and warns by code.

Rules:
1. A warning comes when its condition has held for `HOLD` samples, once; again only after `CALM` samples without it.
   A commit that took too long is said at once.
2. Every warning says the number, the bound, and the key that sets the bound.
3. Every `every_s` the numbers are kept as one record, whose section shows what changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import psutil

from rolltape.schema import log_codes
from rolltape.schema.config_diagnostics import DiagnosticsConfig
from rolltape.schema.log_codes import LogCode
from rolltape.schema.log_section import LogSections
from rolltape.schema.log_source import LogSource
from rolltape.schema.messages import Heartbeat, RunCounts

HOLD: Final = 3
CALM: Final = 10
MIB: Final = 1 << 20
Place = tuple[LogCode, str]
Found = tuple[LogCode, str, Callable[[], None]]
"""What is not well, whose it is, and how it is said."""


class Diagnostics:
    """Looks at one run.

    Args:
        source: the run.
        config: from which numbers on it warns.
        shown: whether the record of rule 3 is printed as well.
        clock: seconds.
        memory: bytes of the host that are in use and that there are.
    """

    def __init__(
        self,
        source: LogSource,
        config: DiagnosticsConfig,
        *,
        shown: bool = False,
        clock: Callable[[], float] = time.monotonic,
        memory: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self._source, self._config, self._shown, self._clock = source, config, shown, clock
        self._memory = memory or _memory_of_host
        self._sections = LogSections()
        self._held: dict[Place, int] = {}
        self._said: dict[Place, int] = {}
        self._cpu: dict[str, float] = {}
        self._waited: dict[str, float] = {}
        self._commits = 0
        self._looked_at = self._kept_at = clock()

    def look(
        self,
        counts: RunCounts | None,
        *,
        queue_depth: int,
        flush_s: float,
        commits: int,
        cpu_s: float,
        memory_bytes: int,
    ) -> None:
        """Take one sample.

        Args:
            counts: as the hub gives them; None where it does not answer.
            queue_depth: fragments that wait at the writer.
            flush_s: seconds of its last commit.
            commits: how many it made.
            cpu_s, memory_bytes: of its process.
        """
        now = self._clock()
        passed, self._looked_at = max(now - self._looked_at, 1e-3), now
        used, there = self._memory()
        late = flush_s if commits > self._commits else 0.0
        self._commits = max(commits, self._commits)
        cores = {"writer": self._per_second(self._cpu, "writer", cpu_s, passed)}
        if counts is not None:
            cores["hub"] = self._per_second(self._cpu, "hub", counts.hub_cpu_s, passed)
        beats = [] if counts is None else [beat for beat in counts.keys.values() if not beat.done]
        waiting = {  # beats come between looks at any time, so that what they add up to may be more than has passed
            b.key: min(1.0, self._per_second(self._waited, str(b.key), b.waited_s, passed)) for b in beats
        }
        found = {
            (code, who): say
            for code, who, say in (
                *self._of_host(used, there, memory_bytes, counts),
                *self._of_writer(queue_depth, late, cores.get("hub", 0.0)),
                *(one for beat in beats for one in self._of_producer(beat, waiting[beat.key])),
            )
        }
        self._say(found)
        if self._config.every_s and now - self._kept_at >= self._config.every_s:
            self._kept_at = now
            self._keep(
                {
                    "writer": {
                        "memory_mib": memory_bytes // MIB,
                        "cores": round(cores["writer"], 2),
                        "queue": queue_depth,
                        "flush_s": round(flush_s, 3),
                        "commits": commits,
                    },
                    "hub": {} if counts is None else {
                        "memory_mib": counts.hub_memory_bytes // MIB,
                        "cores": round(cores["hub"], 2),
                    },
                    "producers": {
                        "count": len(beats),
                        "memory_mib": sum(beat.memory_bytes for beat in beats) // MIB,
                        "queue": max((beat.queued for beat in beats), default=0),
                        "inflight_mib": sum(beat.inflight_bytes for beat in beats) // MIB,
                        "lag_s": round(max((beat.lag_s for beat in beats), default=0.0), 2),
                        "waiting": round(max(waiting.values(), default=0.0), 2),
                    },
                    "host": {"memory_share": round(used / max(there, 1), 2)},
                }
            )  # fmt: skip

    def _of_host(self, used: int, there: int, mine: int, counts: RunCounts | None) -> Iterator[Found]:
        if used < self._config.memory_share * there:
            return
        sizes = {"the writer": mine}
        if counts is not None:
            sizes |= {f"producer {name}": b.memory_bytes for name, b in counts.keys.items() if not b.done}
            sizes["the hub"] = counts.hub_memory_bytes
        largest = max(sizes, key=lambda name: sizes[name])
        yield log_codes.MEMORY_SHORT, "host", lambda: self._source.emit(
            log_codes.MEMORY_SHORT,
            share=used / max(there, 1),
            there_mib=there // MIB,
            largest=largest,
            largest_mib=sizes[largest] // MIB,
            bound=self._config.memory_share,
        )

    def _of_writer(self, queue_depth: int, flush_s: float, hub_cores: float) -> Iterator[Found]:
        config, source = self._config, self._source
        if flush_s > config.flush_s:
            yield log_codes.FLUSH_SLOW, "writer", lambda: source.emit(
                log_codes.FLUSH_SLOW, seconds=flush_s, bound=config.flush_s
            )
        if queue_depth > config.queue_depth:
            yield log_codes.QUEUE_DEEP, "writer", lambda: source.emit(
                log_codes.QUEUE_DEEP, who="The writer", depth=queue_depth, bound=config.queue_depth
            )
        if hub_cores > config.busy_cores:
            yield log_codes.HUB_BUSY, "hub", lambda: source.emit(
                log_codes.HUB_BUSY, cores=hub_cores, bound=config.busy_cores
            )

    def _of_producer(self, beat: Heartbeat, waiting: float) -> Iterator[Found]:
        config, who = self._config, str(beat.key)
        source = LogSource(self._source.run_id, self._source.env_id, *beat.key)
        if beat.queued > config.queue_depth:
            yield log_codes.QUEUE_DEEP, who, lambda: source.emit(
                log_codes.QUEUE_DEEP, who=f"Producer {who}", depth=beat.queued, bound=config.queue_depth
            )
        if waiting > config.waiting_share:
            yield log_codes.PRODUCER_WAITS, who, lambda: source.emit(
                log_codes.PRODUCER_WAITS, key=who, share=waiting, bound=config.waiting_share
            )

    def _say(self, found: Mapping[Place, Callable[[], None]]) -> None:
        for place in [*self._said]:
            self._said[place] = CALM if place in found else self._said[place] - 1
            if self._said[place] <= 0:
                del self._said[place]
        self._held = {place: self._held.get(place, 0) + 1 for place in found}
        for place, say in found.items():
            if place not in self._said and (place[0] is log_codes.FLUSH_SLOW or self._held[place] >= HOLD):
                self._said[place] = CALM
                say()

    def _keep(self, values: dict[str, Any]) -> None:
        section = self._sections.section("diagnostics", values)
        self._source.emit(log_codes.DIAGNOSED, section=section, shown=self._shown and bool(section), **values)

    def _per_second(self, known: dict[str, float], who: str, value: float, passed: float) -> float:
        before = known.get(who, value)
        known[who] = value
        return max(0.0, value - before) / passed


def _memory_of_host() -> tuple[int, int]:
    found = psutil.virtual_memory()
    return found.total - found.available, found.total
