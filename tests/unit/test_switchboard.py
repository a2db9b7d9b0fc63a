"""Streams and viewers of a gateway, without a socket: demand, fairness, reconnects, and what everything adds up to."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rolltape.dashboards.bulletin import Bulletin
from rolltape.dashboards.pictures import Mosaic, colours, encode, layout_for
from rolltape.dashboards.switchboard import REMEMBERED_S, Switchboard
from rolltape.dashboards.viewer import Viewer
from rolltape.dashboards.wire import JPEG, PNG, Message
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.live_messages import LiveItem, StreamDemand
from tests.fakes import Clock

OWNER = "p0.0"


def board_of(streams: int = 2, credits: int = 20) -> tuple[Switchboard, Clock]:
    clock = Clock()
    live = LiveConfig(credits=credits, low_water=1)
    board = Switchboard("aa", "gateway", live, UiConfig(), "Test-v0", clock=clock, wall=clock)
    for index in range(streams):
        board.know(index, OWNER, 0)
    return board, clock


def item(stream: int, sequence: int, **values: Any) -> LiveItem:
    return LiveItem(stream, sequence, 0.0, 1, sequence, 0.5, payload=b'{"kind":"grid"}', **values)


def push(board: Switchboard, stream: int, sequence: int) -> None:
    board.take(board.streams[stream].owner, [item(stream, sequence)])


def says(board: Switchboard, viewer: Viewer, **message: Any) -> None:
    given = {name: message.pop(name) for name in ("rendered", "mosaics", "hidden") if name in message}
    board.hear(viewer, Message(wish=message, **given))


def sent(viewer: Viewer, stream: int) -> int | None:
    return viewer.pairs[stream].send()


def test_nobody_watches_and_nothing_is_wanted() -> None:
    board, _ = board_of()
    assert board.wanted() == (0.0, {}) and board.demand(OWNER).hz == 0
    viewer, _ = board.join()
    assert board.demand(OWNER).scalars and board.demand(OWNER).hz == 0
    says(board, viewer, sub=(1, 99), hz=5.0, size=320, steps=(1,))
    demand = board.demand(OWNER)
    assert (demand.hz, demand.streams) == (5.0, (StreamDemand(1, 20, 320, True),))
    other, _ = board.join()
    says(board, other, sub=(1,), hz=30.0, size=0)
    assert board.demand(OWNER).hz == 30.0 and board.demand(OWNER).streams == (StreamDemand(1, 20, 0, True),)
    says(board, viewer, hidden=True)
    assert board.demand(OWNER).streams == (StreamDemand(1, 20, 0, False),)
    board.leave(other)
    assert board.demand(OWNER).streams == ()


def test_what_nothing_came_of_yet_is_taken_to_look_like_the_first_that_came() -> None:
    board, _ = board_of(streams=3)
    version = board.streams_version
    board.take(OWNER, [LiveItem(1, 1, 0.0, 0, 0, 0.0, picture=np.zeros((4, 4), np.uint8))])
    board.know(3, OWNER, 0)
    assert [stream["kind"] for stream in board.hello_streams()] == ["rgb"] * 4 and board.streams_version > version
    push(board, 2, 1)  # until it has a look of its own
    assert [stream["kind"] for stream in board.hello_streams()] == ["rgb", "rgb", "grid", "rgb"]


def test_producers_are_told_which_kinds_are_shown() -> None:
    board = Switchboard("aa", "gateway", LiveConfig(), UiConfig(renderers=("rgb", "text")))
    assert board.demand(OWNER).kinds == ("rgb", "text")


def test_nobody_in_view_takes_no_credit() -> None:
    board, _ = board_of()
    viewer, _ = board.join()
    says(board, viewer, sub=(1,))
    says(board, viewer, sub=())
    push(board, 1, 1)
    assert board.streams[1].pool.credits == board.streams[1].pool.size and board.skipped() == {1: {"no_viewer": 1}}


def test_between_two_episodes_a_stream_stays_where_it_was() -> None:
    board, _ = board_of()
    board.take(OWNER, [LiveItem(1, 1, 0.0, 7, 12, 3.5, payload=b"{}"), LiveItem(1, 2, 0.0, 7, -1, 0.0, payload=b"{}")])
    assert (board.streams[1].episode, board.streams[1].t, board.streams[1].returns) == (7, 12, 3.5)


def test_who_freezes_starves_before_its_stream_runs_dry() -> None:
    """Samples that come in bunches are held back by the view's rate: they cost the stream nothing either."""
    board, clock = board_of(1, credits=4)
    frozen, _ = board.join()
    says(board, frozen, sub=(0,), hz=10.0)
    sequence = 0
    while not frozen.pairs[0].pool.is_starved:
        assert board.demand(OWNER).streams[0].limit > sequence, "its producer shows nothing more, and nobody was told"
        for _ in range(3):
            sequence += 1
            push(board, 0, sequence)
        clock.advance(0.1)
    assert frozen.pairs[0].skipped["view_throttle"] > 0
    assert [event.viewer for event in board.control.after(0)] == [frozen.name, "aa.0"]


