"""A fleet's worker that tells the keeper what it sends and what was acknowledged, and whose clock may be set."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from rolltape.actors.env_worker import EnvWorker, WorkerOrder
from rolltape.actors.on_ray import links
from rolltape.schema.messages import Ack
from tests.ray.readback import digest_of_sent

CLOCK = "clock"
"""A file beside the lake: seconds by which the workers' wall clocks are wrong."""


class EnvWorkerNoting(EnvWorker):
    """Notes at the link to the writer: before a fragment is sent for the first time, and when it is acknowledged."""

    def __init__(self, order: WorkerOrder) -> None:
        folder = Path(order.run_path).parent.parent.parent
        _watch(folder / "keeper.socket", pytest.MonkeyPatch())
        _set_clock(folder / CLOCK)
        super().__init__(order)


def _watch(path: Path, patch: pytest.MonkeyPatch) -> None:
    keeper = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    keeper.connect(str(path))
    link = links.RayWriterLink
    hold, append, answer = link.hold, link.append, link.answer
    digests: dict[int, tuple[Any, str]] = {}
    told: dict[Any, int] = {}

    def tell(note: dict[str, Any]) -> None:
        keeper.send(json.dumps(note).encode())

    def holding(this: Any, batches: dict[str, Any]) -> Any:
        payload = hold(this, batches)
        digests[id(payload)] = payload, digest_of_sent(batches)
        return payload

    def appending(this: Any, header: Any, payload: Any) -> Any:
        tell({"sent": [*header.key, header.sequence], "digest": digests[id(payload)][1]})
        return append(this, header, payload)

    def answering(this: Any, handle: Any) -> Ack:
        ack = answer(this, handle)
        if ack.status == "durable":
            for sequence in range(told.get(ack.key, 0) + 1, ack.sequence + 1):
                tell({"acked": [*ack.key, sequence]})
            told[ack.key] = max(told.get(ack.key, 0), ack.sequence)
        return ack

    patch.setattr(link, "hold", holding)
    patch.setattr(link, "append", appending)
    patch.setattr(link, "answer", answering)


def _set_clock(path: Path) -> None:
    """From now on wall clocks of this process are wrong by what `path` says, when it says something."""
    real, real_ns = time.time, time.time_ns

    def wrong_s() -> float:
        try:
            return float(path.read_text())
        except (OSError, ValueError):
            return 0.0

    time.time = lambda: real() + wrong_s()
    time.time_ns = lambda: real_ns() + int(wrong_s() * 1e9)


def set_clock(folder: Path, seconds: float) -> None:
    """Make the wall clocks of workers whose lake lies in `folder` wrong."""
    temporary = folder / f".{CLOCK}.{os.getpid()}"
    temporary.write_text(str(seconds))
    temporary.rename(folder / CLOCK)
