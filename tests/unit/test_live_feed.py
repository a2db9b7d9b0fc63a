"""What a producer does for those who watch: nothing unasked, one push at a time, within its limits; and the hub's desk."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.last_render import LastRender
from rolltape.actors.live_desk import SILENT_S, LiveDesk
from rolltape.actors.live_feed import PATIENCE_S, LiveFeed
from rolltape.actors.live_pictures import LivePictures
from rolltape.actors.live_view import LiveView, plain
from rolltape.dashboards.switchboard import Switchboard
from rolltape.dashboards.wire import Message
from rolltape.schema.adapters.adapter import RenderDescription
from rolltape.schema.adapters.generic import GenericAdapter
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.live_messages import (
    KINDS,
    ControlEvent,
    EpisodeEnd,
    GatewayReport,
    LiveBeat,
    LiveDemand,
    LiveItem,
    PictureChanges,
    StreamDemand,
)
from rolltape.schema.messages import ProducerKey, Registration, RunCounts
from rolltape.schema.picture_changes import changed
from rolltape.schema.render_payload import GridPayload, TextPayload
from tests.fakes import RUN_ID, Clock

OBSERVATIONS = np.arange(8.0).reshape(4, 2)
STEP = (np.arange(4), OBSERVATIONS, np.ones(4), np.zeros(4, bool), np.zeros(4, bool))


class Rows:
    def __init__(self) -> None:
        self.prompted = self.full = False

    def prompt(self) -> None:
        self.prompted = True

    def settle(self) -> None:
        self.prompted = False

    def place(self, place: int) -> tuple[int, int, float]:
        return 10 + place, 5, 2.5

    def places(self) -> tuple[bytes, bytes, bytes]:
        return b"e", b"t", b"r"


class Gateway:
    """Answers what it is told to, or dies."""

    def __init__(self) -> None:
        self.pushed: list[tuple[LiveItem, ...]] = []
        self.answers: Any = None

    def push(self, demand: LiveDemand, owner: str, items: tuple[LiveItem, ...]) -> Any:
        self.pushed.append(items)
        return len(self.pushed)

    def answer(self, handle: Any) -> LiveDemand:
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers


def wanted(number: int = 1, limit: int = 3, life: str = "aa", *streams: int, **more: Any) -> LiveDemand:
    demands = tuple(StreamDemand(stream, limit, 0, True) for stream in streams or (4, 6))
    return LiveDemand(life, "gateway", number, 10.0, demands, scalars=True, **more)


def feed_of() -> tuple[LiveFeed, Gateway, Clock]:
    clock, gateway = Clock(), Gateway()
    view = LiveView(None, None, images=False)
    return LiveFeed("p1.0", 4, 4, Rows(), lambda: view, gateway, clock=clock, wall=clock), gateway, clock


def skipped(feed: LiveFeed) -> Any:
    beat = feed.beat()
    assert beat is not None
    return beat.skipped


def test_nobody_watches() -> None:
    feed, gateway, clock = feed_of()
    clock.advance(100)
    assert not feed.tick() and feed.push() is None and feed.beat() is None and feed.due_at == float("inf")
    feed.accept(LiveDemand("aa", "gateway", 1))
    assert not feed.is_wanted and not feed.tick() and gateway.pushed == []


def test_a_sample_is_asked_for_taken_pushed_and_answered() -> None:
    feed, gateway, clock = feed_of()
    feed.accept(wanted())
    assert feed.tick() and feed.asked and not feed.tick(), "once"
    feed.take(*STEP)
    assert feed.push() == 1 and feed.push() is None, "one push at a time"
    clock.advance(1)
    assert not feed.tick() and feed.due_at == float("inf")
    first, second = gateway.pushed[0]
    assert (first.stream, first.sequence, first.episode, first.t, first.episode_return) == (4, 1, 10, 5, 2.5)
    assert first.step == {
        "action": 0,
        "observation": [0.0, 1.0],
        "reward": 1.0,
        "terminated": False,
        "truncated": False,
    }
    assert json.loads(second.payload or b"")["lines"] == ["4  5"]
    gateway.answers = wanted(2)
    feed.answered()
    assert feed.tick()


def test_a_sample_that_is_late_is_not_made_up_for() -> None:
    """10 a second: whoever steps too slowly for that gives fewer, never two at once."""
    feed, gateway, clock = feed_of()
    gateway.answers = wanted(2, 100)
    feed.accept(wanted(1, 100))

    def is_due() -> bool:
        if not feed.tick():
            return False
        feed.take(*STEP)
        feed.push()
        feed.answered()
        return True

    assert is_due()
    assert not is_due()
    clock.advance(0.35)
    assert is_due()
    assert not is_due()
    clock.advance(0.1)
    assert is_due()


def test_no_credit_no_sample() -> None:
    feed, gateway, clock = feed_of()
    feed.accept(wanted(limit=2))
    for number in range(2, 5):
        clock.advance(0.1)
        if feed.tick():
            feed.take(*STEP)
            feed.push()
            gateway.answers = wanted(number, limit=2)
            feed.answered()
    assert len(gateway.pushed) == 2 and skipped(feed) == {4: {"no_credit": 1}, 6: {"no_credit": 1}}
    feed.accept(wanted(9, limit=3))
    clock.advance(0.1)
    assert feed.tick(), "credits came with a heartbeat"


def test_a_gateway_that_dies_costs_what_was_under_way_and_nobody_waits() -> None:
    feed, gateway, clock = feed_of()
    feed.accept(wanted())
    feed.tick()
    feed.take(*STEP)
    feed.push()
    gateway.answers = OSError("gone")
    feed.answered()
    assert feed.demand is None and skipped(feed) == {4: {"disconnected": 1}, 6: {"disconnected": 1}}
    feed.accept(wanted(1, 3, "bb"))
    assert feed.beat() == LiveBeat("bb", episode=b"e", t=b"t", returns=b"r"), "a new life of the gateway counts anew"
    assert not feed.tick(), "not at once"
    clock.advance(1.1)
    assert feed.tick()
    feed.take(*STEP)
    feed.push()
    clock.advance(PATIENCE_S + 1)
    feed.tick()
    assert feed.handle is None, "a push that is never answered is given up"


def test_an_older_demand_is_ignored_and_one_that_nobody_repeats_ends() -> None:
    feed, _, clock = feed_of()
    feed.accept(wanted(5), from_hub=False)
    feed.accept(wanted(4, 99))
    assert feed.demand is not None and feed.demand.number == 5
    feed.accept(wanted(1, 3, "old"))
    assert feed.demand.life == "aa", "the gateway itself has just spoken"
    feed.accept(None)
    assert feed.demand is not None
    clock.advance(PATIENCE_S + 1)
    feed.accept(None)
    assert feed.demand is None


def test_a_look_that_raises_is_counted_and_stops_nothing() -> None:
    feed, gateway, _ = feed_of()
    feed.accept(wanted(1, 3, "aa", 4, 99))
    feed.tick()
    feed.rows.place = lambda place: 1 / 0  # type: ignore[method-assign]
    feed.take(*STEP)
    assert feed.push() is None and gateway.pushed == [] and skipped(feed) == {4: {"encode_error": 1}}


def test_pictures_are_reduced_by_whole_steps() -> None:
    pictures = np.arange(2 * 64 * 80 * 3, dtype=np.uint8).reshape(2, 64, 80, 3)
    view = LiveView(None, None, images=True)
    whole, small = view.look(1, pictures, 0), view.look(1, pictures, 16)
    assert whole is not None and small is not None
    assert (whole.picture == pictures[1]).all()
    assert small.reduced == 2 and (small.picture == pictures[1, ::2, ::2]).all()
    assert LiveView(None, None, images=True, batched=False).look(0, pictures[0], 0).picture.shape == (64, 80, 3)  # type: ignore[union-attr]


def watched_feed(pictures: np.ndarray) -> tuple[LiveFeed, Gateway, Clock, Switchboard, Callable[[], list[LiveItem]]]:
    """A feed of two streams with these pictures, the gateway's state, and one sample from step to switchboard."""
    clock, gateway = Clock(), Gateway()
    view = LiveView(None, None, images=True)
    feed = LiveFeed("p0.0", 0, 2, Rows(), lambda: view, gateway, clock=clock, wall=clock, cpu=clock)
    board = Switchboard("aa", "gateway", LiveConfig(), UiConfig())
    for stream in (0, 1):
        board.know(stream, "p0.0", 0)
    viewer, _ = board.join()
    board.hear(viewer, Message({"sub": (0, 1), "hz": 10.0, "size": 0}))

    def sample() -> list[LiveItem]:
        clock.advance(1)
        assert feed.tick()
        feed.take(np.arange(2), pictures, np.ones(2), np.zeros(2, bool), np.zeros(2, bool))
        feed.push()
        sent = list(gateway.pushed[-1])
        board.take("p0.0", sent)
        gateway.answers = board.demand("p0.0")
        feed.answered()
        return sent

    feed.accept(board.demand("p0.0"))
    return feed, gateway, clock, board, sample


