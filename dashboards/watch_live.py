"""Watching a run through its gateway, as any other viewer: subscribed, with credits, acknowledged when it is shown.

What a terminal shows of a stream are numbers; its pictures are asked for as small as they come, four a second.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from .live_address import LiveAddress
from .watch_lake import RETURNS
from .watched import LogLine, Snapshot, StreamRow, printable
from .wire import CLOSE_NORMAL, CLOSE_PROTOCOL, CLOSE_REPLACED, PAYLOAD, PICTURE, PROTOCOL, SIZES, WireError, unpack

HZ: Final = 4.0
STALE_S: Final = 5.0
"""A gateway that says nothing for so long is not shown as live."""
WAITS_S: Final = (0.5, 1.0, 2.0, 4.0)
REFUSED: Final = (4401, 4403)
"""Close codes of those who may not look."""
STATES: Final = {"live": "live", "starved": "starved", "no_viewer": "idle"}


class LiveState:
    """What a gateway has told. Plain: messages go in, a snapshot comes out.

    Args:
        most: streams that are subscribed, and shown.
        clock: seconds.
    """

    def __init__(self, most: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self.viewer = ""
        self.ended = ""
        self._streams: dict[int, str] = {}
        self._rows: dict[int, dict[str, Any]] = {}
        self._meters: dict[int, _Odometer] = {}
        self._status: Mapping[str, Any] | None = None
        self._heard_at = float("-inf")
        self._returns: deque[float] = deque(maxlen=RETURNS)
        self._lines: deque[LogLine] = deque(maxlen=50)
        self._shown: dict[int, int] = {}

    @property
    def is_fresh(self) -> bool:
        """Whether what it says is of now."""
        return self._status is not None and self._clock() - self._heard_at < STALE_S

    def hear(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take a message; what to answer, or None. Raises WireError for another version of the protocol."""
        kind = message.get("type")
        if kind == "hello":
            if message.get("protocol") != PROTOCOL:
                raise WireError(
                    f"the gateway speaks version {message.get('protocol')} of the live wire, not {PROTOCOL}"
                )
            self.viewer = str(message["viewer"])
            self._shown.clear()
            self._name(message["streams"])
            return self._wish()
        if kind == "streams":
            before = self._watched()
            self._name(message["streams"])
            return self._wish() if self._watched() != before else None
        if kind == "status":
            self._status, self._heard_at = message, self._clock()
            columns = message["streams"]
            for place, index in enumerate(columns["index"]):
                row = {name: columns[name][place] for name in ("state", "episode", "t", "return")}
                self._rows[index] = row
                self._meters.setdefault(index, _Odometer()).at(row["episode"], row["t"], self._heard_at)
        elif kind == "episodes":
            for end in message["ends"]:
                self._meters.setdefault(end["stream"], _Odometer()).ended(end["episode"], end["length"])
                if end["status"] == "completed" and end["return"] is not None:
                    self._returns.append(end["return"])
        elif kind == "log":
            for row in message["rows"]:
                when = datetime.fromtimestamp(row["time"], UTC)
                said = LogLine(when, str(row["severity"]).lower(), row["component"], printable(row["message"]))
                self._lines.append(said)
        elif kind == "end":
            self.ended = str(message["status"])
        return None

    def take(self, frame: bytes) -> None:
        """Take pictures and payloads; they count as shown when `shown` is asked for."""
        for record in unpack(frame):
            if record.kind in (PICTURE, PAYLOAD):
                self._shown[record.stream] = max(self._shown.get(record.stream, 0), record.sequence)

    def shown(self) -> dict[str, Any] | None:
        """What to acknowledge, now that the screen is drawn; None: nothing."""
        said = {"rendered": [[stream, sequence] for stream, sequence in self._shown.items()]} if self._shown else None
        self._shown.clear()
        return said

    def over(self, lake: Snapshot, streams: int, lines: int) -> Snapshot:
        """What is known of the run live, the rest as the lake has it."""
        if self._status is None:
            return lake
        run = self._status["run"]
        known = [index for index in self._watched() if index in self._rows]
        rows = [self._row(index, lake.is_over) for index in known[:streams]]
        logs = sorted([*lake.logs, *self._lines], key=lambda line: line.time)[-lines:] if lines else ()
        return replace(
            lake,
            source="live",
            note="" if run["state"] == "live" else "its hub does not answer; counts stand still",
            steps=max(run["steps"], lake.steps),
            episodes=max(run["episodes"], lake.episodes),
            steps_per_s=run["steps_per_s"],
            lag_s=run["durable_lag_s"],
            lost=max(run["durable_lost"], lake.lost),
            streams=rows,
            more_streams=max(0, len(self._streams) - len(rows)),
            returns=lake.returns or list(self._returns),
            logs=logs,
        )

    def _row(self, index: int, over: bool) -> StreamRow:
        row = self._rows[index]
        state = "ended" if over else STATES.get(row["state"], "idle")
        return StreamRow(
            self._streams[index], state, row["episode"], row["t"], row["return"], self._meters[index].steps_per_s
        )

    def _name(self, streams: list[Mapping[str, Any]]) -> None:
        self._streams = {stream["index"]: printable(str(stream["id"])) for stream in streams}

    def _watched(self) -> list[int]:
        return sorted(self._streams)[: self._most]

    def _wish(self) -> dict[str, Any]:
        return {"sub": self._watched(), "depth": 2, "size": SIZES[0], "mode": "tiles", "hz": HZ}