def test_the_fastest_viewer_returns_the_credits_of_the_stream() -> None:
    board, _ = board_of(1, credits=4)
    fast, frozen = board.join()[0], board.join()[0]
    for viewer in (fast, frozen):
        says(board, viewer, sub=(0,), hz=60.0)
    for sequence in range(1, 11):
        push(board, 0, sequence)
        says(board, fast, rendered=((0, sent(fast, 0) or 0),))
        sent(frozen, 0)
        board._clock.advance(0.1)  # type: ignore[attr-defined]
    stream = board.streams[0]
    assert not stream.pool.is_starved and fast.pairs[0].shown == 10 and stream.limit == 14
    assert frozen.pairs[0].pool.is_starved and board.starved() == {0}
    told = [(event.viewer, event.stream, event.number) for event in board.control.after(0)]
    assert told == [(frozen.name, 0, 1)], "and nobody else starved"
    board.leave(fast)
    for sequence in range(11, 20):
        push(board, 0, sequence)
    assert stream.pool.is_starved and stream.limit == stream.sequence, "all are frozen: nothing more is published"


def test_who_comes_late_gets_the_last_value_and_who_comes_back_goes_on() -> None:
    board, clock = board_of(1)
    first, _ = board.join()
    says(board, first, sub=(0,))
    push(board, 0, 1)
    late, resumed = board.join()
    says(board, late, sub=(0,))
    assert not resumed and sent(late, 0) == 1
    board.leave(late)
    assert late.pairs[0].skipped == {"disconnected": 1}
    again, resumed = board.join(late.name)
    assert resumed and again is late
    says(board, again, sub=(0,))
    assert sent(again, 0) == 1
    taken, resumed = board.join(late.name)
    assert taken is late and resumed, "its socket broke, and only it has noticed"
    assert late.pairs[0].skipped == {"disconnected": 2} and late.watched == []
    assert board.join("nobody.7")[0].name not in ("nobody.7", late.name)
    board.leave(late)
    clock.advance(REMEMBERED_S + 1)
    assert not board.join(late.name)[1]
    assert board.skipped() == {0: {"disconnected": 2}}, "what it did not see stays counted"


def test_a_successor_of_a_producer_counts_from_one() -> None:
    board, clock = board_of(1)
    viewer, _ = board.join()
    says(board, viewer, sub=(0,))
    for sequence in range(1, 4):
        push(board, 0, sequence)
    board.know(0, "p0.1", 0)
    clock.advance(1.0)
    board.take(OWNER, [item(0, 4)])  # the zombie's
    push(board, 0, 1)
    push(board, 0, 1)
    stream = board.streams[0]
    assert (stream.sequence, stream.published, stream.limit) == (4, 4, 20)


def test_the_status_of_a_viewer() -> None:
    board, _ = board_of(1100)
    viewer, _ = board.join()
    says(board, viewer, sub=(7, 1099))
    push(board, 7, 1)
    columns = board.columns(viewer)
    assert columns["index"][:2] == [7, 1099] and len(columns["index"]) == 2 + 1024
    assert {len(column) for column in columns.values()} == {1026} and columns["kind"][0] == "grid"
    seen = {*columns["index"], *board.columns(viewer)["index"]}
    assert seen == set(range(1100)), "others in turn"


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["push", "send", "shown", "sub", "leave", "join", "hide", "fail", "successor"]), st.integers(0, 7)),
    max_size=150,
)


