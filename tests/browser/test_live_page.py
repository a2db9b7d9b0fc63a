"""Live, Focus and Flow in a real browser, against a gateway that follows a script."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect
from starlette.websockets import WebSocket

from rolltape.dashboards.app import create_app
from rolltape.dashboards.auth import Access
from rolltape.dashboards.server import bound_socket, server_of
from tests.page_lake import GRAPH, GRID, LENGTH, PICTURES, page_lake, picture

from .scripted_gateway import TILE, ScriptedGateway, tile

expect.set_options(timeout=20_000)


@pytest.fixture
def live(tmp_path: Any, page: Any) -> Iterator[SimpleNamespace]:
    """A page on a server with two live runs: one of four kinds of streams, one of 20 pictures."""
    kinds, many = ScriptedGateway(), ScriptedGateway(("rgb",) * 20)

    async def both(socket: WebSocket, run: str) -> None:
        await (many if run == GRAPH else kinds)(socket, run)

    listening = bound_socket("127.0.0.1", 0)
    access = Access.make(listening.getsockname()[1])
    server = server_of(create_app(page_lake(tmp_path), access, live=both), signals=False)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    page.goto(access.url())
    base = access.url().split("?")[0]
    yield SimpleNamespace(kinds=kinds, many=many, to=lambda place: page.goto(f"{base}#/{place}"))
    server.should_exit = True
    thread.join(10)


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pixels(page: Any, selector: str) -> tuple[int, np.ndarray]:
    """The number of the picture that a canvas shows, and its pixels."""
    said = page.evaluate(
        """(s) => { const c = document.querySelector(s);
        return [Number(c.dataset.seq ?? 0), c.width, c.height,
        ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }""",
        selector,
    )
    return said[0], np.array(said[3:], np.uint8).reshape(said[2], said[1], 4)[..., :3]


def test_tiles_show_what_was_sent_and_say_so(page: Any, live: SimpleNamespace) -> None:
    live.to(f"run/{GRID}/live")
    page.locator('[data-stream="0"] canvas[data-seq]').wait_for()
    sequence, shown = pixels(page, '[data-stream="0"] canvas')
    np.testing.assert_array_equal(shown, tile(0, sequence))
    page.get_by_role(
        "img", name="grid of environment 1: Grid of 2 rows and 2 columns: agent at row 2, column 1"
    ).wait_for()
    page.get_by_role("img", name="graph of environment 2: Graph of 2 nodes and 1 edges, agent at root").wait_for()
    page.get_by_role("img", name="<b>velocity</b> -1").wait_for()  # as text, never as HTML
    until(lambda: set(live.kinds.rendered()) == {0, 1, 2, 3})
    before = live.kinds.rendered()
    until(lambda: all(live.kinds.rendered()[stream] > before[stream] + 3 for stream in before))
    assert live.kinds.wanted()["sub"] == (0, 1, 2, 3)

    page.get_by_text("9.8 fps").wait_for()
    page.set_viewport_size({"width": 600, "height": 900})
    assert page.locator("header.top").bounding_box()["height"] < 64, "one row, with the rate in it"

    live.kinds.starved = {1}
    starved = page.locator('[data-stream="1"]').get_by_text("starved")
    starved.wait_for()
    live.kinds.starved = set()
    expect(starved).to_have_count(0)

    page.evaluate(
        """() => { Object.defineProperty(document, "hidden", {value: true, configurable: true});
        document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    until(lambda: any(message.hidden for message in live.kinds.came))


def test_what_does_not_step_says_so_and_shows_what_is_recorded(page: Any, live: SimpleNamespace) -> None:
    live.kinds.still = True
    live.to(f"run/{PICTURES}/live")  # its streams say that they are in episode 3
    first = page.locator('[data-stream="0"]')
    first.get_by_text("shown with its next step").wait_for()
    first.get_by_text("not stepping for").wait_for()
    first.get_by_text(f"recorded at t {LENGTH}").wait_for()
    np.testing.assert_array_equal(pixels(page, '[data-stream="0"] canvas')[1], picture(3, LENGTH))
    live.kinds.still = False
    page.locator('[data-stream="0"] canvas[data-seq]').wait_for()
    expect(first.get_by_text("not stepping")).to_have_count(0)


@pytest.mark.long
def test_it_comes_back_by_itself_with_its_name(page: Any, live: SimpleNamespace) -> None:
    live.to(f"run/{GRID}/live")
    page.locator('[data-stream="0"] canvas[data-seq]').wait_for()
    live.kinds.drop()
    page.get_by_text("Connection lost").wait_for()
    until(lambda: live.kinds.viewers == ["", "e1.1"])
    expect(page.get_by_text("Connection lost")).to_have_count(0)
    live.kinds.came.clear()
    until(lambda: set(live.kinds.rendered()) == {0, 1, 2, 3})
    live.kinds.drop(1000)
    page.get_by_text("The run has ended").wait_for()


@pytest.mark.long
def test_many_pictures_are_one_with_a_name_for_each(page: Any, live: SimpleNamespace) -> None:
    live.to(f"run/{GRAPH}/live")
    cells = page.get_by_role("group", name="20 environments").get_by_role("link")
    expect(cells).to_have_count(20)
    until(lambda: any(message.mosaics for message in live.many.came))
    _, shown = pixels(page, ".mosaic canvas")
    y, x = TILE[0] * 2, TILE[1] * 3
    np.testing.assert_array_equal(shown[y : y + TILE[0], x : x + TILE[1]], tile(15, 1))
    assert live.many.wanted()["sub"] == tuple(range(20))

    cells.nth(0).focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Environment 6").wait_for()
    until(lambda: live.many.wanted()["sub"] == (6,) and live.many.wanted()["steps"] == (6,))
    page.get_by_text("[0.25, –]").wait_for()
    page.keyboard.press("Escape")
    expect(cells).to_have_count(20)


def test_flow_joins_transitions(page: Any, live: SimpleNamespace) -> None:
    control = {"type": "control", "viewer": "e1.1", "stream": 2}
    live.kinds.controls = [
        control | {"number": 1, "transition": "STARVED", "time": 1.79e9},
        control | {"number": 2, "transition": "RESUMED", "time": 1.79e9 + 2.5},
    ]
    live.to(f"run/{GRID}/flow")
    table = page.get_by_role("region", name="Intervals of starvation")
    table.get_by_text("2.5 s").wait_for()
    expect(table.get_by_role("row")).to_have_count(2)  # its head, and one interval however often it is said
    page.get_by_text("lost 0").wait_for()
    page.get_by_role("region", name="Viewers").get_by_text("38 ms").wait_for()
    expect(page.get_by_role("region", name="Credits of streams").get_by_role("row")).to_have_count(5)
    page.get_by_role("link", name=re.compile("^Health")).click()
    page.get_by_text("140 MB").first.wait_for()
