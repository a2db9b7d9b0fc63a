"""Samples of producers, hub and writer: rows of a table, brought by the writer, and nobody's loss."""

from __future__ import annotations

import os
from pathlib import Path

from rolltape.actors.hub import TelemetryHub
from rolltape.actors.metrics import BRING_S, Metrics
from rolltape.schema.messages import Heartbeat, ProducerKey, Registration
from rolltape.storage.commits import CommitLog
from rolltape.storage.lake import open_lake
from rolltape.storage.verify import verify_run
from tests.fakes import Clock
from tests.fragments import Producer
from tests.lakes import QUICK, new_run


def test_samples_become_rows(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    hub = TelemetryHub(run.run_id, 1000, 10)
    key = ProducerKey(0, 0)
    hub.register(Registration(key, run.run_id, 0, 1, host="far"))
    hub.heartbeat(Heartbeat(key, steps=5, inflight_bytes=7, queued=2, memory_bytes=99, cpu_s=1.5))
    clock = Clock()
    metrics = Metrics(run.run_id, 0, 0, clock=clock, wall_ns=lambda: 1_790_000_000_000_000_000)
    assert metrics.fragment() is None and not metrics.due()
    metrics.sample(hub.counts(), steps=4, queue_depth=3, flush_s=0.25, commits=1)
    metrics.sample(None, steps=6)
    assert not metrics.due()
    clock.now += BRING_S
    assert metrics.due()
    log = CommitLog.open(run, 0, QUICK)
    first = Producer(run_id=run.run_id).fragment(1)
    log.offer(first.header, first.batches)
    found = metrics.fragment()
    assert found is not None
    log.offer(*found)
    log.commit(log.take())
    rows = open_lake(tmp_path).run().metrics().to_dicts()
    assert [row["source"] for row in rows] == ["producer", "hub", "writer", "writer"]
    producer, hubs, writer, again = rows
    assert (producer["host"], producer["of_worker"], producer["queue_depth"], producer["memory_bytes"]) == (
        "far",
        0,
        2,
        99,
    )
    assert hubs["inflight_bytes"] == 7 and hubs["memory_bytes"] > 1 << 20 and hubs["host"] == os.uname().nodename
    assert (writer["steps"], writer["queue_depth"], writer["flush_s"], again["steps"]) == (4, 3, 0.25, 6)
    assert writer["memory_bytes"] > 1 << 20 and writer["of_worker"] is None
    report = verify_run(run)
    assert report.of("damage") == [] and report.rows["metrics"] == 4
    assert [str(account.key) for account in report.accounts] == ["p0.0"], "metrics have no account"
