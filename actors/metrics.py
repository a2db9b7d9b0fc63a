"""Samples of a run's producers, hub and writer, on their way into the table `metrics`.

The writer takes them, about one a second, from what the hub knows and from itself, and brings them itself: under a key
of its own, a fragment every few seconds that goes along with a commit. Nobody waits for them, and nothing is counted as
lost when the last seconds of them go down with the writer.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import psutil
import pyarrow as pa

from rolltape.schema.columns import table_schema
from rolltape.schema.messages import FragmentHeader, ProducerKey, RunCounts
from rolltape.storage.ledger import rows_batch

from .control_rows import ControlRows

SAMPLE_S: Final = 1.0
BRING_S: Final = 5.0
"""A part costs some kilobytes whatever it holds, so several samples go into one."""
MOST_SAMPLES: Final = 20_000
"""Rows that wait for a commit; the oldest make room."""

_SCHEMA: Final = table_schema("metrics")
_KEYS: Final = ("run_id", "agent_id", "worker", "incarnation", "fragment", "sub_env", "episode")


class Metrics:
    """The samples of one writer that are not committed yet.

    Args:
        run_id: the run.
        slot, incarnation: of the writer.
        clock: seconds, for the distance between fragments.
        wall_ns: UTC time of a sample in nanoseconds.
    """

    def __init__(
        self,
        run_id: str,
        slot: int,
        incarnation: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.key = ProducerKey(-2 - slot, incarnation)
        self._run_id, self._clock, self._wall_ns = run_id, clock, wall_ns
        self._host = socket.gethostname()
        self._rows: deque[dict[str, Any]] = deque(maxlen=MOST_SAMPLES)
        self._sequence = 0
        self._brought_at = clock()
        self._process = psutil.Process()
        self.memory_bytes = 0

    def sample(self, counts: RunCounts | None, **writer: Any) -> None:
        """Take one sample of everything: `counts` as the hub gives them, None where it does not answer; `writer` are
        columns of the writer's own row."""
        now_us = self._wall_ns() // 1000
        self.memory_bytes = self._process.memory_info().rss
        for name, beat in counts.keys.items() if counts is not None else ():
            if beat.done:
                continue
            self._add(
                now_us,
                "producer",
                counts.hosts.get(name, "") if counts is not None else "",
                of_worker=beat.key.producer,
                of_incarnation=beat.key.incarnation,
                steps=beat.steps,
                queue_depth=beat.queued,
                inflight_bytes=beat.inflight_bytes,
                flush_s=beat.commit_s,
                lag_s=beat.lag_s,
                waited_s=beat.waited_s,
                resent=beat.resent,
                memory_bytes=beat.memory_bytes,
                cpu_s=beat.cpu_s,
            )
        if counts is not None:
            self._add(
                now_us,
                "hub",
                counts.hub_host,
                steps=counts.steps,
                inflight_bytes=counts.inflight_bytes,
                memory_bytes=counts.hub_memory_bytes,
                cpu_s=counts.hub_cpu_s,
            )
        self._add(
            now_us,
            "writer",
            self._host,
            of_incarnation=self.key.incarnation,
            memory_bytes=self.memory_bytes,
            cpu_s=time.process_time(),
            **writer,
        )

    def due(self) -> bool:
        """Whether the samples should go along with the next commit."""
        return bool(self._rows) and self._clock() - self._brought_at >= BRING_S

    def fragment(self, control: ControlRows | None = None) -> tuple[FragmentHeader, dict[str, pa.RecordBatch]] | None:
        """All samples as the next fragment of `key`, with the transitions that wait, and empty again; None where there
        are no samples."""
        if not self._rows:
            return None
        rows, n = list(self._rows), len(self._rows)
        self._rows.clear()
        self._brought_at = self._clock()
        self._sequence += 1
        values: dict[str, list[Any]] = dict(
            zip(
                _KEYS,
                ([value] * n for value in (self._run_id, "agent_0", *self.key, self._sequence, -1, -1)),
                strict=True,
            )
        )
        names = [field.name for field in _SCHEMA if field.name not in values]
        batch = rows_batch(_SCHEMA, values | {name: [row.get(name) for row in rows] for name in names})
        now_ns = self._wall_ns()
        batches = {"metrics": batch}
        if control is not None and (told := control.batch(self._run_id, self.key, self._sequence)) is not None:
            batches["control"] = told
        nbytes = sum(found.get_total_buffer_size() for found in batches.values())
        return FragmentHeader(self.key, self._sequence, 0, 0, 0, 0, nbytes, now_ns, now_ns), batches

    def _add(self, now_us: int, source: str, host: str, **values: Any) -> None:
        self._rows.append({"time": now_us, "source": source, "host": host, **values})
