"""The queue of log records: never waits, sends batches, counts what it drops, and says so."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pyarrow as pa
import pytest

from rolltape.actors.log_stream import LogStream
from rolltape.schema import log_codes
from rolltape.schema.config import BudgetConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.errors import DiskFull
from rolltape.schema.log_source import LogEvent, LogSource
from rolltape.schema.messages import FIRST_STREAM, Ack, FragmentHeader, ProducerKey
from tests.fakes import Clock

SOURCE = LogSource("01K00000000000000000000000", "CartPole-v1", 2, 1)


class Writer:
    """A writer that answers when a test says so; `window.Link`."""

    def __init__(self) -> None:
        self.headers: list[FragmentHeader] = []
        self.batches: list[dict[str, pa.RecordBatch]] = []
        self.calls: list[Future[Ack]] = []
        self.hurried = 0

    def hold(self, batches: dict[str, pa.RecordBatch]) -> dict[str, pa.RecordBatch]:
        return batches

    def append(self, header: FragmentHeader, payload: dict[str, pa.RecordBatch]) -> Future[Ack]:
        self.headers.append(header)
        self.batches.append(payload)
        self.calls.append(Future())
        return self.calls[-1]

    def answer(self, handle: Future[Ack]) -> Ack:
        return handle.result(timeout=0)

    def hurry(self, key: ProducerKey, sequence: int) -> None:
        self.hurried += 1

    def acknowledge(self) -> None:
        for header, call in zip(self.headers, self.calls, strict=True):
            if not call.done():
                call.set_result(Ack("durable", header.key, header.sequence))

    def rows(self, table: str = "logs") -> list[dict[str, Any]]:
        return [row for batches in self.batches if table in batches for row in batches[table].to_pylist()]


class Stage:
    def __init__(self, **config: Any) -> None:
        self.clock, self.writer = Clock(), Writer()
        settings = LoggingConfig.model_validate({"queue_records": 100, "flush_after_s": 1.0} | config)
        self.stream = LogStream(SOURCE, self.writer, settings, BudgetConfig(), clock=self.clock)

    def say(self, n: int = 1, **details: Any) -> None:
        for k in range(n):
            event = LogEvent(log_codes.ENV_CLOSE_RAISED, SOURCE, {"env_id": "x", "error": k, **details}, 4, 9)
            self.stream.sink(1_790_000_000_000_000 + k, event)

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.stream._bell.ring()
        self.stream.turn()


def test_records_wait_for_others_and_go_together() -> None:
    stage = Stage()
    stage.say(3)
    stage.turn(0.5)
    assert stage.writer.headers == []
    stage.turn(0.6)
    (header,) = stage.writer.headers
    assert (header.sequence, header.steps) == (1, 0) and header.key.producer <= FIRST_STREAM
    first, *_ = rows = stage.writer.rows()
    assert [row["message"] for row in rows] == [f"x raised while it was closed: {k}" for k in range(3)]
    assert (first["worker"], first["incarnation"], first["sub_env"], first["episode"]) == (2, 1, 4, 9)
    assert (first["code"], first["level"], first["origin"], first["env_id"]) == (
        "LOG2003",
        "warning",
        "record",
        "CartPole-v1",
    )
    assert first["data"] == '{"env_id": "x", "error": 0}'
    stage.turn(5)
    assert len(stage.writer.headers) == 1, "nothing new, nothing sent"


def test_a_record_that_comes_while_others_are_sent_waits_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    hold = stage.writer.hold

    def interrupted(batches: dict[str, pa.RecordBatch]) -> dict[str, pa.RecordBatch]:
        if not stage.writer.headers:
            stage.say()
        return hold(batches)

    monkeypatch.setattr(stage.writer, "hold", interrupted)
    stage.say(3)
    stage.turn(2)
    stage.turn(0.5)
    assert [batches["logs"].num_rows for batches in stage.writer.batches] == [3]
    stage.turn(0.6)
    assert [batches["logs"].num_rows for batches in stage.writer.batches] == [3, 1]


def test_data_is_kept_as_it_was_when_it_was_said() -> None:
    stage = Stage()
    changing = [1]
    stage.say(seen=changing, error=float("nan"))
    stage.say(error=None, ratio=0.5, ok=True)
    changing.append(2)
    stage.turn(2)
    first, second = stage.writer.rows()
    assert first["data"] == '{"env_id": "x", "error": "nan", "seen": [1]}'
    assert second["data"] == '{"env_id": "x", "error": null, "ratio": 0.5, "ok": true}'
    assert second["message"] == "x raised while it was closed: None"


def test_what_does_not_fit_is_dropped_counted_and_said() -> None:
    stage = Stage()
    stage.say(130)
    assert stage.stream.dropped == 30
    stage.turn(2)
    assert len(stage.writer.rows()) == 101
    said = stage.writer.rows()[-1]
    assert (said["code"], said["message"]) == (
        "LOG1", "30 log records were dropped: they came faster than they could be sent."
    )  # fmt: skip
    (loss,) = stage.writer.rows("ledger")
    assert (loss["table_name"], loss["cause"], loss["rows"]) == ("logs", "queue_full", 30)
    assert [header.sequence for header in stage.writer.headers] == [1, 2]
    stage.say(5)
    stage.turn(2)
    assert len(stage.writer.rows("ledger")) == 1, "once"


def test_a_writer_that_is_slow_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rolltape.actors.log_stream.BUDGET_BYTES", 1000)
    stage = Stage()
    stage.say(50)
    stage.turn(2)  # one fragment may always be in flight
    stage.say(150)
    stage.turn(2)
    assert (len(stage.writer.headers), stage.stream.dropped) == (1, 50)
    stage.writer.acknowledge()
    stage.turn()
    stage.turn(2)
    assert len(stage.writer.rows()) == 150
    stage.writer.acknowledge()
    stage.turn()
    stage.turn(2)
    assert stage.writer.rows("ledger")[0]["rows"] == 50


def test_a_writer_that_gave_up_ends_no_run() -> None:
    stage = Stage()
    stage.say()
    stage.turn(2)
    stage.writer.calls[0].set_exception(DiskFull("no room"))
    stage.turn()
    stage.say(7)
    stage.turn(2)
    assert stage.stream.dropped == 7
    assert len(stage.writer.headers) == 1


def test_what_cannot_be_stored_as_it_is() -> None:
    stage = Stage()
    stage.say(what="\ud800", many="y" * 300_000, error="z" * 200_000)
    stage.turn(2)
    (row,) = stage.writer.rows()
    assert len(row["message"]) == 100_001
    assert row["message"].endswith("…")
    assert row["data"].startswith('{"cut": ')


def test_lines_and_records_of_one_process() -> None:
    stage = Stage()
    stage.stream.write([b"plain", b"LOG1003 | done | extra={}"], "stdout", 1_790_000_000_000_000, 77)
    stage.stream.write([b"\xff"], "stderr", 1_790_000_000_000_001, 77)
    stage.say()
    stage.turn(2)
    rows = stage.writer.rows()
    assert [row["origin"] for row in rows] == ["record", "stdout", "stdout", "stderr"]
    assert [row["code"] for row in rows] == ["LOG2003", "LOG5001", "LOG1003", "LOG5001"]
    assert {row["pid"] for row in rows[1:]} == {77}
    assert stage.writer.batches[0]["logs"].schema == stage.writer.batches[1]["logs"].schema


def test_the_end_makes_everything_durable() -> None:
    stage = Stage()
    stage.stream._clock = __import__("time").monotonic
    stage.stream.start()
    stage.say(5)
    waited_for: list[int] = []

    def hurry(key: ProducerKey, sequence: int) -> None:
        waited_for.append(sequence)
        stage.writer.acknowledge()  # nothing is durable before somebody asks

    stage.writer.hurry = hurry  # type: ignore[method-assign]
    assert stage.stream.close(10.0)
    assert len(stage.writer.rows()) == 5
    assert not stage.stream._thread.is_alive()
    assert waited_for[0] == 1
