"""The hub's desk between gateways and producers: who hears what is wanted, and what is told once."""

from __future__ import annotations

from typing import Any

from rolltape.actors.live_desk import SILENT_S, LiveDesk
from rolltape.schema.live_messages import (
    KINDS,
    ControlEvent,
    EpisodeEnd,
    GatewayReport,
    LiveBeat,
    StreamDemand,
)
from rolltape.schema.messages import ProducerKey, Registration, RunCounts
from tests.fakes import RUN_ID, Clock

A0, A1, B0 = ProducerKey(0, 0), ProducerKey(0, 1), ProducerKey(1, 0)


def desk_of() -> tuple[LiveDesk, Clock]:
    clock = Clock()
    desk = LiveDesk(clock=clock, wall=clock)
    desk.registered(Registration(A0, RUN_ID, 0, 4))
    desk.registered(Registration(B0, RUN_ID, 4, 4))
    return desk, clock


def report(number: int = 1, life: str = "aa", **values: Any) -> GatewayReport:
    streams = (StreamDemand(1, 9, 0), StreamDemand(5, 9, 0))
    given: dict[str, Any] = {"viewers": 1, "hz": 10.0, "demand": streams, "lives": {1: "p0.0", 5: "p1.0"}} | values
    return GatewayReport(life, "gateway", number, **given)


def test_each_producer_hears_what_is_wanted_of_its_own_streams() -> None:
    desk, clock = desk_of()
    assert desk.demand_of(A0) is None
    view = desk.report(report(), "hub", RunCounts())
    assert [(owner.key, owner.first, owner.count) for owner in view.owners] == [("p0.0", 0, 4), ("p1.0", 4, 4)]
    found = desk.demand_of(B0)
    assert found is not None and (found.hz, [s.stream for s in found.streams], found.scalars) == (10.0, [5], True)
    desk.report(report(1, demand=()), "hub", RunCounts())
    assert desk.demand_of(B0) == found, "the same report twice is one"
    desk.report(report(2, kinds=("text",)), "hub", RunCounts())
    chosen = desk.demand_of(B0)
    assert chosen is not None and (found.kinds, chosen.kinds) == (KINDS, ("text",))
    clock.advance(SILENT_S + 0.1)
    silent = desk.demand_of(B0)
    assert silent is not None and (silent.hz, silent.streams, silent.scalars) == (0.0, (), False)


def test_a_successor_takes_the_streams_over() -> None:
    desk, _ = desk_of()
    desk.registered(Registration(A1, RUN_ID, 0, 4))
    desk.registered(Registration(A0, RUN_ID, 0, 4))  # a zombie
    view = desk.report(report(), "hub", RunCounts())
    assert [owner.key for owner in view.owners] == ["p1.0", "p0.1"]
    assert [line.message for line in view.log] == ["p0.0 was replaced by p0.1."]


def test_counts_of_all_lives_add_up() -> None:
    desk, _ = desk_of()
    desk.beat(A0, LiveBeat("aa", skipped={1: {"no_credit": 2}}))
    desk.beat(A0, LiveBeat("aa", skipped={1: {"no_credit": 3}}))
    desk.beat(A0, LiveBeat("bb", skipped={1: {"no_credit": 10}}))
    desk.beat(B0, None)
    desk.report(report(skipped={1: {"conflated": 5}}), "hub", RunCounts())
    view = desk.report(report(life="bb", skipped={1: {"conflated": 1}}), "hub", RunCounts())
    assert desk.skipped() == {1: {"no_credit": 13, "conflated": 6}}
    assert view.refused == {1: {"no_credit": 13}}


def test_ends_and_transitions_are_told_once_to_each_life() -> None:
    desk, _ = desk_of()
    end = EpisodeEnd(1, 7, 3, 1.0, "completed", 0.0)
    desk.beat(A0, LiveBeat("aa", ends=(end,), ends_omitted=4))
    event = ControlEvent("aa.1", 1, 1, 0.0)
    first = desk.report(report(1, control=(event,), control_position=1), "hub", RunCounts())
    assert (first.ends, first.ends_omitted, first.control, first.control_taken) == ((end,), 4, (event,), 1)
    again = desk.report(report(2, control=(event,), known="hub", heard=first.position), "hub", RunCounts())
    assert (again.ends, again.control) == ((), ())
    other = desk.report(report(1, "bb", known="", heard=0), "hub", RunCounts())
    assert other.control == (event,), "a new gateway hears of the one before it"
    assert desk.told(0) == ((event,), 1) and desk.told(1) == ((), 1)
