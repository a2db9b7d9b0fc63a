"""Whether the memory of a gateway stays flat: 1,000 streams and 8 viewers that come, look elsewhere, freeze and go.

Rules:
1. The gateway is a process of its own with real sockets; it is fed what it asks for, each picture a new array.
2. Of the viewers a half shows what it gets; of the others most read and never say that they have shown anything, and
   one reads nothing at all, so that its connection stalls, breaks and is made again. Half have tiles, half a mosaic.
3. Everybody looks at other streams every few seconds, so that all have been in view before anything is compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from statistics import median
from urllib.parse import parse_qs, urlsplit

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from rolltape.dashboards.wire import MOSAIC, PICTURE, unpack
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.scripts.bench.gateway_host import Settings, served

from .slow_writer import drift

TITLE = "whether a gateway's memory stays flat with 1,000 streams and 8 viewers, for ten minutes"
STREAMS, VIEWERS, IN_VIEW = 1_000, 8, 64
HZ = 4.0
SECONDS, SAMPLE_S = 600.0, 0.5


class _Viewer:
    """One viewer, by its number: even ones show, odd ones do not, the last does not read."""

    def __init__(self, number: int, turn_s: float) -> None:
        self._number, self._turn_s = number, turn_s
        self.shows, self.reads = number % 2 == 0, number != VIEWERS - 1
        self._mode = "mosaic" if number % 4 > 1 else "tiles"
        self._turn = 0
        self.shown = self.connections = 0

    async def watch(self, address: str, token: str) -> None:
        """Connect, and again whenever that ends."""
        headers = {"Authorization": f"Bearer {token}"}
        while True:
            with contextlib.suppress(WebSocketException, OSError):
                async with connect(address, additional_headers=headers, compression=None, proxy=None) as socket:
                    self.connections += 1
                    await asyncio.gather(self._look(socket), self._read(socket))
            await asyncio.sleep(1.0)

    async def _look(self, socket: ClientConnection) -> None:
        while True:
            first = (self._number * STREAMS // VIEWERS + self._turn * IN_VIEW) % STREAMS
            streams = [(first + place) % STREAMS for place in range(IN_VIEW)]
            await socket.send(json.dumps({"sub": streams, "size": 160, "mode": self._mode}))
            self._turn += 1
            await asyncio.sleep(self._turn_s)

    async def _read(self, socket: ClientConnection) -> None:
        if not self.reads:
            await asyncio.Event().wait()
        async for said in socket:
            if not isinstance(said, bytes) or not self.shows:
                continue
            records = list(unpack(said))
            answer: dict[str, object] = {
                "rendered": [[r.stream, r.sequence] for r in records if r.kind == PICTURE],
            }
            if mosaics := [r.sequence for r in records if r.kind == MOSAIC]:
                answer["mosaics"] = mosaics[-1]
            self.shown += len(records)
            await socket.send(json.dumps(answer))


def measure(order: FigureOrder) -> list[Figure]:
    """Watch, and take samples of its memory."""
    seconds, turn_s = (6.0, 0.5) if order.quick else (SECONDS, 5.0)
    settings = Settings(order.folder, streams=STREAMS, producers=10, hz=HZ)
    with served(settings) as (page, pid):
        viewers = [_Viewer(number, turn_s) for number in range(VIEWERS)]
        samples = asyncio.run(_watched(page, pid, viewers, seconds))
    grown = drift(samples) / 2**20
    detail = f"median of the last fifth of {seconds / 60:.3g} minutes less that of the second; "
    detail += f"{STREAMS:,} streams, {VIEWERS} viewers of {IN_VIEW} at {HZ:g} a second, "
    detail += f"{sum(viewer.shown for viewer in viewers):,} pictures shown, "
    detail += f"{sum(viewer.connections for viewer in viewers)} connections; {median(samples) / 2**20:.0f} MiB in all"
    return [Figure("gateway.drift", "Growth of a gateway's resident memory", grown, "MiB drift", detail)]


async def _watched(page: str, pid: int, viewers: list[_Viewer], seconds: float) -> list[float]:
    parts = urlsplit(page)
    run = parts.fragment.split("/")[2]
    address = f"ws://{parts.netloc}/api/live?run={run}"
    tasks = [asyncio.create_task(viewer.watch(address, parse_qs(parts.query)["rt"][0])) for viewer in viewers]
    process, until = psutil.Process(pid), time.monotonic() + seconds
    samples: list[float] = []
    while time.monotonic() < until:
        await asyncio.sleep(SAMPLE_S)
        samples.append(process.memory_info().rss)
        for task in tasks:
            if task.done():
                task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return samples
