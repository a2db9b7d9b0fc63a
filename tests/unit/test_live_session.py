"""A viewer's socket: when pictures of many producers go out together."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from rolltape.dashboards.live_session import GATHER_S, LiveSession
from rolltape.dashboards.switchboard import Switchboard
from rolltape.dashboards.wire import MOSAIC, Message, Record, unpack
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.live_messages import LiveItem
from tests.fakes import Clock

STREAMS = 20


class Socket:
    """Keeps what is sent, and hears nothing."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Record] = asyncio.Queue()

    async def send_text(self, text: str) -> None:
        pass

    async def send_bytes(self, frame: bytes) -> None:
        for record in unpack(frame):
            self.sent.put_nowait(record)

    async def receive(self) -> Any:
        await asyncio.Event().wait()


def test_what_producers_push_at_the_same_time_is_in_one_mosaic_and_who_is_late_is_not_waited_for() -> None:
    clock = Clock()
    board = Switchboard("aa", "gateway", LiveConfig(), UiConfig(), clock=clock, wall=clock)
    for index in range(STREAMS):
        board.know(index, f"p{index % 2}.0", 0)
    viewer, _ = board.join()
    board.hear(viewer, Message({"sub": tuple(range(STREAMS)), "hz": 30.0}))

    def push(owner: int, number: int, at: float) -> None:
        picture = np.zeros((8, 8, 3), np.uint8)
        items = [LiveItem(i, number, at, 0, number, 0.0, picture=picture) for i in range(owner, STREAMS, 2)]
        board.take(f"p{owner}.0", items)
        session.wake.set()

    async def told() -> None:
        running = asyncio.create_task(session.run())
        push(0, 1, 5.0)
        await asyncio.sleep(0)  # the session sees the first half, and waits for the other
        push(1, 1, 4.0)
        first = await asyncio.wait_for(socket.sent.get(), 60)
        assert (first.kind, first.time) == (MOSAIC, 4.0), "as old as the oldest in it"
        assert viewer.mosaics_under_way[0][1] == dict.fromkeys(range(STREAMS), 1)
        clock.now += 0.05
        push(0, 2, 6.0)
        while session._gathers_until is None:
            await asyncio.sleep(0)
        assert socket.sent.empty()
        clock.now += GATHER_S
        second = await asyncio.wait_for(socket.sent.get(), 60)
        assert second.time == 6.0 and set(viewer.mosaics_under_way[1][1]) == set(range(0, STREAMS, 2))
        running.cancel()

    socket: Any = Socket()
    with ThreadPoolExecutor(1) as pool:
        session = LiveSession(socket, viewer, board, pool, lambda _: {}, UiConfig(), clock)
        asyncio.run(told())