def test_of_a_picture_that_repeats_the_last_one_only_changes_are_sent() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (2, 64, 96, 3), np.uint8)
    _, _, _, board, sample = watched_feed(pictures)

    def held() -> list[np.ndarray]:
        found = [board.streams[stream].item for stream in (0, 1)]
        return [item.picture for item in found if item is not None]

    first = sample()
    assert [type(item.picture) for item in first] == [np.ndarray, np.ndarray]
    was = pictures.copy()
    pictures[0, 3, 4] ^= 9
    assert np.array_equal(held(), was), "they are copies"
    second = sample()
    assert all(isinstance(item.picture, PictureChanges) and len(item.picture.data) < 300 for item in second)
    assert np.array_equal(held(), pictures) and not np.shares_memory(held()[0], pictures)
    pictures[0] = rng.integers(0, 255, pictures[0].shape, np.uint8)
    third = sample()
    assert isinstance(third[0].picture, np.ndarray) and isinstance(third[1].picture, PictureChanges)
    for _ in range(3):
        pictures[:, 5, 5] += 1
        assert all(isinstance(item.picture, PictureChanges) for item in sample())
        assert np.array_equal(held(), pictures)


def test_a_gateway_that_does_not_hold_the_last_picture_gets_all_of_the_next() -> None:
    pictures = np.zeros((2, 64, 96, 3), np.uint8)
    feed, _, clock, board, sample = watched_feed(pictures)
    sample()
    board.streams[0].item = None
    sample()
    assert board.streams[0].item is None, "changes of what it does not hold are not taken"
    lost, kept = sample()
    assert isinstance(lost.picture, np.ndarray) and isinstance(kept.picture, PictureChanges), "it was told"
    stale = LiveItem(0, 9, 0.0, 0, 1, 0.0, picture=PictureChanges(1, kept.picture.data))
    assert board.take("p0.0", [stale]) == [] and board.streams[0].held == 3
    feed.accept(LiveDemand("bb", "gateway", 1, 10.0, (StreamDemand(0, 9, 0, held=3),)), from_hub=False)
    clock.advance(1)
    assert feed.tick()
    feed.take(np.arange(2), pictures, np.ones(2), np.zeros(2, bool), np.zeros(2, bool))
    feed.push()
    assert isinstance(feed._pushed[0].picture, np.ndarray), "numbers of another life do not count"


