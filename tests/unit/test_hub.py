"""The control plane: who is known, what each may send, and what is counted; also after a restart of the hub."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from rolltape.actors.hub import SHARE_EVERY_S, TelemetryHub
from rolltape.schema.errors import VersionRefused
from rolltape.schema.messages import Heartbeat, ProducerKey, Registration, Watermark
from tests.fakes import RUN_ID, Clock

MIB = 1 << 20
A0, A1, B0 = ProducerKey(0, 0), ProducerKey(0, 1), ProducerKey(1, 0)


def made(clock: Clock | None = None, settled: Path | None = None, **sizes: int) -> TelemetryHub:
    return TelemetryHub(
        RUN_ID, sizes.get("total", 100 * MIB), sizes.get("floor", 8 * MIB), settled, clock=clock or Clock()
    )


def registration(key: ProducerKey, **values: object) -> Registration:
    return Registration(key, RUN_ID, 0, 1, **values)  # type: ignore[arg-type]


def test_whoever_registers_gets_at_least_the_floor() -> None:
    hub = made()
    grant = hub.register(registration(A0))
    assert (grant.epoch, grant.known, grant.stop) == (hub.epoch, True, False)
    assert grant.budget_bytes == 8 * MIB


def test_each_hub_has_an_epoch_of_its_own() -> None:
    assert made().epoch != made().epoch


def test_another_runs_producer_is_refused() -> None:
    with pytest.raises(ValueError, match="asked to register a producer of run other"):
        made().register(Registration(A0, "other", 0, 1))


def test_an_unknown_producer_is_told_so_and_counted() -> None:
    """After a restart of the hub: until it registers again its counts are not lost."""
    hub = made()
    grant = hub.heartbeat(Heartbeat(A0, steps=7, return_sum=1.5, durable=Watermark(1, 5, 0)))
    assert (grant.known, grant.epoch, grant.budget_bytes) == (False, hub.epoch, 8 * MIB)
    assert hub.counts().steps == 7
    hub.register(registration(A0, watermark=Watermark(1, 5, 0)))
    assert hub.counts().steps == 7
    assert hub.heartbeat(Heartbeat(A0, steps=9)).known
    assert hub.counts().steps == 9


def test_a_registration_says_what_is_durable() -> None:
    hub = made()
    hub.register(registration(A0, watermark=Watermark(3, 50, 2)))
    counts = hub.counts()
    assert (counts.durable_steps, counts.durable_episodes, counts.producers) == (50, 2, 1)


def test_counts_are_sums_over_the_living_and_the_gone() -> None:
    hub = made()
    for key in (A0, B0):
        hub.register(registration(key))
    hub.heartbeat(
        Heartbeat(A0, steps=10, episodes=2, return_sum=3.0, frames=5, inflight_bytes=7, lag_s=1.0, lag_high_s=4.0)
    )
    hub.heartbeat(
        Heartbeat(B0, steps=1, inflight_bytes=9, inflight_high_bytes=11, lag_s=2.0, lag_high_s=3.0, resent=1, done=True)
    )
    counts = hub.counts()
    assert (counts.steps, counts.episodes, counts.return_sum, counts.frames, counts.resent) == (11, 2, 3.0, 5, 1)
    assert (counts.producers, counts.inflight_bytes, counts.inflight_high_bytes) == (1, 7, 11)
    assert (counts.lag_s, counts.lag_high_s) == (1.0, 4.0)
    assert counts.keys.keys() == {"p0.0", "p1.0"}


def test_a_new_life_ends_the_old_one() -> None:
    hub = made()
    hub.register(registration(A0))
    hub.heartbeat(Heartbeat(A0, steps=10, inflight_bytes=5))
    hub.register(registration(A1))
    assert (hub.counts().producers, hub.counts().steps, hub.counts().inflight_bytes) == (1, 10, 0)
    hub.heartbeat(Heartbeat(A0, steps=11, inflight_bytes=5))  # it was replaced and does not know
    assert (hub.counts().producers, hub.counts().steps, hub.counts().inflight_bytes) == (1, 11, 0)


def test_an_old_life_that_registers_late_does_not_live() -> None:
    hub = made()
    hub.register(registration(A1))
    hub.register(registration(A0))
    assert hub.counts().producers == 1
    hub.heartbeat(Heartbeat(A0, inflight_bytes=5))
    assert (hub.counts().producers, hub.counts().inflight_bytes) == (1, 0)


def test_budgets_follow_what_producers_need() -> None:
    clock = Clock()
    hub = made(clock)
    hub.register(registration(A0))
    hub.register(registration(B0))
    beat = Heartbeat(A0, rate_bytes_s=15 * MIB, commit_s=1.0)
    assert hub.heartbeat(beat).budget_bytes == 8 * MIB
    clock.advance(SHARE_EVERY_S)
    assert hub.heartbeat(beat).budget_bytes == 30 * MIB
    assert hub.heartbeat(Heartbeat(B0)).budget_bytes == 8 * MIB


def test_who_has_ended_has_no_budget() -> None:
    clock = Clock()
    hub = made(clock, total=20 * MIB)
    for key in (A0, B0):
        hub.register(registration(key))
    busy = Heartbeat(A0, rate_bytes_s=100 * MIB)
    clock.advance(SHARE_EVERY_S)
    assert hub.heartbeat(busy).budget_bytes == 12 * MIB
    hub.heartbeat(Heartbeat(B0, done=True))
    clock.advance(SHARE_EVERY_S)
    assert hub.heartbeat(busy).budget_bytes == 20 * MIB


def test_stop_reaches_everybody() -> None:
    hub = made()
    hub.register(registration(A0))
    hub.stop()
    assert hub.heartbeat(Heartbeat(A0)).stop
    assert hub.heartbeat(Heartbeat(B0)).stop
    assert hub.register(registration(B0)).stop


def test_the_first_proposal_holds() -> None:
    hub = made()
    assert hub.agree({"a": pa.int64()}) == {"a": pa.int64()}
    assert hub.agree({"b": pa.int64()}) == {"a": pa.int64()}


@pytest.mark.parametrize("first", [{}, {"a": pa.list_(pa.float32(), 3), "é": pa.string()}])
def test_it_holds_for_the_next_hub_too(first: dict[str, pa.DataType], tmp_path: Path) -> None:
    settled = tmp_path / "infos.arrow"
    assert made(settled=settled).agree(first) == first
    again = made(settled=settled)
    assert again.agree({"b": pa.int64()}) == first
    assert again.agree({"c": pa.int64()}) == first
    assert [path.name for path in tmp_path.iterdir()] == ["infos.arrow"]


def test_versions_are_agreed_at_registration() -> None:
    hub = made()
    assert hub.register(registration(A0)).payload_version == 1
    assert hub.register(registration(B0, payload_versions=(0,))).payload_version == 0
    assert hub.register(registration(A1, payload_versions=(0, 1))).payload_version == 1
    assert hub.heartbeat(Heartbeat(B0)).payload_version == 0, "and stay agreed"


def test_a_run_that_takes_only_the_newest_refuses_others() -> None:
    hub = TelemetryHub(RUN_ID, 100 * MIB, 8 * MIB, oldest_payload=1, clock=Clock())
    hub.register(registration(A0, payload_versions=(0, 1)))
    with pytest.raises(VersionRefused, match=r"Producer p1\.0 on far speaks payload version 0, run .* takes only 1"):
        hub.register(registration(B0, payload_versions=(0,), host="far"))
    assert hub.counts().keys.keys() == {"p0.0"}, "it never was there"
