"""The notebook's widgets in a browser: the page's side as it is shipped, the kernel's side as it is, a notebook between."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rolltape.storage.lake import open_lake
from tests.lakes import new_run
from tests.widget_messages import Sent, caught

from .noise_gateway import NoiseGateway

SCRIPT = Path(__file__).parents[2] / "dashboards" / "static" / "widget.js"
RECORDINGS = Path(__file__).parent.parent / "golden" / "recordings"
PAGE = """<!doctype html><meta charset="utf-8"><style>body{color:#eee;background:#111}</style><div id="cell"></div>
<script type="module">
import widget from "./widget.js";
const {state} = await (await fetch("./state.json")).json();
const heard = new Set();
window.model = {
  get: (name) => state[name], set: (name, value) => { state[name] = value; },
  on: (event, f) => heard.add(f), off: (event, f) => heard.delete(f),
  send: async (content) => window.fromKernel(await window.toKernel(content)),
};
window.fromKernel = (answers) => {
  for (const [content, buffers] of answers) {
    const views = buffers.map((text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer));
    for (const f of heard) f(content, views);
  }
};
widget.initialize({model: {...window.model}});  // an object for each of both, as anywidget and marimo do it
window.close_widget = widget.render({model: {...window.model}, el: document.getElementById("cell")});
</script>"""
PIXELS = """async (n) => {
  const canvas = document.querySelectorAll("#cell figure canvas, #cell .rt-player > canvas, .rt-player > canvas")[n];
  const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [width, height, Array.from(data)];
}"""


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 900, "height": 700})
    context.set_default_timeout(30_000)
    made = context.new_page()
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    yield made
    context.close()
    assert wrong == []


def show(page: Any, widget: Any, sent: list) -> None:
    """Show a widget in a page of another origin, with its own kernel side answering."""
    state = {name: widget.get_state()[name] for name in ("kind", "about", "door")}

    def kernel(content: dict[str, Any]) -> list:
        before = len(sent)
        widget._handle_custom_msg(content, [])
        return [[said, [base64.b64encode(part).decode() for part in parts]] for said, parts in sent[before:]]

    page.expose_function("toKernel", kernel)
    served = {
        "/": ("text/html", PAGE),
        "/widget.js": ("text/javascript", SCRIPT.read_text()),
        "/state.json": ("application/json", json.dumps({"state": state})),
    }

    class Notebook(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = served.get(self.path, ("text/plain", ""))
            self.send_response(200)
            self.send_header("content-type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *args: Any) -> None:
            pass

    # A real server: to Chromium an answer that a test makes up comes from outside, and may not open local sockets.
    server = ThreadingHTTPServer(("127.0.0.1", 0), Notebook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page.on("close", lambda _: server.shutdown())
    page.goto(f"http://127.0.0.1:{server.server_port}/")


def pixels(page: Any, n: int = 0) -> np.ndarray:
    width, height, values = page.evaluate(PIXELS, n)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return caught(monkeypatch)


def test_an_episode_is_played(page: Any, sent: list) -> None:
    run = open_lake(RECORDINGS / "v1-atari").run()
    show(page, run.replay(0), sent)
    page.wait_for_selector('[data-shown="0"]')
    assert np.array_equal(pixels(page), run.frame(0, 0))
    scrub = page.get_by_role("slider", name="Step of the episode")
    scrub.press("ArrowRight")
    scrub.press("ArrowRight")
    page.wait_for_selector('[data-shown="2"]')
    assert np.array_equal(pixels(page), run.frame(0, 2))
    length = run.episode(0).length
    page.get_by_role("button", name="Play").click()
    page.wait_for_selector(f'[data-shown="{length}"]')
    page.get_by_role("button", name="Play").wait_for()  # it stands at the end
    assert f"t {length} of {length}" in page.inner_text("#cell")
    assert np.array_equal(pixels(page), run.frame(0, length))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[NoiseGateway]:
    run = new_run(tmp_path)
    made = NoiseGateway(tmp_path, run.run_id)
    yield made
    made.close()


def test_a_live_run_on_a_socket_of_its_own(page: Any, sent: list, gateway: NoiseGateway, tmp_path: Path) -> None:
    show(page, open_lake(tmp_path).run().live(tiles=2), sent)
    page.wait_for_selector('[data-route="directly"]')
    page.get_by_text("1,234 steps").wait_for()
    page.get_by_role("img", name="0/agent_0: picture 8").wait_for()
    page.get_by_role("img", name="1/agent_0: Text: hello").wait_for()
    assert np.array_equal(pixels(page), gateway.frames[1])
    assert "2 of 3 streams" in page.inner_text("#cell") and "ep 3 t 17 r 2.5" in page.inner_text("#cell")
    assert next(said["sub"] for said in gateway.heard if said.get("sub")) == [0, 1]
    until = time.monotonic() + 20
    while (shown := gateway.shown()) != {0: 8, 1: 5} and time.monotonic() < until:
        page.wait_for_timeout(20)
    assert shown == {0: 8, 1: 5}
    assert page.evaluate("window.model.get('door')") == {}  # what a notebook saves has no token
    assert sent == []  # the kernel was not needed


def test_where_no_way_leads_the_kernel_carries(page: Any, sent: list, gateway: NoiseGateway, tmp_path: Path) -> None:
    widget = open_lake(tmp_path).run().live(tiles=2)
    widget.door = dict(widget.door, port=1)
    show(page, widget, sent)
    page.wait_for_selector('[data-route="kernel"]')
    page.get_by_text("at most 5 a second").wait_for()
    until = time.monotonic() + 30
    while not any(said["type"] == "records" for said, _ in sent) and time.monotonic() < until:
        page.wait_for_timeout(20)
    answers = [[said, [base64.b64encode(part).decode() for part in parts]] for said, parts in sent]
    page.evaluate("(answers) => window.fromKernel(answers)", answers)
    page.get_by_role("img", name="0/agent_0: picture 8").wait_for()
    assert np.array_equal(pixels(page), gateway.frames[1])
    page.evaluate("window.fromKernel([[{type: 'told', told: {type: 'end', status: 'completed'}}, []]])")
    page.get_by_text("the run has ended: completed").wait_for()
    assert page.locator("figcaption .rt-state").all_inner_texts() == ["ENDED", "ENDED"]
    widget.close()


def test_a_wrong_token_is_not_let_in(gateway: NoiseGateway, tmp_path: Path) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    run = open_lake(tmp_path).run().run_id
    address = f"ws://127.0.0.1:{gateway.port}/api/live?run={run}"
    right = "rolltape.token." + base64.urlsafe_b64encode(b"s3cret+/=s3cret+/=").decode().rstrip("=")
    wrong = "rolltape.token." + base64.urlsafe_b64encode(b"guess").decode().rstrip("=")
    elsewhere = "https://evil.example"
    with connect(address, subprotocols=["rolltape.v1", right], origin=elsewhere, proxy=None) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "rolltape.v1"
        assert json.loads(socket.recv())["type"] == "hello"
    for shown, code in (
        (["rolltape.v1", wrong], 4403),
        (["rolltape.v1"], 4403),
        (["rolltape.v1", "rolltape.token.%%%"], 4403),
    ):
        with connect(address, subprotocols=shown, origin=elsewhere, proxy=None) as socket:  # type: ignore[arg-type]
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code
    with connect(address, subprotocols=["rolltape.v1", wrong], proxy=None) as socket:  # type: ignore[arg-type]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401
