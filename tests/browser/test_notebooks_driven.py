"""Widgets in the notebooks that people use, and the page behind jupyter-server-proxy, in a browser."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from rolltape.dashboards.app import create_app
from rolltape.dashboards.auth import Access
from rolltape.dashboards.server import bound_socket, server_of
from rolltape.storage.lake import open_lake
from tests.lakes import new_run
from tests.page_lake import GRID, page_lake

from .noise_gateway import NoiseGateway
from .notebooks import TOKEN, jupyter, marimo
from .scripted_gateway import ScriptedGateway, tile

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

RECORDINGS = Path(__file__).parent.parent / "golden" / "recordings"
WAIT_MS = 120_000
PIXELS = """(canvas) => {
  const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [width, height, ...data];
}"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[NoiseGateway]:
    made = NoiseGateway(tmp_path / "lake", new_run(tmp_path / "lake").run_id, goes_on=True)
    yield made
    made.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1200, "height": 1000})
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


def pixels(canvas: Any) -> np.ndarray:
    width, height, *values = canvas.evaluate(PIXELS)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def number(page: Any) -> int:
    """Of the picture that the live widget shows."""
    return int(page.get_by_role("img", name="0/agent_0: picture").get_attribute("aria-label").split()[-1])


def goes_on(page: Any) -> None:
    """Pictures come, and what is shown is acknowledged."""
    before, until = number(page), time.monotonic() + WAIT_MS / 1e3
    while number(page) < before + 5:
        assert time.monotonic() < until
        page.wait_for_timeout(50)


def plays(page: Any) -> None:
    """The player shows the recorded pixels."""
    run = open_lake(RECORDINGS / "v1-atari").run()
    page.locator('[data-shown="0"]').wait_for()
    page.get_by_role("slider", name="Step of the episode").press("ArrowRight")
    page.locator('[data-shown="1"]').wait_for()
    np.testing.assert_array_equal(pixels(page.locator(".rt-player > canvas").first), run.frame(0, 1))


LIVE = "from rolltape.storage.lake import open_lake\nwidget = open_lake({lake!r}).run().live(tiles=2)\nwidget"
REPLAY = "open_lake({golden!r}).run().replay(0)"
BUSY = "import time\nfor _ in range(3000):\n    time.sleep(0.1)"


def test_in_jupyterlab(page: Any, gateway: NoiseGateway, tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab")
    nbformat = pytest.importorskip("nbformat")
    sources = [LIVE.format(lake=str(tmp_path / "lake")), REPLAY.format(golden=str(RECORDINGS / "v1-atari")), BUSY]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "driven.ipynb")
    with jupyter(tmp_path) as base:
        page.goto(f"{base}/lab/tree/driven.ipynb?token={TOKEN}")
        page.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.keyboard.press("Shift+Enter")
        page.locator("[data-route]").wait_for()
        assert page.locator("[data-route]").get_attribute("data-route") == "through the Jupyter server"
        plays(page)
        page.locator(".jp-Notebook .jp-Cell .cm-content").nth(2).click()
        page.keyboard.press("Shift+Enter")
        page.get_by_text("[*]:").wait_for()
        goes_on(page)  # the kernel is busy: the widget has a socket of its own
        assert page.get_by_text("[*]:").count() == 1
        page.get_by_role("img", name="1/agent_0: Text: hello").wait_for()
        assert {tuple(pixels(page.locator("figure canvas").first)[0, 0]) for _ in range(9)} <= {
            tuple(frame[0, 0]) for frame in gateway.frames
        }
        page.keyboard.press("Control+s")
        saved = tmp_path / "driven.ipynb"
        until = time.monotonic() + 60
        while "widget-view" not in saved.read_text() and time.monotonic() < until:
            page.wait_for_timeout(100)
        assert "widget-view" in saved.read_text() and gateway.access.token not in saved.read_text()


MARIMO = """import marimo
app = marimo.App()

@app.cell
def _():
    {live}
    return

@app.cell
def _():
    from rolltape.storage.lake import open_lake as again
    again({golden!r}).run().replay(0)
    return
"""


def test_in_marimo(page: Any, gateway: NoiseGateway, tmp_path: Path) -> None:
    pytest.importorskip("marimo")
    live = LIVE.format(lake=str(tmp_path / "lake")).replace("\n", "\n    ")
    (tmp_path / "driven.py").write_text(MARIMO.format(live=live, golden=str(RECORDINGS / "v1-atari")))
    with marimo(tmp_path / "driven.py") as address:
        page.goto(address)
        page.locator('[data-route="directly"]').wait_for()
        goes_on(page)
        plays(page)


def test_the_page_behind_jupyter_server_proxy(page: Any, tmp_path: Path) -> None:
    pytest.importorskip("jupyter_server_proxy")
    gateway = ScriptedGateway()
    listening = bound_socket("127.0.0.1", 0)
    access = Access.make(listening.getsockname()[1])
    server = server_of(create_app(page_lake(tmp_path / "lake"), access, live=gateway), signals=False)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    with jupyter(tmp_path) as base:
        page.goto(f"{base}/tree?token={TOKEN}")  # Jupyter's own cookie
        proxied = f"{base}/proxy/{access.port}/"
        page.goto(f"{proxied}?rt={access.token}")
        page.get_by_role("link", name="Noise-v0").wait_for()
        assert page.url.split("#")[0] == proxied, "without the token, and below the prefix"
        page.get_by_role("link", name="Noise-v0").click()
        expect(page.locator("img.thumb").first).to_have_js_property("complete", True)
        assert page.locator("img.thumb").first.evaluate("(image) => image.naturalWidth") > 0

        page.goto(f"{proxied}#/run/{GRID}/live")
        page.locator('[data-stream="0"] canvas[data-seq]').wait_for()
        canvas = page.locator('[data-stream="0"] canvas')
        sequence, shown = canvas.evaluate(f"(canvas) => [Number(canvas.dataset.seq), ({PIXELS})(canvas)]")
        width, height, *values = shown
        found = np.array(values, np.uint8).reshape(height, width, 4)[..., :3]
        np.testing.assert_array_equal(found, tile(0, sequence))
        until = time.monotonic() + 60
        while set(gateway.rendered()) != {0, 1, 2, 3} and time.monotonic() < until:
            page.wait_for_timeout(50)
        assert set(gateway.rendered()) == {0, 1, 2, 3}
        page.goto(f"{base}/proxy/{access.port}/api/runs")
        assert json.loads(page.inner_text("body"))["total"] == 4
        page.context.clear_cookies(name=access.cookie)
        page.goto(f"{base}/proxy/{access.port}/api/runs")
        assert json.loads(page.inner_text("body"))["error"] == "token"
    server.should_exit = True
    thread.join(10)
    assert wrong == []
