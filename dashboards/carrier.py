"""The slow way from a gateway into a notebook: the kernel is the viewer, and hands on what it gets.

It hands on the newest picture of each stream, `CARRIED_HZ` times a second, and acknowledges what it has handed on or
replaced. Its thread ends with the run, with `close`, or when the gateway does not come back.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from .live_address import LiveAddress
from .wire import PAYLOAD, PICTURE, Record, pack, unpack

CARRIED_HZ: Final = 5.0
TRIES: Final = 5
RETRY_S: Final = 1.0


class Carrier:
    """Carries.

    Args:
        address: the gateway.
        tiles: streams that are carried.
        size: longer side of pictures, in pixels.
        tell: takes each message.
        send: takes frames of records.
        connect: as `websockets.sync.client.connect`.
        clock: seconds.
    """

    def __init__(
        self,
        address: LiveAddress,
        tiles: int,
        size: int,
        tell: Callable[[dict[str, Any]], None],
        send: Callable[[bytes], None],
        connect: Callable[..., Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._tiles, self._size = address, tiles, size
        self._tell, self._send, self._clock = tell, send, clock
        self._connect = connect or _connect()
        self._newest: dict[int, Record] = {}
        self._sent_at = float("-inf")
        self._ended = False
        self._closing = threading.Event()
        self._socket: Any = None
        self._thread = threading.Thread(target=self._run, name="rolltape-carrier", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; the thread may take a moment more."""
        self._closing.set()
        socket = self._socket
        if socket is not None:
            socket.close()

    def _run(self) -> None:
        for _ in range(TRIES):
            try:
                with self._connect(
                    self._address.socket(), additional_headers=self._address.headers, compression=None, proxy=None
                ) as socket:
                    self._socket = socket
                    self._carry(socket)
            except Exception as error:  # refused, reset, closed: said below unless it comes back
                reason = type(error).__name__
            else:
                reason = "it closed the connection"
            if self._ended or self._closing.wait(RETRY_S):
                return
        self._tell({"type": "gone", "message": f"The gateway does not answer ({reason})."})

    def _carry(self, socket: Any) -> None:
        while not self._closing.is_set():
            due = self._sent_at + 1 / CARRIED_HZ - self._clock()
            try:
                said = socket.recv(timeout=max(0.0, due) if self._newest else None)
            except TimeoutError:
                self._hand_on(socket)
                continue
            if isinstance(said, bytes):
                self._newest.update({r.stream: r for r in unpack(said) if r.kind in (PICTURE, PAYLOAD)})
                if self._clock() - self._sent_at >= 1 / CARRIED_HZ:
                    self._hand_on(socket)
                continue
            message = json.loads(said)
            if message["type"] in ("hello", "streams"):
                self._newest.clear()
                streams = sorted(stream["index"] for stream in message["streams"])[: self._tiles]
                wish = {"sub": streams, "size": self._size, "mode": "tiles", "hz": CARRIED_HZ, "depth": 2}
                socket.send(json.dumps(wish))
            self._ended = self._ended or message["type"] == "end"
            self._tell(message)

    def _hand_on(self, socket: Any) -> None:
        records, self._newest = list(self._newest.values()), {}
        self._sent_at = self._clock()
        self._send(b"".join(map(pack, records)))
        socket.send(json.dumps({"rendered": [[record.stream, record.sequence] for record in records]}))


def _connect() -> Callable[..., Any]:
    from websockets.sync.client import connect

    return connect
