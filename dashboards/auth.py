"""Who may look: a token, and the checks that keep other web pages of the same browser away.

Rules:
1. Nothing of a recording is sent without the token. The page's own files (scripts, styles) are the same for everybody
   and need none, so that a page whose token has expired can say so.
2. `?rt=TOKEN` becomes a cookie (HttpOnly, SameSite=Strict, named by the port) and disappears from the address. A
   program may send `Authorization: Bearer TOKEN` instead. Tokens are compared in constant time.
3. On loopback only names of this machine are served (`Host`): another site cannot point its name at 127.0.0.1 and read.
4. A WebSocket, and a request that says where it comes from, must come from the page itself: `Origin` is `Host`.
5. A notebook's widget belongs to another origin, gets no cookie and can set no header. It shows the token as a
   subprotocol of its WebSocket, `rolltape.token.` and base64url. Rules 3 and 4 are not asked of it, and of nobody else:
   they guard what a browser sends by itself, which is the cookie. A page that was pointed here by another name, or
   that opens a socket from elsewhere, has no token to show, and its script cannot read the cookie; a widget that has
   one may come by any name, because proxies of notebooks have any. A cookie or header beside a wrong token does not
   help: without the right one all checks hold.
6. Every answer forbids the browser to load anything from elsewhere.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rolltape.schema.errors import ConfigError

TOKEN_KEY: Final = "rt"
"""Not `token`: a Jupyter proxy keeps that for itself."""
OWN_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
SECRET_PATHS: Final = ("/api", "/metrics")
"""What needs the token, with all below it."""
POLICY: Final = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
SPOKEN: Final = "rolltape.v1"
"""The subprotocol that is answered to who offers it beside a token."""
TOKEN_PROTOCOL: Final = "rolltape.token."
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
REFUSED_SOCKET: Final = 4401
"""Close code of a WebSocket without a valid token; 4403 of one from elsewhere."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may look.

    Attributes:
        token: what a viewer has to show; None: nothing, which only loopback allows.
        port: the port that is served, which the cookie is named by.
        host: the address that is listened on.
        names: further names that this server is reached by on loopback, such as that of a proxy.
    """

    token: str | None
    port: int
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()

    @classmethod
    def make(
        cls,
        port: int,
        *,
        host: str = "127.0.0.1",
        token: str | None = None,
        allow_remote: bool = False,
        names: tuple[str, ...] = (),
    ) -> Access:
        """Access with a new token, or the given one.

        Raises:
            ConfigError: another host than loopback without `allow_remote`, or a token that can be guessed.
        """
        if not is_loopback(host) and not allow_remote:
            raise ConfigError(
                f"host: {host} can be reached from other machines. Listen on 127.0.0.1 and forward the port "
                f"(`ssh -L {port}:127.0.0.1:{port} …`), or say --allow-remote."
            )
        if token is not None and len(token) < 16:
            raise ConfigError("token: expected 16 characters or more; leave it out to have one made.")
        return cls(token or secrets.token_urlsafe(24), port, host, names)

    @property
    def cookie(self) -> str:
        """Name of the cookie. Browsers send cookies to every port of a host, so that each server has its own."""
        return f"rolltape_{self.port}"

    def url(self, path: str = "") -> str:
        """The address to open, with the token."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        query = f"?{urlencode({TOKEN_KEY: self.token})}" if self.token else ""
        return f"http://{host}:{self.port}/{query}{path}"

    def knows(self, shown: str | None) -> bool:
        """Whether that is the token."""
        if self.token is None:
            return True
        return shown is not None and hmac.compare_digest(shown.encode(), self.token.encode())

    def serves(self, host_header: str) -> bool:
        """Whether it may be reached by that name. Elsewhere than on loopback the token alone decides."""
        if not is_loopback(self.host):
            return True
        name = host_header.rsplit(":", 1)[0] if not host_header.endswith("]") else host_header
        return name.lower() in (*OWN_NAMES, *(known.lower() for known in self.names))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Gatekeeper:
    """ASGI middleware that enforces the rules above.

    Args:
        app: what is behind it.
        access: who may look.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._refuse(scope)
        if scope["type"] == "websocket":
            if refused is None:
                await self._app(scope, receive, _spoken(scope, send))
            else:
                # Accepted first: a socket that is refused before has no code that its page could read.
                await receive()
                await _spoken(scope, send)({"type": "websocket.accept"})
                code = REFUSED_SOCKET if refused.status_code == 401 else 4403
                await send({"type": "websocket.close", "code": code})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if refused is not None:
            await refused(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["type"] == "websocket" and self._shows(headers):
            return None
        host = headers.get("host", "")
        if not self._access.serves(host):
            return _no(
                421,
                "host",
                f"This server does not answer to the name {host[:100]!r}. Open it as 127.0.0.1, or start it with "
                "--allow-host NAME where a proxy stands before it.",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _no(403, "origin", "A page of another origin asked for this.")
        path = _path(scope)
        if scope["type"] == "http" and path == "/":
            answer = self._greet(scope)
            if answer is not None:
                return answer
        if any(path == secret or path.startswith(f"{secret}/") for secret in SECRET_PATHS) and not self._may(headers):
            return _no(401, "token", "The token is missing or has expired. Open the address that the server printed.")
        return None

    def _may(self, headers: Headers) -> bool:
        if self._access.token is None:
            return True
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._access.knows(shown)
        jar = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            return False
        kept = jar.get(self._access.cookie)
        return kept is not None and self._access.knows(kept.value)

    def _shows(self, headers: Headers) -> bool:
        """Whether a WebSocket offers the token as a subprotocol."""
        if self._access.token is None:
            return False
        shown = [name.removeprefix(TOKEN_PROTOCOL) for name in _offered(headers) if name.startswith(TOKEN_PROTOCOL)]
        return any(self._access.knows(_decoded(text)) for text in shown)

    def _greet(self, scope: Scope) -> Response | None:
        """Turn `?rt=` into a cookie and leave the rest of the query; None where there is none."""
        pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        shown = [value for name, value in pairs if name == TOKEN_KEY]
        if not shown:
            return None
        rest = urlencode([(name, value) for name, value in pairs if name != TOKEN_KEY])
        # Relative, so that it stays below the prefix of a proxy.
        answer = Response(
            status_code=303, headers={"location": f"./?{rest}" if rest else "./", "cache-control": "no-store"}
        )
        if self._access.token is not None and self._access.knows(shown[-1]):
            answer.set_cookie(self._access.cookie, self._access.token, httponly=True, samesite="strict", path="/")
        return answer


def _offered(headers: Headers) -> list[str]:
    return [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]


def _decoded(text: str) -> str | None:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return None


def _spoken(scope: Scope, send: Send) -> Send:
    """Answer the subprotocol that is offered: a browser closes a connection whose offer is not answered."""
    if SPOKEN not in _offered(Headers(scope=scope)):
        return send

    async def answered(message: Message) -> None:
        if message["type"] == "websocket.accept":
            message = {**message, "subprotocol": SPOKEN}
        await send(message)

    return answered


def _path(scope: Scope) -> str:
    """The path below the prefix that this application is mounted at."""
    path, root = scope["path"], scope.get("root_path", "")
    return (path.removeprefix(root) if root else path) or "/"


def _no(status: int, error: str, message: str) -> Response:
    return JSONResponse({"error": error, "message": message}, status, {"cache-control": "no-store"})
