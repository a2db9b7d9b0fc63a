"""What a producer does for those who watch: nothing unasked, one push at a time, within its limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.live_feed import PATIENCE_S, LiveFeed
from rolltape.actors.live_pictures import LivePictures
from rolltape.actors.live_view import LiveView
from rolltape.dashboards.switchboard import Switchboard
from rolltape.dashboards.wire import Message
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.live_messages import (
    LiveBeat,
    LiveDemand,
    LiveItem,
    PictureChanges,
    StreamDemand,
)
from rolltape.schema.picture_changes import changed
from tests.fakes import Clock

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
    """All of it takes 2 % of the time: a push of 2 ms in this thread is 10 ms of the process."""
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
    assert rate(0.002) == pytest.approx(2, abs=0.4)
    assert rate(0.0) > 8, "and more again"


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
