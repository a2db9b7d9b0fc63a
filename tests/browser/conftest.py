"""One Chromium and one server for all tests of the page. Every request that would leave this machine fails its test."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from rolltape.dashboards.app import create_app
from rolltape.dashboards.auth import Access
from rolltape.dashboards.server import bound_socket, server_of
from tests.page_lake import page_lake

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LOCAL = {"127.0.0.1", "localhost", "[::1]"}


@dataclass(frozen=True)
class Served:
    """A server: its address, with and without the token."""

    base: str
    access: Access

    def to(self, place: str = "") -> str:
        return f"{self.base}#/{place}"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    listening = bound_socket("127.0.0.1", 0)
    port = listening.getsockname()[1]
    access = Access.make(port)
    server = server_of(create_app(page_lake(tmp_path_factory.mktemp("lake")), access), signals=False)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield Served(f"http://127.0.0.1:{port}/", access)
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: `make browser` installs Debian's")
        pytest.skip("no Chromium: install the package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(blank: Any, served: Served) -> Any:
    """A page with the token."""
    blank.goto(served.access.url())
    return blank


@pytest.fixture
def blank(chromium: Any) -> Iterator[Any]:
    """A page, 1400 px wide. Requests elsewhere, errors and refused contents fail the test at its end."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    made = context.new_page()
    wrong: list[str] = []
    made.on("request", lambda r: wrong.append(r.url) if not _is_here(r.url) else None)
    made.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    made.on("console", lambda m: wrong.append(m.text) if "Content Security Policy" in m.text else None)
    yield made
    context.close()
    assert wrong == []


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("blob", "data") or parts.hostname in LOCAL