class _Odometer:
    """Steps of one stream, across its episodes: what ended counts whole."""

    def __init__(self) -> None:
        self._before, self._episode = 0, None
        self._marks: deque[tuple[float, int]] = deque(maxlen=10)
        self._lengths: dict[int, int] = {}

    def ended(self, episode: int, length: int) -> None:
        self._lengths[episode] = length

    def at(self, episode: int | None, t: int | None, now: float) -> None:
        if episode is None or t is None:
            return
        if episode != self._episode:
            ended = [length for number, length in self._lengths.items() if number < episode]
            if self._episode is not None and self._episode not in self._lengths:
                self._marks.clear()  # how long that one was is not known
            self._before += sum(ended)
            self._lengths = {number: length for number, length in self._lengths.items() if number >= episode}
            self._episode = episode
        self._marks.append((now, self._before + t))

    @property
    def steps_per_s(self) -> float | None:
        """Over the last seconds; None: not known."""
        if len(self._marks) < 2:
            return None
        (then, before), (now, steps) = self._marks[0], self._marks[-1]
        return (steps - before) / (now - then) if now > then and steps >= before else None


class LiveLink:
    """Keeps a connection to a gateway, and comes back by itself. A thread of its own hears; `close` ends it.

    Args:
        address: of the gateway, asked for at each try; a text says why there is none.
        state: what is told goes there.
        connect: as `websockets.sync.client.connect`.
    """

    def __init__(
        self, address: Callable[[], LiveAddress | str], state: LiveState, connect: Callable[..., Any] | None = None
    ) -> None:
        self._address, self.state = address, state
        self._connect = connect or _connect()
        self._lock = threading.Lock()
        self._socket: Any = None
        self._closing = threading.Event()
        self.reason = "connecting"
        self._thread = threading.Thread(target=self._run, name="rolltape-watch", daemon=True)
        self._thread.start()

    def over(self, lake: Snapshot, streams: int, lines: int) -> Snapshot:
        """The run live, where the gateway speaks; else as the lake has it, with the reason. Acknowledges what came."""
        with self._lock:
            fresh = self.state.is_fresh and not self.state.ended
            told = fresh and not lake.is_over
            made = self.state.over(lake, streams, lines) if told else lake
            if not told and not lake.is_over:
                made = replace(lake, note=self.reason)
            said, socket = self.state.shown(), self._socket
        if said and socket is not None:
            with contextlib.suppress(Exception):  # it has gone: the thread that hears finds out, and comes back
                socket.send(json.dumps(said))
        return made

    def close(self) -> None:
        """End the connection."""
        self._closing.set()
        if self._socket is not None:
            with contextlib.suppress(Exception):  # it may have gone
                self._socket.close()
        self._thread.join(2)

    def _run(self) -> None:
        tries = 0
        while not self._closing.is_set() and not self.state.ended:
            address = self._address()
            if isinstance(address, str):
                self.reason = address
            else:
                try:
                    with self._connect(
                        address.socket(self.state.viewer),
                        additional_headers=address.headers,
                        compression=None,
                        open_timeout=3,
                        close_timeout=1,
                        proxy=None,
                    ) as socket:
                        self._socket, tries = socket, 0
                        self.reason = "its gateway says nothing"
                        code, why = self._hear(socket)
                        self.reason = "its gateway has gone"
                    if code == CLOSE_PROTOCOL:
                        self.reason = f"its gateway does not understand this viewer: {why}"
                        return
                    if code in REFUSED:
                        self.reason = "its gateway does not let this viewer in"  # its next life may, with a new token
                    if code == CLOSE_REPLACED:
                        self.state.viewer = ""  # somebody else has the id now: a new one is taken, as the page does
                except WireError as error:
                    self.reason = str(error)
                    return
                except Exception as error:  # refused, reset, timed out: it may come back
                    self.reason = f"its gateway does not answer ({type(error).__name__})"
                finally:
                    self._socket = None
            self._closing.wait(WAITS_S[min(tries, len(WAITS_S) - 1)])
            tries += 1

    def _hear(self, socket: Any) -> tuple[int, str]:
        """Hear until it is closed; with which code and reason. Raises what broke it otherwise."""
        try:
            for said in socket:
                with self._lock:
                    if isinstance(said, bytes):
                        self.state.take(said)
                        continue
                    answer = self.state.hear(json.loads(said))
                if answer is not None:
                    socket.send(json.dumps(answer))
        except Exception as error:
            closed = getattr(error, "rcvd", None)  # of websockets' ConnectionClosed: what the other side said
            if closed is None:
                raise
            return closed.code, closed.reason
        return CLOSE_NORMAL, ""


def _connect() -> Callable[..., Any]:
    from websockets.sync.client import connect

    return connect
