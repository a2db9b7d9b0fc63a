"""What notebook widgets send to their page, caught before it goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

Sent = list[tuple[dict[str, Any], list[bytes]]]


def caught(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """A list that every message of every widget goes to, content and buffers. Skips the test without anywidget."""
    widgets = pytest.importorskip("rolltape.dashboards.widgets")
    found: Sent = []

    def send(self: Any, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        json.dumps(content, allow_nan=False)
        found.append((content, list(buffers or ())))

    for kind in (widgets.LiveWidget, widgets.ReplayWidget):
        monkeypatch.setattr(kind, "send", send)
    return found
