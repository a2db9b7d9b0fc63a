"""The gateway's process: one run, its page, and everybody who watches it live.

Rules:
1. All state is the switchboard's, and only the event loop touches it. The loop runs in a thread of its own, begun by
   the constructor, so that a gateway that Ray has started again serves without being called.
2. Port and token stand in `live.json` in the run's folder, readable by its owner alone; the next life takes them over.
3. A gateway that cannot serve says why when it is asked for its address. The recording goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from starlette.websockets import WebSocket, WebSocketDisconnect

from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.errors import ConfigError, RolltapeError
from rolltape.schema.live_messages import GatewayReport, HubView, LiveDemand, LiveItem
from rolltape.schema.messages import RunCounts
from rolltape.storage.layout import RunFolder
from rolltape.storage.ledger import read_losses

from .app import create_app
from .auth import Access
from .live_address import live_file, write_live
from .live_session import LiveSession
from .server import bound_socket, server_of
from .switchboard import Switchboard
from .wire import CLOSE_NORMAL, CLOSE_NOT_LIVE, PROTOCOL, text

REPORT_S: Final = 0.25
IDLE_S: Final = 1.0
HUB_S: Final = 2.0
TICK_S: Final = 0.5
LOST_S: Final = 5.0
START_S: Final = 60.0
ENCODERS: Final = 2
QUEUES_SHOWN: Final = 64
TRY_AGAIN: Final = 1013

Hub = Callable[[GatewayReport], Awaitable[HubView]]


class Gateway:
    """Serves one run.

    Args:
        run_path: the run's folder, in its lake.
        name: of this actor, under which producers push.
        hub: asks the hub.
        live, view: the sections of the configuration.
        about: what `hello` says of the run.
        host: the address to listen on.
    """

    def __init__(
        self,
        run_path: str,
        name: str,
        hub: Hub,
        live: LiveConfig,
        view: UiConfig,
        about: Mapping[str, Any],
        host: str = "127.0.0.1",
    ) -> None:
        self._folder = RunFolder(Path(run_path))
        self.life = uuid.uuid4().hex[:8]
        self._hub, self._about, self._host = hub, dict(about), host
        self._live, self._view = live, view
        self.board = Switchboard(self.life, name, live, view, str(about.get("env_id", "")))
        self._sessions: dict[str, LiveSession] = {}
        self._pool = ThreadPoolExecutor(ENCODERS, thread_name_prefix="encode")
        self._counts = RunCounts()
        self._rate, self._rate_at, self._rate_steps = 0.0, time.monotonic(), 0
        self._hub_epoch, self._heard, self._taken, self._number = "", 0, 0, 0
        self._hub_here = False
        self._owners: tuple[Any, ...] = ()
        self._lost = 0
        self._status = ""
        self._lag_s = 0.0
        self._began = time.monotonic()
        self._process = psutil.Process()
        self._ready = threading.Event()
        self._url = ""
        self._error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="rolltape-gateway", daemon=True)
        self._thread.start()

    # ---- called from other processes --------------------------------------------------------------------------------

    def address(self) -> str:
        """Where the page is, token included. Raises what kept it from being served."""
        self._ready.wait(START_S)
        if self._error is not None:
            raise self._error
        return self._url

    def push(self, owner: str, items: tuple[LiveItem, ...]) -> LiveDemand:
        """Take what a producer shows; answers what it should show next."""
        return asyncio.run_coroutine_threadsafe(self._take(owner, items), self._loop).result(HUB_S)

    def stop(self, status: str) -> None:
        """The run has ended: tell everybody, tell the hub the last counts, and serve no more."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end(status), self._loop).result(HUB_S + 3)

    # ---- the loop ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        from rolltape.actors.rerender import open_lake

        listening, access = self._listen()
        app = create_app(open_lake(self._folder.path.parent.parent), access, live=self._watch)
        self._url = access.url(f"#/run/{self._folder.run_id}/live")
        server = server_of(app, signals=False)
        tasks = [asyncio.create_task(work()) for work in (self._report_loop, self._tick_loop)]
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        self._ready.set()
        await asyncio.wait([serving, asyncio.create_task(self._closing.wait())], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _listen(self) -> tuple[socket.socket, Access]:
        """A bound socket and who may use it: as the life before this one had them, where there was one."""
        path = live_file(self._folder)
        before: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            before = json.loads(path.read_text())
        token = str(before.get("token") or secrets.token_urlsafe(24))
        listening = _bound(self._host, int(before.get("port") or 0))
        access = Access.make(listening.getsockname()[1], host=self._host, token=token, allow_remote=True)
        said = {"protocol": PROTOCOL, "host": self._host, "port": access.port, "token": token, "pid": os.getpid()}
        write_live(path, {**said, "url": access.url(), "node": socket.gethostname()})
        return listening, access

    async def _take(self, owner: str, items: tuple[LiveItem, ...]) -> LiveDemand:
        touched = set(self.board.take(owner, items))
        if touched:
            for session in self._sessions.values():
                if touched.intersection(session.viewer.pairs):
                    session.wake.set()
        return self.board.demand(owner)

    async def _end(self, status: str) -> None:
        self._status = status
        with contextlib.suppress(Exception):  # the hub may be gone: those who watch are told all the same
            await self._report()
        for session in list(self._sessions.values()):
            await session.close(CLOSE_NORMAL, text({"type": "end", "status": status}))
        with contextlib.suppress(OSError):
            live_file(self._folder).unlink()
        self._closing.set()

    async def _watch(self, websocket: WebSocket, run: str) -> None:
        """Serve one viewer until it goes."""
        await websocket.accept()
        if run != self._folder.run_id or self._status:
            await websocket.close(CLOSE_NOT_LIVE)
            return
        name = websocket.query_params.get("viewer", "")
        before = self._sessions.pop(name, None)
        if before is None and self.board.is_crowded:
            await websocket.close(TRY_AGAIN, "too many viewers")
            return
        if before is not None:
            before.end()
        viewer, resumed = self.board.join(name)
        session = LiveSession(websocket, viewer, self.board, self._pool, self.status, self._view)
        self._sessions[viewer.name] = session
        try:
            await websocket.send_text(text(self._hello(viewer.name, resumed)))
            await session.run()
        except (WebSocketDisconnect, ConnectionError, RuntimeError):
            pass  # it is gone; RuntimeError is what Starlette says of a socket that closed under a sender
        finally:
            if self._sessions.get(viewer.name) is session:
                del self._sessions[viewer.name]
                self.board.leave(viewer)

    def _hello(self, viewer: str, resumed: bool) -> dict[str, Any]:
        live, view = self._live, self._view
        return {
            "type": "hello",
            "protocol": PROTOCOL,
            "epoch": self.life,
            "viewer": viewer,
            "resumed": resumed,
            "run": {"id": self._folder.run_id, **self._about},
            "streams": self.board.hello_streams(),
            "causes": self.board.causes(),
            "limits": {
                "pool": live.credits,
                "low_water": live.low_water,
                "cap": live.max_credits,
                "depth": [2, 16],
                "size": [16, 1024],
                "hz": [0.2, 60],
                "tiles": view.max_tiles,
                "mosaic_above": 16,
                "steps": 8,
            },
            "view": {"hz": view.view_hz, "size": view.tile_px, "quality": view.jpeg_quality},
        }

    def status(self, viewer: Any) -> dict[str, Any]:
        """The message `status` for one viewer."""
        counts, board = self._counts, self.board
        living = [(name, beat) for name, beat in counts.keys.items() if not beat.done]
        living.sort(key=lambda pair: -pair[1].inflight_bytes)
        queues = [{"name": "writer", "depth": sum(b.queued for _, b in living), "bytes": counts.inflight_bytes}]
        queues += [
            {"name": name, "depth": beat.queued, "bytes": beat.inflight_bytes} for name, beat in living[:QUEUES_SHOWN]
        ]
        return {
            "type": "status",
            "time": time.time(),
            "run": {
                "state": "live" if self._hub_here else "hub_gone",
                "steps": counts.steps,
                "episodes": counts.episodes,
                "frames": counts.frames,
                "return_sum": counts.return_sum if np.isfinite(counts.return_sum) else None,
                "steps_per_s": round(self._rate, 1),
                "producers": counts.producers,
                "durable_lag_s": round(counts.lag_s, 3),
                "durable_lost": self._lost,
                "waited_s": round(counts.waited_s, 3),
            },
            "queues": queues,
            "skipped": board.totals(),
            "streams": board.columns(viewer),
            "viewers": [other.row(other is viewer) for other in board.viewers.values() if other.connected],
            "gateway": {
                "uptime_s": round(time.monotonic() - self._began, 1),
                "memory_bytes": self._process.memory_info().rss,
                "lag_s": round(self._lag_s, 4),
                "sent_bytes": sum(other.sent_bytes for other in board.viewers.values()),
                "hub": "here" if self._hub_here else "gone",
            },
        }

    # ---- the hub -----------------------------------------------------------------------------------------------------

    async def _report_loop(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._report()
            except Exception:  # the hub restarts, or is busy; what viewers see goes on, and says so
                self._hub_here = False
            pause = REPORT_S if self.board.connected else IDLE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), max(0.05, pause - (time.monotonic() - began)))

    async def _report(self) -> None:
        board = self.board
        hz, wanted = board.wanted()
        board.demands += 1
        position = board.control.position
        report = GatewayReport(
            life=self.life,
            gateway=board.gateway,
            number=board.demands,
            viewers=board.connected,
            hz=hz,
            demand=tuple(wanted.values()),
            lives={index: board.streams[index].owner for index in wanted},
            skipped=board.skipped(),
            shown={stream.index: stream.shown for stream in board.streams.values() if stream.shown},
            starved=board.starved() if self._live.slow_down else frozenset(),
            kinds=self._view.renderers,
            control=tuple(board.control.after(self._taken)),
            control_position=position,
            known=self._hub_epoch,
            heard=self._heard,
        )
        view = await asyncio.wait_for(self._hub(report), HUB_S)
        if view.epoch != self._hub_epoch:
            self._hub_epoch, self._taken = view.epoch, 0  # a new life of the hub is told everything again
        else:
            self._taken = view.control_taken
        self._hub_here, self._heard = True, view.position
        self._see(view)

    def _see(self, view: HubView) -> None:
        board = self.board
        if view.owners != self._owners:
            self._owners = view.owners
            for owner in view.owners:
                worker = int(owner.key.partition(".")[0][1:])
                for index in range(owner.first, owner.first + owner.count):
                    board.know(index, owner.key, worker)
        for owner in view.owners:
            beat = view.beats.get(owner.key)
            if beat is None or beat.episode is None or beat.t is None or beat.returns is None:
                continue
            episodes, steps = np.frombuffer(beat.episode, np.int64), np.frombuffer(beat.t, np.int32)
            returns = np.frombuffer(beat.returns, np.float64)
            for place, values in enumerate(zip(episodes.tolist(), steps.tolist(), returns.tolist(), strict=True)):
                board.scalars(owner.first + place, *values)
        for index, causes in view.refused.items():
            board.refused(index, causes)
        board.tell_control(view.control)
        board.bulletins["episodes"].extend(view.ends)
        board.bulletins["log"].extend(view.log)
        board.omitted_ends = view.ends_omitted
        now, counts = time.monotonic(), view.counts
        if now - self._rate_at >= TICK_S:
            self._rate = max(0.0, (counts.steps - self._rate_steps) / (now - self._rate_at))
            self._rate_at, self._rate_steps = now, counts.steps
        self._counts = counts

    async def _tick_loop(self) -> None:
        """Twice a second: rates of viewers, how late the loop is, and now and then what the ledger says is lost."""
        looked_at = float("-inf")
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_S)
            self._lag_s = max(0.0, time.monotonic() - began - TICK_S)
            self.board.forget()
            for viewer in self.board.viewers.values():
                viewer.measure()
            if self._sessions and began - looked_at > LOST_S:
                looked_at = began
                with contextlib.suppress(RolltapeError, OSError):
                    self._lost = await self._loop.run_in_executor(self._pool, _lost_steps, self._folder)


def _lost_steps(folder: RunFolder) -> int:
    return sum(loss.rows or 0 for loss in read_losses(folder) if loss.stage == "lost" and loss.table == "steps")


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket at that port, or at any that is free."""
    if port:
        with contextlib.suppress(ConfigError):
            return bound_socket(host, port)
    return bound_socket(host, 0)
