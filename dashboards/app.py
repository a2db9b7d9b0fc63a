"""The web application: the page's files, the history of a lake as JSON, and whatever live routes a gateway adds.

It needs no Ray, and holds nothing of a viewer: any number of them may look, also while the lake is being written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from rolltape.storage.lake import Lake

from .auth import Access, Gatekeeper
from .history import History

STATIC: Final = Path(__file__).parent / "static"
FOREVER: Final = "public, max-age=31536000, immutable"
"""Of files whose name has a digest of their content."""


def create_app(lake: Lake, access: Access, *, live: Sequence[BaseRoute] = ()) -> Starlette:
    """The application.

    Args:
        lake: what is shown, opened with `rolltape.open` where pictures are to be drawn again.
        access: who may look.
        live: routes below `api/` that a gateway adds, such as `WebSocketRoute("/live", …)`. Without them the page
            shows history alone, and says so.
    """
    api = [*live, *History(lake, has_live=bool(live)).routes(), Route("/{path:path}", _unknown)]
    routes = [
        Mount("/api", routes=api),
        Route("/", _page),
        Route("/assets/{name}", _asset),
        Route("/favicon.svg", _icon),
    ]
    middleware = [Middleware(Gatekeeper, access=access), Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4)]
    return Starlette(routes=routes, middleware=middleware)


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
