"""The browser that the page is measured in: Debian's Chromium without a screen, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZE: Any = {"width": 1400, "height": 900}


class NoBrowser(Exception):
    """There is none to measure with; the message says what to install."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; each `new_context` of it has empty caches. Raises NoBrowser."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise NoBrowser("The page is measured in Chromium, and there is none: `make browser` installs Debian's.")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise NoBrowser("The page is measured with Playwright, and it is missing: pip install playwright") from None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