def test_small_pictures_and_those_of_another_size_are_sent_whole() -> None:
    films = LivePictures()
    small, large = np.zeros((8, 8, 3), np.uint8), np.zeros((96, 96, 3), np.uint8)
    assert films.of(0, 1, 0, small) is not small
    for sequence in (1, 2):
        assert isinstance(films.of(0, sequence, sequence - 1, small), np.ndarray)
    assert isinstance(films.of(0, 3, 2, large), np.ndarray)
    assert isinstance(films.of(0, 4, 3, large), PictureChanges)
    assert isinstance(films.of(0, 5, 4, large[:90]), np.ndarray)
    assert isinstance(films.of(0, 6, 5, large[:90, ::-1]), PictureChanges), "in any order in memory"
    films.keep(frozenset())
    assert isinstance(films.of(0, 7, 6, large[:90]), np.ndarray)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 500), st.booleans()), max_size=12))
def test_what_is_held_is_what_was_shown(story: list[tuple[int, int, bool]]) -> None:
    """Whatever changes, and whatever gets lost on the way."""
    rng, films = np.random.default_rng(1), LivePictures()
    picture, held, shown = rng.integers(0, 255, (80, 80, 3), np.uint8), np.empty(0), 0
    for sequence, (how, where, lost) in enumerate(story, 1):
        if how == 2:
            picture[...] = rng.integers(0, 255, picture.shape, np.uint8)
        elif how:
            picture.reshape(-1)[where * 38 : where * 38 + 40] += 1
        sent = films.of(0, sequence, shown, picture)
        if lost:
            continue
        held = changed(held, sent.data) if isinstance(sent, PictureChanges) else sent
        shown = sequence
        assert np.array_equal(held, picture)


def test_samples_that_cost_much_are_fewer() -> None:
    """All of it takes 2 % of the time: a push of 5 ms in this thread is 10 ms with Ray's own."""
    feed, gateway, clock = feed_of()
    feed._cpu = clock
    gateway.answers = wanted(2, 1000)
    feed.accept(wanted(1, 1000))

    def rate(cost_s: float) -> float:
        gateway.push = lambda *_: clock.advance(cost_s) or 1  # type: ignore[method-assign]
        taken, began = 0, clock()
        while clock() < began + 30:
            if feed.tick():
                feed.take(*STEP)
                feed.push()
                feed.answered()
                taken += 1
            clock.advance(0.01)
        return taken / 30

    assert rate(0.0) == pytest.approx(10, abs=0.2)
    assert rate(0.005) == pytest.approx(2, abs=0.4)
    assert rate(0.0) > 8, "and more again"


