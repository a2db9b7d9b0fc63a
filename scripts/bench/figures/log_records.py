"""Log records of a fleet: how many a second are stored, and what a worker pays for them.

Rules:
1. Workers emit from their policy, as an environment or a plug-in would. What was emitted, stored and dropped has to add
   up.
2. The cost of a record is processor time of the whole process, from the call until its batch was handed to the writer,
   the sending thread included. 100 of them a second are a share of a core.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import rolltape as rt
from rolltape.actors.log_stream import LogStream
from rolltape.schema import log_codes
from rolltape.schema.config import BudgetConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.log_policy import configure_logging
from rolltape.schema.log_source import LogSource
from rolltape.schema.messages import Ack, FragmentHeader
from rolltape.scripts.bench.env_workload import Disagreement
from rolltape.scripts.bench.figure import Figure, FigureOrder

TITLE = "log records a second that a fleet stores, and what 100 a second cost a worker"
WORKERS = 2
RATE = 7_500
"""Records a second of each worker."""
RUN_ID = "01K00000000000000000000000"


class Talker:
    """A policy that does nothing and logs `RATE` records a second, as evenly as its calls come."""

    def __init__(self, run_id: str) -> None:
        self._source = LogSource(run_id, "CartPole-v1")
        self._began: float | None = None
        self._emitted = 0

    def __call__(self, observations: Any) -> Any:
        """No action, and what is due by now."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        for _ in range(int((now - self._began) * RATE) - self._emitted):
            self._source.emit(log_codes.MISMATCH, kind="bench", who="p0.0", field="x", about="", total=self._emitted)
            self._emitted += 1
        return [0] * len(observations)


class _Instant:
    """A writer that acknowledges at once; `window.Link`."""

    def hold(self, batches: Any) -> Any:
        return batches

    def append(self, header: FragmentHeader, payload: Any) -> Future[Ack]:
        answer: Future[Ack] = Future()
        answer.set_result(Ack("durable", header.key, header.sequence))
        return answer

    def answer(self, handle: Future[Ack]) -> Ack:
        return handle.result(timeout=0)

    def hurry(self) -> None:
        return


def measure(order: FigureOrder) -> list[Figure]:
    """Both figures."""
    return [*_cost(2_000 if order.quick else 20_000), *_stored(Path(order.folder), 1.0 if order.quick else 8.0)]


def _cost(records: int) -> list[Figure]:
    configure_logging(LoggingConfig(level="error", queue_records=1_000_000), "program")
    source = LogSource(RUN_ID, "CartPole-v1", 0, 0)
    costs = []
    for _ in range(3):
        config = LoggingConfig(queue_records=1_000_000)
        stream = LogStream(source, _Instant(), config, BudgetConfig())
        stream.start()
        began = time.process_time()
        for number in range(records):
            source.emit(log_codes.MISMATCH, kind="bench", who="p0.0", field="x", about="", total=number)
        if not stream.close():
            raise Disagreement("the records were not sent within 10 s")
        costs.append((time.process_time() - began) / records)
        if stream.sent != records or stream.dropped:
            raise Disagreement(f"{records:,} were emitted, {stream.sent:,} sent, {stream.dropped:,} dropped")
    share = min(costs) * 100
    detail = f"{min(costs) * 1e6:.1f} us of processor time a record, emitted, batched and handed over; best of 3"
    return [Figure("logs.cost", "100 log records a second, of a core", share, "", detail)]


def _stored(lake: Path, seconds: float) -> list[Figure]:
    with rt.Fleet(
        "CartPole-v1", num_envs=8 * WORKERS, num_workers=WORKERS, lake=lake, vectorization="sync",
        logging={"level": "error"}, throttle={"steps_per_s": 2_000},
    ) as fleet:  # fmt: skip
        began = time.perf_counter()
        run = fleet.collect(steps=int(2_000 * seconds), policy=Talker(fleet.run_id), progress=False)
        passed = time.perf_counter() - began
    rows = run.logs("code = 'LOG7001'").to_dicts()
    last: dict[int, int] = {}
    for row in rows:
        last[row["pid"]] = max(last.get(row["pid"], 0), json.loads(row["data"])["total"])
    stored, emitted = len(rows), sum(number + 1 for number in last.values())
    dropped = sum(row["rows"] or 0 for row in run.ledger().to_dicts() if row["table_name"] == "logs")
    if stored + dropped < emitted:
        raise Disagreement(f"{emitted:,} were emitted, {stored:,} stored and {dropped:,} dropped")
    detail = f"{stored:,} of {emitted:,} stored, {dropped:,} dropped and counted; {WORKERS} workers, the drain included"
    return [Figure("logs.stored", "log records a fleet stores", stored / passed, "records/s", detail)]
