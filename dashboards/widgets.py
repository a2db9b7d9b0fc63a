"""Widgets of a notebook: a live run, and a player of an episode. Needs the extra `notebook`.

Rules:
1. A live widget's page opens its own socket to the gateway: a busy kernel must not freeze it. Only where no way leads
   there does the kernel carry, at most `CARRIED_HZ` pictures a second of each stream.
2. A player asks the kernel for pictures in blocks, and the kernel reads them from the lake: no server is needed.
3. The token is in the widget's first state, so that a cell that goes on working shows it; the page takes it out
   before a notebook could be saved with it.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anywidget
import numpy as np
import traitlets

from rolltape.schema.errors import ConfigError, LakeNotFound, RolltapeError
from rolltape.schema.render_payload import payload_to_json

from .carrier import Carrier
from .live_address import LiveAddress, live_address
from .picture_blocks import picture_block

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

SCRIPT: Final = Path(__file__).parent / "static" / "widget.js"
MOST_TILES: Final = 64
MOST_ASKED: Final = 64
"""Pictures or payloads of one question."""
MOST_REWARDS: Final = 20_000
FPS: Final = 30.0
BEGINS_S: Final = 15.0
YOUNG_S: Final = 60.0
"""A run that is younger may not have its gateway yet: so long it is waited for."""


class LiveWidget(anywidget.AnyWidget):
    """Tiles of a run that is recorded. Made by `Run.live`."""

    _esm = SCRIPT
    kind = traitlets.Unicode("live").tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    door = traitlets.Dict().tag(sync=True)

    def __init__(self, address: LiveAddress, *, tiles: int, size: int, hz: float | None) -> None:
        about = {"run": address.run_id, "tiles": tiles, "size": size, "hz": hz}
        door = {"host": address.host, "port": address.port, "token": address.token}
        super().__init__(about=about, door=door)
        self._address, self._tiles, self._size = address, tiles, size
        self._carrier: Carrier | None = None
        self._lock = threading.Lock()
        self.on_msg(self._heard)

    def _heard(self, _: Any, content: Any, buffers: list[Any]) -> None:
        kind = content.get("type") if isinstance(content, dict) else None
        with self._lock:
            if kind == "carry" and self._carrier is None:
                self._carrier = Carrier(self._address, self._tiles, self._size, self._told, self._sent)
            elif kind == "leave":
                self._leave()

    def _told(self, message: dict[str, Any]) -> None:
        self.send({"type": "told", "told": message})

    def _sent(self, frame: bytes) -> None:
        self.send({"type": "records"}, buffers=[frame])

    def _leave(self) -> None:
        if self._carrier is not None:
            self._carrier.close()
            self._carrier = None

    def close(self) -> None:
        """Close it, and what it carries."""
        self._leave()
        super().close()


class ReplayWidget(anywidget.AnyWidget):
    """A player of one episode. Made by `Run.replay`."""

    _esm = SCRIPT
    kind = traitlets.Unicode("replay").tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    door = traitlets.Dict().tag(sync=True)

    def __init__(self, run: Run, episode: int, kind: str | None = None) -> None:
        found = run.episode(episode)
        self._run, self._number = run, found.episode
        self._frames: Any = None
        why = ""
        try:
            self._frames = run.frames(found.episode, kind=kind)
        except RolltapeError as error:
            why = self._no_frames(error)
        info = run.info
        fps = ((info.get("env") or {}).get("metadata") or {}).get("render_fps")
        rewards = found.rewards[:MOST_REWARDS] if found.length <= MOST_REWARDS else found.rewards[:0]
        about = {
            "env": str(info.get("env_id") or "?"),
            "episode": found.episode,
            "length": found.length,
            "status": found.status,
            "total": found.return_ if found.return_ is not None and np.isfinite(found.return_) else None,
            "fps": float(fps or FPS),
            "ts": [] if self._frames is None else self._frames.t.tolist(),
            "rewards": np.nan_to_num(rewards, posinf=0.0, neginf=0.0).tolist(),
            "why": why,
        }
        super().__init__(about=about, door={})
        self.on_msg(self._heard)

    def _no_frames(self, error: RolltapeError) -> str:
        """Why there are no pictures; empty where something stands for them."""
        try:
            payload = self._run.render_payload(self._number, 0)
        except RolltapeError:
            return str(error)
        return "" if payload is not None and payload.kind != "rgb" else str(error)

    def _heard(self, _: Any, content: Any, buffers: list[Any]) -> None:
        if not isinstance(content, dict) or type(number := content.get("id")) is not int:
            return
        try:
            answer, block = self._answer(content)
        except (RolltapeError, ValueError, KeyError, TypeError) as error:
            self.send({"type": "error", "id": number, "message": str(error)})
        else:
            self.send({**answer, "id": number}, buffers=block)

    def _answer(self, content: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        first, count = int(content["first"]), max(1, min(int(content["count"]), MOST_ASKED))
        if content["type"] == "pictures":
            if self._frames is None:
                raise LakeNotFound(f"Episode {self._number} has no pictures.")
            return {"type": "pictures"}, [picture_block(self._frames, first, count)]
        if content["type"] == "payloads":
            last = min(first + count, int(self.about["length"]) + 1)
            found = {str(t): self._run.render_payload(self._number, t) for t in range(max(0, first), last)}
            payloads = {t: None if payload is None else payload_to_json(payload) for t, payload in found.items()}
            return {"type": "payloads", "payloads": json.loads(json.dumps(payloads))}, []
        raise ConfigError(f"a widget asks for pictures or payloads, not {content['type']!r}")


def live(run: Run, tiles: int = 16, size: int = 160, hz: float | None = None) -> LiveWidget:
    """See `Run.live`."""
    if not 1 <= tiles <= MOST_TILES:
        raise ConfigError(f"tiles: expected 1 to {MOST_TILES}, got {tiles!r}.")
    if not 16 <= size <= 1024:
        raise ConfigError(f"size: expected 16 to 1024 pixels, got {size!r}.")
    if hz is not None and not 0.2 <= hz <= 60:
        raise ConfigError(f"hz: expected 0.2 to 60 pictures a second, or None, got {hz!r}.")
    address = _served(run)
    if isinstance(address, str):
        raise LakeNotFound(
            f"Run {run.run_id} ({run.status}) cannot be watched live: {address}. "
            "run.replay(episode) shows what is recorded of it."
        )
    return LiveWidget(address, tiles=tiles, size=size, hz=hz)


def _served(run: Run) -> LiveAddress | str:
    """Where it is served, or why it is not; the gateway of a run that has just begun is waited for."""
    found = live_address(run.folder)
    until = time.monotonic() + BEGINS_S
    while isinstance(found, str) and time.monotonic() < until:
        if time.time() - run.created.timestamp() > YOUNG_S or run.status != "running":
            break
        time.sleep(0.1)  # the address is a file that the gateway writes
        found = live_address(run.folder)
    return found


def replay(run: Run, episode: int, kind: str | None = None) -> ReplayWidget:
    """See `Run.replay`."""
    return ReplayWidget(run, episode, kind)