@settings(max_examples=100, deadline=None)
@given(OPERATIONS)
def test_whatever_viewers_and_producers_do_everything_is_counted(operations: list[tuple[str, int]]) -> None:
    board, clock = board_of(3, credits=5)
    viewers: list[Viewer] = [board.join()[0], board.join()[0]]
    under_way: dict[tuple[str, int], int] = {}
    numbers, life = [0, 0, 0], 0
    for what, n in operations:
        clock.advance(0.05)
        viewer, stream = viewers[n % 2], n % 3
        if what == "push":
            if numbers[stream] < next((d.limit for d in board.demand(f"p0.{life}").streams if d.stream == stream), 0):
                numbers[stream] += 1
                push(board, stream, numbers[stream])
        elif what == "sub" and viewer.connected:
            says(board, viewer, sub=tuple(i for i in range(3) if n >> i & 1), hz=20.0)
        elif what == "leave" and viewer.connected:
            board.leave(viewer)
        elif what == "join" and not viewer.connected:
            viewers[n % 2] = board.join(viewer.name)[0]
        elif what == "hide" and viewer.connected:
            says(board, viewer, hidden=n > 3)
        elif what == "successor":
            life += 1
            numbers = [0, 0, 0]
            for index in range(3):
                board.know(index, f"p0.{life}", 0)
        elif stream in viewer.watched:
            if what == "send" and (sequence := sent(viewer, stream)) is not None:
                under_way[viewer.name, stream] = sequence
            elif what == "shown":
                says(board, viewer, rendered=((stream, under_way.get((viewer.name, stream), 0)),))
            elif what == "fail":
                board.fail(viewer, stream, under_way.get((viewer.name, stream), 0))
        for someone in board.viewers.values():
            for pair in someone.pairs.values():
                assert pair.published == pair.shown + sum(pair.skipped.values()) + pair.in_flight
            row = someone.row(True)
            assert row["published"] == row["shown"] + sum(row["skipped"].values()) + row["in_flight"]
    events = board.told.after(0)
    for key in {event[:2] for event in events}:
        mine = [event for event in events if event[:2] == key]
        assert [event.number for event in mine] == list(range(1, len(mine) + 1))


def test_a_bulletin_keeps_the_newest_and_says_what_is_left_out() -> None:
    bulletin: Bulletin[int] = Bulletin(3)
    bulletin.extend(range(5))
    assert bulletin.after(0) == ([2, 3, 4], 2) and bulletin.after(4) == ([4], 0) and bulletin.after(5) == ([], 0)
    assert bulletin.after(0, most=1) == ([4], 4)


def test_pictures_of_all_shapes() -> None:
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    assert (colours(grey) == np.repeat(grey[..., None], 3, -1)).all()
    stack = np.stack([grey, grey + 1, grey + 2, grey + 3, grey + 4])
    assert (colours(np.moveaxis(stack, 0, -1))[..., 0] == grey + 4).all(), "the newest of a stack"
    assert colours(np.full((4, 4, 3), 0.5))[0, 0, 0] == 127
    found = encode(np.zeros((40, 80, 3), np.uint8), 20, False, 80)
    assert (found.codec, found.width, found.height) == (JPEG, 20, 10)
    assert encode(np.zeros((4, 8, 3), np.uint8), 0, True, 80)[:3] == (PNG, 8, 4)


def test_a_mosaic() -> None:
    layout = layout_for(3, range(10), (160, 210), 160)
    assert layout.tile == (122, 160) and layout.columns == 4 and layout.size == (488, 480)
    mosaic = Mosaic(layout)
    encoded, bad = mosaic.compose({0: np.full((210, 160, 3), 200, np.uint8), 5: np.zeros((2, 2, 9, 9))}, 90)
    assert bad == {5} and (encoded.codec, encoded.width, encoded.height) == (JPEG, 488, 480)
    large = layout_for(1, range(400), (640, 480), 0)
    assert max(large.size) <= 4096


@pytest.mark.parametrize("shape", [(210, 160, 3), (160, 122, 3), (40, 200, 3), (900, 700, 3)])
def test_a_tile_of_a_mosaic_lies_in_its_place_and_leaves_nothing_behind(shape: tuple[int, int, int]) -> None:
    layout = layout_for(1, range(2), (160, 210), 160)
    mosaic = Mosaic(layout)
    for colour in (250, 120):
        encoded, _ = mosaic.compose({1: np.full((210, 160, 3), 250, np.uint8)}, 100)
        encoded, _ = mosaic.compose({1: np.full(shape, colour, np.uint8)}, 100)
        seen = np.asarray(Image.open(io.BytesIO(encoded.data)).convert("L"))
        left, tile = seen[:, : layout.tile[0]], seen[:, layout.tile[0] :]
        assert left.max() < 9 and abs(int(tile[80, 61]) - colour) < 3
        covered = min(1.0, 122 / shape[1], 160 / shape[0]) ** 2 * shape[0] * shape[1] / (160 * 122)
        assert abs((tile > 60).mean() - covered) < 0.03
