"""Log records of a fleet: how many a second are stored, and what a worker pays for them.

Rules:
1. Workers emit from their policy, as an environment or a plug-in would. What was emitted, stored and dropped has to add
   up.
2. The cost of a record is processor time of the whole process, from the call until its batch was handed to the writer,
   the sending thread included. 100 of them a second are a share of a core.
3. What they cost a worker of its step rate is its processor time for them, over all that it uses while it steps as
   fast as it can: the calls, and the sending thread with batches as small as 100 records a second make them. What Ray
   does for two calls a second in threads of its own is left out.
"""

from __future__ import annotations

import json
import threading
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
from rolltape.schema.messages import Ack, FragmentHeader, ProducerKey
from rolltape.scripts.bench.env_workload import Disagreement
from rolltape.scripts.bench.figure import Figure, FigureOrder

TITLE = "log records a second that a fleet stores, and what 100 a second cost a worker"
WORKERS = 2
RATE = 7_500
"""Records a second of each worker."""
PACE = 100
"""Records a second whose cost to a worker is measured."""
THREAD = "rolltape-log-"
"""How the name of the thread begins that sends a process's records."""
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


class Narrator:
    """A policy that does nothing, logs 100 records a second, and notes in `path` what that took of its process."""

    def __init__(self, run_id: str, path: Path) -> None:
        self._source = LogSource(run_id, "CartPole-v1")
        self._path = path
        self._began: float | None = None
        self._emitted, self._emit_s = 0, 0.0
        self._from = (0.0, 0.0)

    def __call__(self, observations: Any) -> Any:
        """No action; a record where one is due."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._from = now, (time.process_time(), _thread_s(THREAD))
        if self._emitted < (now - self._began) * PACE:
            before_s = time.thread_time()
            self._source.emit(log_codes.MISMATCH, kind="bench", who="p0.0", field="x", about="", total=self._emitted)
            self._emit_s += time.thread_time() - before_s
            self._emitted += 1
            if self._emitted % PACE == 0:
                process_s, thread_s = time.process_time() - self._from[0], _thread_s(THREAD) - self._from[1]
                self._path.write_text(json.dumps([self._emitted, now - self._began, self._emit_s, thread_s, process_s]))
        return [0] * len(observations)


def _thread_s(name: str) -> float:
    """Processor time in seconds of the thread of this process whose name begins so."""
    (ident,) = (thread.ident for thread in threading.enumerate() if thread.name.startswith(name) and thread.ident)
    return time.clock_gettime(time.pthread_getcpuclockid(ident))


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

    def hurry(self, key: ProducerKey, sequence: int) -> None:
        return


def measure(order: FigureOrder) -> list[Figure]:
    """All three figures."""
    folder = Path(order.folder)
    return [
        *_cost(2_000 if order.quick else 20_000),
        *_slowdown(folder, 20_000 if order.quick else 600_000),
        *_stored(folder, 1.0 if order.quick else 8.0),
    ]


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


def _slowdown(folder: Path, steps: int) -> list[Figure]:
    path = folder / "narrated.json"
    with rt.Fleet(
        "CartPole-v1", num_envs=8, num_workers=1, lake=folder, vectorization="sync", logging={"level": "error"},
    ) as fleet:  # fmt: skip
        run = fleet.collect(steps=steps, policy=Narrator(fleet.run_id, path), progress=False)
    emitted, passed_s, emit_s, thread_s, process_s = json.loads(path.read_text())
    if len(run.logs("code = 'LOG7001'").to_dicts()) < emitted:
        raise Disagreement(f"{emitted:,} were emitted, and not all of them stored")
    detail = (
        f"{emitted / passed_s:.0f} records a second for {passed_s:.0f} s: {emit_s / passed_s * 1e3:.2f} ms a second to "
        f"emit them, {thread_s / passed_s * 1e3:.2f} ms in the sending thread, of {process_s / passed_s * 1e3:,.0f} ms "
        f"that the stepping worker used"
    )
    share = (emit_s + thread_s) / process_s
    return [Figure("logs.slowdown", "100 log records a second, of a worker's processor time", share, "", detail)]


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
