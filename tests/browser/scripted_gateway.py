"""A gateway that follows a script: it speaks the wire as the real one does, and says what the page answered."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import Any

import numpy as np
from PIL import Image
from starlette.websockets import WebSocket, WebSocketDisconnect

from rolltape.dashboards.wire import JSON, MOSAIC, PAYLOAD, PICTURE, PNG, RAW, STEP, Message, Record, heard, pack, text
from rolltape.schema.causes import CAUSES
from rolltape.schema.render_payload import (
    GraphEdge,
    GraphNode,
    GraphPayload,
    GridItem,
    GridPayload,
    TextPayload,
    payload_to_json,
)

TILE = (40, 30)
KINDS = ("rgb", "grid", "graph", "text")


def tile(stream: int, sequence: int) -> np.ndarray:
    """The picture of a stream: noise, another one for each number."""
    return np.random.default_rng([stream, sequence]).integers(0, 256, (*TILE, 3), dtype=np.uint8)


class ScriptedGateway:
    """Serves `create_app(live=…)`. Tests change its fields, and read what came.

    Attributes:
        kinds: what each stream is.
        starved: streams that are said to be starved.
        came: what viewers said, checked by the real protocol.
        sockets: the open ones.
        still: send no pictures.
    """

    def __init__(self, kinds: tuple[str, ...] = KINDS) -> None:
        self.kinds = kinds
        self.starved: set[int] = set()
        self.came: list[Message] = []
        self.viewers: list[str] = []
        self.sockets: list[WebSocket] = []
        self.still = False
        self.controls: list[dict[str, Any]] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    def rendered(self) -> dict[int, int]:
        """What was said to be shown, by stream."""
        shown: dict[int, int] = {}
        for message in list(self.came):
            for stream, sequence in message.rendered:
                assert sequence >= shown.get(stream, 0), "cumulative"
                shown[stream] = sequence
        return shown

    def wanted(self) -> dict[str, Any]:
        """The last wish of any viewer."""
        found: dict[str, Any] = {}
        for message in list(self.came):
            found |= message.wish
        return found

    def drop(self, code: int = 1001) -> None:
        """Close every socket, as when the gateway goes."""
        assert self.loop is not None
        for socket in list(self.sockets):
            asyncio.run_coroutine_threadsafe(socket.close(code), self.loop).result(5)

    async def __call__(self, socket: WebSocket, run: str) -> None:
        """One viewer."""
        self.loop = asyncio.get_running_loop()
        await socket.accept()
        self.sockets.append(socket)
        self.viewers.append(socket.query_params.get("viewer", ""))
        wish: dict[str, Any] = {"sub": (), "steps": ()}
        await socket.send_text(text(self._hello(run)))
        sender = asyncio.create_task(self._send(socket, wish))
        try:
            while True:
                message = heard(await socket.receive_text())
                self.came.append(message)
                wish.update(message.wish)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            sender.cancel()
            self.sockets.remove(socket)

    async def _send(self, socket: WebSocket, wish: dict[str, Any]) -> None:
        sequence = mosaics = ticks = 0
        if self._mosaic():
            streams = [i for i, kind in enumerate(self.kinds) if kind == "rgb"]
            columns = 6
            rows = -(-len(streams) // columns)
            size = [columns * TILE[1], rows * TILE[0]]
            await socket.send_text(
                text(
                    {"type": "layout", "number": 1, "columns": columns, "tile": [TILE[1], TILE[0]], "size": size}
                    | {"streams": streams}
                )
            )
        while True:
            if not self.still:
                sequence += 1
                records = [
                    self._record(i, sequence) for i in wish["sub"] if not (self._mosaic() and self.kinds[i] == "rgb")
                ]
                records += [self._step(i, sequence) for i in wish["steps"]]
                if self._mosaic() and wish["sub"]:
                    mosaics += 1
                    records.append(self._composed(mosaics))
                if records:
                    await socket.send_bytes(b"".join(pack(record) for record in records))
            if ticks % 5 == 0:
                for control in self.controls:
                    await socket.send_text(text(control))
                await socket.send_text(text(self._status(wish, sequence)))
            ticks += 1
            await asyncio.sleep(0.05)

    def _mosaic(self) -> bool:
        return self.kinds.count("rgb") > 16

    def _record(self, stream: int, sequence: int) -> Record:
        kind, now = self.kinds[stream], time.time()
        if kind == "rgb":
            return Record(PICTURE, RAW, stream, sequence, now, TILE[1], TILE[0], tile(stream, sequence).tobytes())
        if kind == "grid":
            agent = GridItem(name="agent", row=1, column=0)
            payload = GridPayload(rows=2, columns=2, tiles=("ice",), cells=((0, 0), (0, 0)), items=(agent,))
        elif kind == "graph":
            nodes = (GraphNode(id="root", role="agent"), GraphNode(id="leaf"))
            payload = GraphPayload(nodes=nodes, edges=(GraphEdge(source="root", target="leaf"),))
        else:
            payload = TextPayload(lines=("position 0.5", "<b>velocity</b> -1"))
        body = json.dumps(payload_to_json(payload)).encode()
        return Record(PAYLOAD, JSON, stream, sequence, now, 0, 0, body)

    def _step(self, stream: int, sequence: int) -> Record:
        step = {"episode": 3, "t": sequence, "action": 1, "reward": 0.5, "return": sequence / 2, "terminated": False}
        body = json.dumps(step | {"truncated": False, "observation": [0.25, None]}).encode()
        return Record(STEP, JSON, stream, sequence, time.time(), 0, 0, body)

    def _composed(self, number: int) -> Record:
        streams = [i for i, kind in enumerate(self.kinds) if kind == "rgb"]
        rows = -(-len(streams) // 6)
        whole = np.zeros((rows * TILE[0], 6 * TILE[1], 3), np.uint8)
        for i, stream in enumerate(streams):
            y, x = i // 6 * TILE[0], i % 6 * TILE[1]
            whole[y : y + TILE[0], x : x + TILE[1]] = tile(stream, 1)
        out = io.BytesIO()
        Image.fromarray(whole).save(out, "PNG")
        return Record(MOSAIC, PNG, 1, number, time.time(), whole.shape[1], whole.shape[0], out.getvalue())

    def _hello(self, run: str) -> dict[str, Any]:
        return {
            "type": "hello",
            "protocol": 1,
            "epoch": "e1",
            "viewer": "e1.1",
            "resumed": False,
            "run": {"id": run, "env_id": "Scripted-v0", "kind": "fleet", "num_envs": len(self.kinds), "workers": 1}
            | {"frames": "none", "created": 1.79e9},
            "streams": [
                {"index": i, "id": f"{i}/agent_0", "env": "Scripted-v0", "sub_environment": i, "agent": "agent_0"}
                | {"worker": 0, "kind": kind}
                for i, kind in enumerate(self.kinds)
            ],
            "causes": {cause.name: {"stage": cause.stage, "meaning": cause.meaning} for cause in CAUSES.values()},
            "limits": {"pool": 200, "low_water": 10, "cap": 400, "depth": [2, 16], "size": [16, 1024]}
            | {"hz": [0.2, 60], "tiles": 64, "mosaic_above": 16, "steps": 8},
            "view": {"hz": 10, "size": 160, "quality": 80},
        }

    def _status(self, wish: dict[str, Any], sequence: int) -> dict[str, Any]:
        n = len(self.kinds)
        states = ["starved" if i in self.starved else "live" if i in wish["sub"] else "no_viewer" for i in range(n)]
        viewer = {"id": "e1.1", "me": True, "hidden": False, "mode": "tiles", "subscribed": len(wish["sub"])}
        viewer |= {"starved": len(self.starved), "window": 4, "fps": 9.8, "latency_ms": 38.0, "latency_p95_ms": 61.0}
        viewer |= {"published": sequence, "shown": sequence, "in_flight": 0, "skipped": {"conflated": 7}, "advice": ""}
        run = {"state": "live", "steps": sequence * 10, "episodes": 2, "frames": 0, "return_sum": 31.0}
        run |= {"steps_per_s": 200.0, "producers": 1, "durable_lag_s": 0.4, "durable_lost": 0, "waited_s": 0.0}
        return {
            "type": "status",
            "time": time.time(),
            "run": run,
            "queues": [{"name": "writer", "depth": 2, "bytes": 100_000}, {"name": "p0.0", "depth": 1, "bytes": 50_000}],
            "skipped": {"conflated": sequence},
            "streams": {
                **{"index": list(range(n)), "state": states, "kind": list(self.kinds), "credits": [198] * n},
                **{"pool": [200] * n, "published": [sequence] * n, "shown": [sequence] * n, "in_flight": [0] * n},
                **{"skipped": [{"conflated": 2}] * n, "transitions": [0] * n, "starved_s": [0.0] * n},
                **{"episode": [3] * n, "t": [sequence] * n, "return": [1.5] * n},
            },
            "viewers": [viewer],
            "gateway": {
                "uptime_s": 12.5,
                "memory_bytes": 140_000_000,
                "lag_s": 0.001,
                "sent_bytes": 1e6,
                "hub": "here",
            },
        }
