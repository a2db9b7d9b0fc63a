"""The web application: the page's files, the history of a lake as JSON, and the live viewers that a gateway serves.

It needs no Ray, and holds nothing of a viewer: any number of them may look, also while the lake is being written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from rolltape.storage.lake import Lake
from rolltape.storage.layout import is_run_id

from .auth import Access, Gatekeeper
from .history import History

STATIC: Final = Path(__file__).parent / "static"
FOREVER: Final = "public, max-age=31536000, immutable"
"""Of files whose name has a digest of their content."""


Live: TypeAlias = Callable[[WebSocket, str], Awaitable[None]]
"""Serves one viewer: an authenticated WebSocket that is not accepted yet, and the id of the run that it wants."""
NOT_LIVE: Final = 4404
"""Close code: that run is not live here. Others are in docs/decisions/0023-live-path.md."""


def create_app(lake: Lake, access: Access, *, live: Live | None = None) -> Starlette:
    """The application.

    Args:
        lake: what is shown, opened with `rolltape.open` where pictures are to be drawn again.
        access: who may look.
        live: serves live viewers at `api/live?run=RUN_ID`. Without it the page shows history alone, and says so.
    """

    async def watch(socket: WebSocket) -> None:
        run = socket.query_params.get("run", "")
        if live is None or not is_run_id(run):
            await socket.accept()
            await socket.close(NOT_LIVE)
        else:
            await live(socket, run)

    api = [
        WebSocketRoute("/live", watch),
        *History(lake, has_live=live is not None).routes(),
        Route("/{path:path}", _unknown),
    ]
    routes = [
        Mount("/api", routes=api),
        Route("/", _page),
        Route("/assets/{name}", _asset),
        Route("/favicon.svg", _icon),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Gatekeeper, access=access)])


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})


async def _icon(request: Request) -> Response:
    return FileResponse(STATIC / "favicon.svg", headers={"cache-control": "no-cache"})


async def _asset(request: Request) -> Response:
    """A file of the page, by a name that was there when the page was built: never a path."""
    name = request.path_params["name"]
    known = {file.name: file for file in (STATIC / "assets").iterdir()}
    if name not in known:
        return JSONResponse({"error": "not_found", "message": "The page has no such file."}, 404)
    return FileResponse(known[name], headers={"cache-control": FOREVER})


async def _unknown(request: Request) -> Response:
    return JSONResponse({"error": "not_found", "message": "There is no such resource."}, 404)
