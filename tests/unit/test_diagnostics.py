"""What a run says of its own processes: once, with the number and its bound, and again only after it was well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rolltape.actors.diagnostics import CALM, HOLD, Diagnostics
from rolltape.schema import log_policy
from rolltape.schema.config_diagnostics import DiagnosticsConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.log_policy import configure_logging
from rolltape.schema.log_source import LogEvent, LogSource
from rolltape.schema.messages import Heartbeat, ProducerKey, RunCounts
from tests.fakes import RUN_ID, Clock

MIB = 1 << 20


class Stage:
    """Diagnostics of a run with one producer, and what they said."""

    def __init__(self, **config: Any) -> None:
        self.said: list[LogEvent] = []
        self.clock, self.used, self.commits = Clock(), 100, 0
        self.waited_s = self.hub_s = 0.0
        self.diagnostics = Diagnostics(
            LogSource(RUN_ID, "CartPole-v1"),
            DiagnosticsConfig(**{"every_s": 0, **config}),
            clock=self.clock,
            memory=lambda: (self.used * MIB, 1000 * MIB),
        )

    def sample(
        self, times: int = 1, *, queued: int = 1, waiting: float = 0.0, hub: float = 0.0, queue: int = 0,
        flush_s: float | None = None, deaf: bool = False,
    ) -> None:  # fmt: skip
        for _ in range(times):
            self.clock.now += 1
            self.waited_s += waiting
            self.hub_s += hub
            self.commits += flush_s is not None
            beat = Heartbeat(ProducerKey(3, 1), queued=queued, waited_s=self.waited_s, memory_bytes=500 * MIB)
            gone = Heartbeat(ProducerKey(2, 0), queued=9999, done=True)
            counts = RunCounts(keys={"p3.1": beat, "p2.0": gone}, hub_cpu_s=self.hub_s)
            self.diagnostics.look(
                None if deaf else counts, queue_depth=queue, flush_s=flush_s or 0.0, commits=self.commits, cpu_s=0.0,
                memory_bytes=80 * MIB,
            )  # fmt: skip

    def told(self) -> list[str]:
        found = [f"{event.code.code} {event}" for event in self.said]
        self.said.clear()
        return found


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield from listening(made)


def listening(made: Stage) -> Iterator[Stage]:
    configure_logging(LoggingConfig(output="plain"))

    def sink(time_us: int, event: LogEvent, message: str | None) -> None:
        made.said.append(event)

    log_policy.attach(RUN_ID, "debug", sink)
    yield made
    log_policy.detach(RUN_ID, sink)


def test_a_healthy_run_says_nothing(stage: Stage) -> None:
    stage.sample(100, queued=2, waiting=0.1, hub=0.2, queue=3, flush_s=0.05)
    assert stage.told() == []


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ({"queued": 65}, "LOG6004 Producer p3.1 has 65 fragments that are not durable (bound 64)."),
        ({"queue": 70}, "LOG6004 The writer has 70 fragments that are not durable (bound 64)."),
        ({"waiting": 0.8}, "LOG4001 p3.1 stands still for room 80% of the time (bound 50%)."),
        ({"waiting": 1.3}, "LOG4001 p3.1 stands still for room 100% of the time (bound 50%)."),  # two beats in one look
        ({"hub": 0.95}, "LOG6003 The hub uses 0.95 cores (bound 0.90)."),
    ],
)
def test_what_lasts_is_said_once(stage: Stage, trouble: dict[str, Any], told: str) -> None:
    stage.sample()
    stage.sample(HOLD - 1, **trouble)
    assert stage.told() == [], "a moment of it is nothing"
    stage.sample(50, **trouble)
    assert stage.told() == [told]
    stage.sample(CALM - 1)
    stage.sample(HOLD, **trouble)
    assert stage.told() == [], "it was not well for long enough"
    stage.sample(CALM)
    stage.sample(HOLD, **trouble)
    assert stage.told() == [told]


def test_a_slow_commit_is_said_at_once(stage: Stage) -> None:
    stage.sample(flush_s=6.25)
    assert stage.told() == ["LOG6005 A commit took 6.2 s (bound 5.0 s)."]
    stage.sample(5, flush_s=7.0)
    assert stage.told() == []


def test_memory_names_the_largest(stage: Stage) -> None:
    stage.used = 950
    stage.sample(HOLD)
    (said,) = stage.told()
    assert said.startswith("LOG6002 95% of the host's 1,000 MiB are in use (bound 90%)")
    assert said.endswith("producer p3.1 with 500 MiB.")
    stage.used = 100
    stage.sample(CALM)
    stage.used = 950
    stage.sample(HOLD, deaf=True)
    assert stage.told()[0].endswith("the writer with 80 MiB."), "the hub did not answer"


def test_who_speaks_is_known(stage: Stage) -> None:
    stage.sample(HOLD, queued=100)
    (event,) = stage.said
    assert (event.source.worker, event.source.incarnation, event.code.level) == (3, 1, "warning")
    assert event.details == {"who": "Producer p3.1", "depth": 100, "bound": 64}


def test_the_numbers_are_kept_and_changes_shown() -> None:
    (stage,) = [Stage(every_s=10)]
    for _ in listening(stage):
        stage.sample(9)
        assert stage.said == []
        stage.sample(queued=2)
        (first,) = stage.said
        assert first.code.code == "LOG6001" and first.details["producers"]["queue"] == 2
        assert first.details["writer"]["memory_mib"] == 80 and first.details["host"] == {"memory_share": 0.1}
        assert first.section.startswith("diagnostics\n  writer.memory_mib") and not first.shown
        stage.sample(10, queued=7)
        section = stage.said[1].section
        assert section == "diagnostics\n  producers.queue  2 → 7"
