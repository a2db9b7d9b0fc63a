"""The page in a real browser: real rows and pixels, by keyboard alone, for a screen reader, and only for who may."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.page_lake import GAPS, GRAPH, GRID, LENGTH, PICTURES, SHAPE, picture

from .conftest import Served

PAGES = {
    "runs": ("", "Runs"),
    "episodes": (f"run/{PICTURES}/episodes", "Episodes"),
    "replay": (f"run/{PICTURES}/episode/1?t=3&with=-:2", "Episode 1"),
    "replay of a grid": (f"run/{GRID}/episode/0?t=2", "Episode 0"),
    "gaps": (f"run/{GAPS}/episode/0", "Episode 0"),
    "logs": (f"run/{GAPS}/logs", "Logs"),
    "config": (f"run/{GRID}/config", "Config"),
    "form": ("settings?q=commit", "Settings form"),
    "schemas": ("schemas", "Schemas"),
    "health": ("health", "Health"),
    "live": (f"run/{GRID}/live", "Live"),
    "flow": (f"run/{GAPS}/flow", "Flow"),
    "compare": (f"compare?runs={GRID},{GRAPH}", "Compare 2 runs"),
}


def opened(page: Any, served: Served, place: str, heading: str) -> None:
    page.goto(served.to(place))
    page.get_by_role("heading", name=re.compile(f"^{heading}")).first.wait_for()
    expect(page.locator(".loading")).to_have_count(0)


def pixels(page: Any) -> np.ndarray:
    """What the first picture on the page shows, (H, W, 3)."""
    flat = page.evaluate(
        """() => { const c = document.querySelector("canvas.picture");
        return [c.width, c.height, ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }"""
    )
    return np.array(flat[2:], np.uint8).reshape(flat[1], flat[0], 4)[..., :3]


def at(page: Any, t: int) -> None:
    page.locator(f'canvas.picture[data-t="{t}"]').first.wait_for()


def violations(page: Any, **options: Any) -> str:
    """What axe finds wrong, or nothing."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options=options or None)
    return found.generate_report() if found.violations_count else ""


def test_the_home_of_replay_is_accessible(page: Any, served: Served) -> None:
    opened(page, served, *PAGES["replay of a grid"])
    assert violations(page) == ""


@pytest.mark.long
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_accessible_and_fits(name: str, page: Any, served: Served) -> None:
    opened(page, served, *PAGES[name])
    assert violations(page) == ""
    page.emulate_media(color_scheme="dark")
    assert violations(page, runOnly=["color-contrast"]) == "", "dark"
    page.set_viewport_size({"width": 600, "height": 900})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 600, f"{wide} px wide on 600"


def test_pixels_are_those_that_were_recorded(page: Any, served: Served) -> None:
    opened(page, served, f"run/{PICTURES}/episode/3?t=17", "Episode 3")
    at(page, 17)
    shown = pixels(page)
    assert shown.shape == SHAPE
    np.testing.assert_array_equal(shown, picture(3, 17))


def test_replay_by_keyboard_alone(page: Any, served: Served) -> None:
    page.goto(served.to())
    page.get_by_role("link", name="Noise-v0").wait_for()
    page.keyboard.press("Tab")
    for _ in range(40):
        if page.evaluate("document.activeElement.textContent") == "Noise-v0":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="2", exact=True).focus()
    page.keyboard.press("Enter")
    at(page, 0)
    for key, t in ((".", 1), ("ArrowRight", 2), ("Shift+ArrowRight", 12), (",", 11), ("End", LENGTH), ("Home", 0)):
        page.keyboard.press(key)
        at(page, t)
        np.testing.assert_array_equal(pixels(page), picture(2, t))
    for _ in range(6):
        page.keyboard.press("+")
    page.keyboard.press(" ")
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Play", exact=True).wait_for()  # at its end it stops by itself
    at(page, LENGTH)
    page.wait_for_url(re.compile(f"t={LENGTH}"))
    page.reload()
    at(page, LENGTH)


