"""A real server with a gateway that says a few things, for widgets."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from rolltape.dashboards.app import create_app
from rolltape.dashboards.auth import Access
from rolltape.dashboards.pngs import png
from rolltape.dashboards.server import bound_socket, server_of
from rolltape.dashboards.wire import JSON, PAYLOAD, PICTURE, PNG, Record, pack
from rolltape.storage.lake import open_lake
from tests.ray.processes import wait_for

START_S = 120.0


class NoiseGateway:
    """Serves one run of a lake, and notes what it hears.

    Args:
        lake: its folder.
        run_id: of the run.
        goes_on: send the next picture whenever one was shown.
    """

    def __init__(self, lake: Path, run_id: str, goes_on: bool = False) -> None:
        self._goes_on = goes_on
        self.frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), np.uint8)
        self.heard: list[dict[str, Any]] = []
        self._socket = bound_socket("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self.access = Access.make(self.port, token="s3cret+/=s3cret+/=")
        app = create_app(open_lake(lake), self.access, live=self._serve)
        self._server = server_of(app, signals=False)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        said = {"protocol": 1, "host": "127.0.0.1", "port": self.port, "token": self.access.token}
        (lake / "runs" / run_id / "live.json").write_text(json.dumps(said))
        wait_for(lambda: self._server.started, "the server", START_S)

    async def _serve(self, socket: WebSocket, run: str) -> None:
        await socket.accept()
        streams = [{"index": i, "id": f"{i}/agent_0", "kind": "rgb"} for i in range(3)]
        about = {"id": run, "env_id": "Noise-v0"}
        await socket.send_json({"type": "hello", "protocol": 1, "viewer": "ab.1", "run": about, "streams": streams})
        columns = {"index": [0], "state": ["live"], "episode": [3], "t": [17], "return": [2.5]}
        counts = {"steps": 1234, "steps_per_s": 50, "durable_lag_s": 0.4, "durable_lost": 0}
        try:
            while True:
                said = await socket.receive_json()
                self.heard.append(said)
                shown = dict(said.get("rendered", [])).get(0, 0)
                if self._goes_on and shown >= 8:
                    await asyncio.sleep(0.05)
                    picture = png(self.frames[shown % 2])
                    await socket.send_bytes(pack(Record(PICTURE, PNG, 0, shown + 1, 0.0, 8, 6, picture)))
                if said.get("sub"):
                    grid = {"kind": "text", "lines": ["hello"], "facts": {}}
                    records = [
                        Record(PICTURE, PNG, 0, 7, 0.0, 8, 6, png(self.frames[0])),
                        Record(PICTURE, PNG, 0, 8, 0.0, 8, 6, png(self.frames[1])),
                        Record(PAYLOAD, JSON, 1, 5, 0.0, 0, 0, json.dumps(grid).encode()),
                    ]
                    await socket.send_bytes(b"".join(map(pack, records)))
                    await socket.send_json({"type": "status", "run": counts | {"state": "live"}, "streams": columns})
        except WebSocketDisconnect:
            pass

    def shown(self) -> dict[int, int]:
        """What was acknowledged, by stream."""
        return {stream: seq for said in list(self.heard) for stream, seq in said.get("rendered", [])}

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