class Drawing(gym.Env[Any, Any]):
    render_mode = "rgb_array"
    drawn = 0

    def render(self) -> Any:
        self.drawn += 1
        return np.full((4, 6, 3), self.drawn, np.uint8)


class Says(GenericAdapter):
    payload: Any = None

    def describe_render(self) -> RenderDescription:
        return RenderDescription(("grid", "text"))

    def render_payload(self, env: gym.Env[Any, Any]) -> Any:
        return self.payload


def view_that_says(payload: Any, **more: Any) -> LiveView:
    env = Drawing()
    env.observation_space = env.action_space = gym.spaces.Box(-1, 1, (2,))
    adapter = Says(env)
    adapter.payload = payload
    return LiveView(adapter, [env], images=False, batched=False, **more)


GRID = GridPayload(rows=1, columns=1, tiles=("ice",), cells=((0,),))


@pytest.mark.parametrize(
    ("payload", "kinds", "shown"),
    [
        (GRID, ("grid", "rgb", "text"), "grid"),
        (GRID, ("rgb", "grid", "text"), "rgb"),
        (GRID, ("graph", "text", "rgb"), "text"),
        (TextPayload(lines=("own words",)), ("grid", "text"), "own words"),
        (None, ("grid", "rgb", "text"), "rgb"),
        (None, ("grid", "graph"), "renderers ="),
    ],
)
def test_the_first_kind_that_it_offers_is_shown(payload: Any, kinds: tuple[str, ...], shown: str) -> None:
    look = view_that_says(payload).look(0, np.zeros(2), 0, kinds)
    assert look is not None
    if shown == "rgb":
        assert look.picture is not None
    else:
        assert look.payload is not None and shown in look.payload.decode()


def test_an_adapter_that_has_no_other_look_is_not_asked() -> None:
    env = Drawing()
    env.observation_space = env.action_space = gym.spaces.Box(-1, 1, (2,))
    adapter = GenericAdapter(env)
    adapter.render_payload = lambda env: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    view = LiveView(adapter, [env], images=False, batched=False)
    look = view.look(0, np.zeros(2), 0)
    assert look is not None and look.picture is not None


def test_what_was_drawn_for_the_recording_is_not_drawn_again() -> None:
    drawn = LastRender(lambda: (np.zeros((4, 6, 3), np.uint8), np.ones((4, 6, 3), np.uint8)))
    drawn()
    assert drawn.picture is None, "nobody watches, nothing is held"
    view = LiveView(None, None, images=False, recorded=drawn)
    assert view.look(1, np.zeros((2, 3)), 0) is None, "nothing was drawn yet"
    drawn()
    look = view.look(1, np.zeros((2, 3)), 0)
    assert look is not None and (look.picture == 1).all()


def test_numbers_of_native_environments_have_their_names() -> None:
    look = LiveView(None, None, images=False, names=("speed", "angle")).look(1, np.array([[0, 0], [1.5, 2]]), 0)
    assert look is not None and json.loads(look.payload or b"")["lines"] == ["speed 1.5", "angle 2"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.int64(3), 3),
        (np.array([1.5, np.nan, np.inf]), [1.5, None, None]),
        (np.zeros(65), None),
        ("left", "left"),
        ({"a": 1}, None),
        ([[1], [2, 3]], None),
    ],
)
def test_values_as_json(value: Any, shown: Any) -> None:
    assert plain(value) == shown


# ---- the hub's desk ----

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


def test_the_producer_looks_without_closing_its_fragment() -> None:
    """`Producer.attend`, with everything around it left out."""
    from rolltape.actors.producer import Producer

    feed, gateway, _ = feed_of()
    flushed: list[int] = []
    producer: Any = SimpleNamespace(
        _live=feed, _bell=SimpleNamespace(ring=lambda: None), flush=lambda: flushed.append(1)
    )
    attend = Producer.attend
    attend(producer, *STEP)
    assert flushed == [1], "a full fragment, and nobody watches"
    feed.accept(wanted())
    assert feed.tick()
    feed.rows.prompt()
    attend(producer, *STEP)
    assert flushed == [1] and not feed.rows.prompted and feed.push() == 1 and len(gateway.pushed[0]) == 2
    feed.rows.prompt()
    feed.rows.full = True  # type: ignore[misc]
    attend(producer, *STEP)
    assert flushed == [1, 1]