def test_grids_and_graphs_have_words(page: Any, served: Served) -> None:
    opened(page, served, f"run/{GRID}/episode/0?t=2", "Episode 0")
    page.get_by_role("img", name="Grid of 3 rows and 4 columns: agent at row 1, column 3 facing right").wait_for()
    page.keyboard.press(".")
    page.get_by_role("img", name="agent at row 1, column 4 facing right").wait_for()
    opened(page, served, f"run/{GRAPH}/episode/0?t=1", "Episode 0")
    page.get_by_role("img", name="Graph of 3 nodes and 2 edges, agent at b").wait_for()


def test_what_is_missing_is_said(page: Any, served: Served) -> None:
    opened(page, served, f"run/{GAPS}/episode/0", "Episode 0")
    page.get_by_text("t 10–19").wait_for()
    page.get_by_text("Record with --frames render").wait_for()
    opened(page, served, f"run/{GAPS}/episodes", "Episodes")
    page.get_by_text("This run has no end").wait_for()
    page.get_by_text("not known yet").wait_for()
    opened(page, served, f"run/{GAPS}/flow", "Flow")
    page.get_by_text("Nothing is declared yet").wait_for()
    page.goto(served.to(f"run/{GRID}/episode/77"))
    page.get_by_role("alert").filter(has_text="has no episode 77").wait_for()
    page.goto(served.to("run/nonesuch/episodes"))
    page.get_by_role("heading", name="No such run").wait_for()
    opened(page, served, f"run/{GAPS}/logs", "Logs")
    page.locator("td code", has_text="rolltape verify").wait_for()  # names as code, not between backticks
    page.route(f"**/api/runs/{GAPS}", lambda route: None)
    page.goto(served.to(f"run/{GAPS}/flow"))
    page.get_by_text("Reading the run").first.wait_for()
    expect(page.get_by_text("This run is over")).to_have_count(0)  # nobody has said so yet


def test_filters_stand_in_the_address(page: Any, served: Served) -> None:
    opened(page, served, f"run/{GRID}/episodes?min_return=20", "Episodes")
    page.get_by_text("of 4 episodes").wait_for()
    page.get_by_label("Least return").fill("25")
    page.keyboard.press("Enter")
    page.get_by_text("of 2 episodes").wait_for()
    assert "min_return=25" in page.url
    page.get_by_role("button", name="Return").click()
    page.wait_for_url(re.compile("sort=return"))


def test_the_form_gives_toml_and_a_command(page: Any, served: Served) -> None:
    opened(page, served, "settings?q=durable.commit", "Settings form")
    page.locator("[id='set-durable.commit.max_age_s']").fill("0.4")
    page.get_by_label("TOML").filter(has_text="[durable.commit]\nmax_age_s = 0.4").wait_for()
    assert "--set durable.commit.max_age_s=0.4" in page.locator("pre").first.inner_text()
    page.locator("[id='set-durable.commit.max_age_s']").fill("-1")
    page.get_by_text("Expected more than 0").wait_for()
    page.get_by_label("TOML").filter(has_text="# all defaults").wait_for()


def test_without_a_token_it_says_what_to_do(chromium: Any, served: Served) -> None:
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(f"{served.base}?rt=wrong")
        page.get_by_role("heading", name="Access needs a token").wait_for()
        assert "rt=" not in page.url and context.cookies() == []
    finally:
        context.close()


def test_another_origin_reads_nothing(page: Any, served: Served) -> None:
    other = served.base.replace("127.0.0.1", "localhost")
    page.route(f"{other}**", lambda route: route.fulfill(body="<p>another site</p>", content_type="text/html"))
    page.goto(other)
    said = page.evaluate(
        """async (base) => { try { const a = await fetch(base + "api/runs", {credentials: "include"});
        return a.status; } catch (e) { return "refused"; } }""",
        served.base,
    )
    assert said == "refused"
    code = page.evaluate(
        """(base) => new Promise((done) => { const s = new WebSocket(base.replace("http", "ws") + "api/live?run=x");
        s.onclose = (e) => done(e.code); })""",
        served.base,
    )
    assert code in (4403, 1006), "refused by the server, or by the browser before"
