"""One open socket of a viewer: what it says goes to the switchboard, what the switchboard has for it goes out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from rolltape.schema.config_ui import UiConfig
from rolltape.schema.live_messages import LiveItem

from .live_stream import LiveStream
from .pictures import Encoded, Layout, Mosaic, encode, layout_for
from .switchboard import Switchboard
from .viewer import Viewer
from .wire import (
    CLOSE_PROTOCOL,
    CLOSE_REPLACED,
    JSON,
    MOSAIC,
    PAYLOAD,
    PICTURE,
    STEP,
    Record,
    WireError,
    heard,
    pack,
    text,
)

IDLE_S: Final = 0.5
"""How long a session sleeps at most when nobody wakes it."""
MOSAIC_ABOVE: Final = 16
AT_ONCE: Final = 32
"""Pictures that are encoded before anything else may be sent."""
GATHER_S: Final = 0.008
"""What producers push at the same time goes into one mosaic: whoever came too late would wait for a whole interval."""
LINES: Final = 64
MOST_NUMBER: Final = 65534


class LiveSession:
    """One connected viewer.

    Args:
        socket: accepted.
        viewer: whose it is.
        board: of the gateway.
        pool: where pictures are encoded.
        status: makes the message `status`.
        view: rates and qualities.
        clock: seconds.

    Attributes:
        wake: set when there may be something to send.
    """

    def __init__(
        self,
        socket: WebSocket,
        viewer: Viewer,
        board: Switchboard,
        pool: Executor,
        status: Callable[[Viewer], dict[str, Any]],
        view: UiConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._socket, self.viewer, self._board, self._pool = socket, viewer, board, pool
        self._status, self._quality = status, view.jpeg_quality
        self._status_s = 1 / view.scalars_hz
        self.wake, self._replaced = asyncio.Event(), asyncio.Event()
        self._mosaic: Mosaic | None = None
        self._mosaic_at = float("-inf")
        self._gathers_until: float | None = None
        self._streams_version = board.streams_version

    async def run(self) -> None:
        """Serve it until it goes, or says what is not of the protocol."""
        tasks = [asyncio.create_task(work) for work in (self._read(), self._write(), self._replaced.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._replaced.is_set():
                for task in tasks:
                    task.cancel()  # first: what the viewer has in view now goes to its other socket
                with contextlib.suppress(Exception):  # most likely nobody is there
                    await asyncio.wait_for(self._socket.close(CLOSE_REPLACED), 0.5)
                return
            for task in done:
                task.result()
        except WireError as error:
            await self._socket.close(CLOSE_PROTOCOL, str(error)[:120])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self) -> None:
        """Its viewer has come back on another socket."""
        self._replaced.set()

    async def close(self, code: int, last: str) -> None:
        """Say a last thing and close."""
        with contextlib.suppress(Exception):  # it may be gone, or stalled: nobody waits for it
            await asyncio.wait_for(self._socket.send_text(last), 0.5)
            await asyncio.wait_for(self._socket.close(code), 0.5)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            self._board.hear(
                self.viewer, heard(message["text"] if message.get("text") is not None else message["bytes"])
            )
            self.wake.set()

    async def _write(self) -> None:
        status_at = self._clock()
        while True:
            self.wake.clear()
            for message in self._news():
                await self._tell(message)
            if self._clock() >= status_at:
                status_at = self._clock() + self._status_s
                await self._tell(self._status(self.viewer))
            sent = await self._tiles()
            pause = min(status_at - self._clock(), await self._compose())
            if not sent and pause > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), pause)

    async def _tell(self, message: dict[str, Any]) -> None:
        said = text(message)
        self.viewer.sent_bytes += len(said)
        await self._socket.send_text(said)

    async def _send(self, records: list[Record]) -> None:
        frame = b"".join(map(pack, records))
        self.viewer.sent_bytes += len(frame)
        await self._socket.send_bytes(frame)

    # ---- what everybody is told --------------------------------------------------------------------------------------

    def _news(self) -> list[dict[str, Any]]:
        board, known = self._board, self.viewer.heard
        messages: list[dict[str, Any]] = []
        if self._streams_version != board.streams_version:
            self._streams_version = board.streams_version
            messages.append({"type": "streams", "streams": board.hello_streams()})
        control = board.bulletins["control"]
        events, _ = control.after(known.get("control", 0))
        known["control"] = control.position
        for event in events:
            said = event._asdict()
            messages.append({"type": "control", **said, "transition": event.transition})
        episodes = board.bulletins["episodes"]
        ends, missed = episodes.after(known.get("episodes", episodes.position))
        known["episodes"] = episodes.position
        omitted = board.omitted_ends - known.get("omitted", board.omitted_ends) + missed
        known["omitted"] = board.omitted_ends
        if ends or omitted:
            names = ("stream", "episode", "length", "return", "status", "time")
            rows = [dict(zip(names, _finite(end), strict=True)) for end in ends]
            messages.append({"type": "episodes", "ends": rows, "omitted": omitted})
        log = board.bulletins["log"]
        lines, _ = log.after(known.get("log", 0), LINES)
        known["log"] = log.position
        if lines:
            messages.append({"type": "log", "rows": [line._asdict() for line in lines]})
        return messages

    # ---- pictures ----------------------------------------------------------------------------------------------------

    async def _tiles(self) -> int:
        """Send what waits, but for what goes into the mosaic; how many were sent."""
        viewer, sent = self.viewer, 0
        composed = set(self._composed())
        for index in viewer.watched:
            stream = self._board.streams.get(index)
            if stream is None or index in composed or viewer.pairs[index].window.waiting is None:
                continue
            sequence = viewer.pairs[index].send()
            if sequence is None:
                continue
            item = stream.item  # the newest, under the number that has the credit; another may come while it is encoded
            if item is None or (record := await self._record(stream, item, sequence)) is None:
                self._board.fail(viewer, index, sequence)
                continue
            records = [record]
            if index in viewer.wish.steps and item.step is not None:
                records.append(_step(item, sequence))
            await self._send(records)
            sent += 1
            if sent == AT_ONCE:
                break
        return sent

    async def _record(self, stream: LiveStream, item: LiveItem, sequence: int) -> Record | None:
        """A picture or payload as it is sent; None where it cannot be encoded."""
        if item.picture is None:
            return Record(PAYLOAD, JSON, stream.index, sequence, item.time, 0, 0, item.payload or b"")
        wish = self.viewer.wish
        size = 0 if wish.lossless and wish.size == 0 else wish.size
        way = size, wish.lossless
        found = stream.encoded.get(way)
        if found is None:
            loop = asyncio.get_running_loop()
            found = loop.run_in_executor(self._pool, encode, item.picture, size, wish.lossless, self._quality)
            stream.encoded[way] = found
        try:
            encoded: Encoded = await asyncio.shield(found)
        except (ValueError, OSError):
            return None
        return Record(
            PICTURE, encoded.codec, stream.index, sequence, item.time, encoded.width, encoded.height, encoded.data
        )

    def _composed(self) -> list[int]:
        """Streams whose pictures go into the mosaic; none where there is no mosaic."""
        wish = self.viewer.wish
        if wish.mode == "tiles" or wish.lossless:
            return []
        streams = self._board.streams
        found = [index for index in self.viewer.watched if index in streams and streams[index].kind == "rgb"]
        return found if wish.mode == "mosaic" or len(found) > MOSAIC_ABOVE else []

    async def _compose(self) -> float:
        """Send the next mosaic when it is due; seconds until it is."""
        viewer, streams = self.viewer, self._board.streams
        tiles = self._composed()
        if not tiles or viewer.hidden:
            if not tiles:
                viewer.layout = self._mosaic = None
            return IDLE_S
        early = self._mosaic_at + 0.9 / viewer.hz - self._clock()
        if early > 0:
            return early
        if len(viewer.mosaics_under_way) >= viewer.depth:
            return IDLE_S
        waiting = sum(viewer.pairs[index].window.waiting is not None for index in tiles)
        if not waiting:
            return IDLE_S
        if waiting < len(tiles) and (gathering := self._gathers()) > 0:
            return gathering
        self._gathers_until = None
        fresh = await self._lay_out(tiles)
        mosaic = self._mosaic
        if mosaic is None:
            return IDLE_S
        given = {index: n for index in tiles if (n := viewer.pairs[index].send()) is not None}
        layout = mosaic.layout
        shown = layout.streams if fresh else [index for index in layout.streams if index in given]
        places = {index: place for place, index in enumerate(layout.streams)}
        pictures = {
            places[index]: item.picture
            for index in shown
            if (item := streams[index].item) is not None and item.picture is not None
        }
        taken_at = min((item.time for index in given if (item := streams[index].item) is not None), default=time.time())
        self._mosaic_at = self._clock()
        loop = asyncio.get_running_loop()
        encoded, bad = await loop.run_in_executor(self._pool, mosaic.compose, pictures, self._quality)
        for place in bad:
            index = layout.streams[place]
            if (sequence := given.pop(index, None)) is not None:
                self._board.fail(viewer, index, sequence)
        viewer.mosaics += 1
        viewer.mosaics_under_way.append((viewer.mosaics, given))
        record = Record(
            MOSAIC, encoded.codec, layout.number, viewer.mosaics, taken_at, encoded.width, encoded.height, encoded.data
        )
        await self._send([record])
        return 0.9 / viewer.hz

    def _gathers(self) -> float:
        """Seconds for which pictures of other producers are still waited for, since the first one came."""
        now = self._clock()
        if self._gathers_until is None:
            self._gathers_until = now + GATHER_S
        return self._gathers_until - now

    async def _lay_out(self, tiles: list[int]) -> bool:
        """Make a layout where the streams have changed, and tell it; whether all tiles have to be drawn."""
        viewer = self.viewer
        if self._mosaic is not None and list(self._mosaic.layout.streams) == tiles:
            return False
        item = next((found for index in tiles if (found := self._board.streams[index].item) is not None), None)
        if item is None or item.picture is None:
            return False
        shape = item.picture.shape
        height, width = shape[:2] if len(shape) == 2 or shape[-1] <= 4 else shape[-2:]
        viewer.layouts = viewer.layouts % MOST_NUMBER + 1
        size = viewer.wish.size or max(height, width) * item.reduced
        layout: Layout = layout_for(viewer.layouts, tiles, (width * item.reduced, height * item.reduced), size)
        self._mosaic, viewer.layout = Mosaic(layout), layout
        await self._tell(
            {
                "type": "layout",
                "number": layout.number,
                "columns": layout.columns,
                "tile": list(layout.tile),
                "size": list(layout.size),
                "streams": list(layout.streams),
            }
        )
        return True


def _step(item: LiveItem, sequence: int) -> Record:
    said = {
        "episode": item.episode,
        "t": item.t if item.t >= 0 else None,
        "return": _number(item.episode_return),
        **(item.step or {}),
    }
    payload = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    return Record(STEP, JSON, item.stream, sequence, item.time, 0, 0, payload)


def _finite(values: tuple[Any, ...]) -> list[Any]:
    return [_number(value) for value in values]


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not -1e308 <= value <= 1e308 else value
