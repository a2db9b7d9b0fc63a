"""Who is let in to the page: token, cookie, Host, Origin, and what every answer forbids."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from rolltape.dashboards.app import NOT_LIVE, create_app
from rolltape.dashboards.auth import Access
from rolltape.schema.errors import ConfigError
from rolltape.storage.lake import open_lake
from tests.lakes import record

BASE = "http://127.0.0.1:8765"
SOCKET = "ws://127.0.0.1:8765"
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lake")
    record(path)
    return path


@pytest.fixture(scope="module")
def app(lake: Path) -> Starlette:
    return create_app(open_lake(lake), Access.make(8765, token=TOKEN))


@pytest.fixture
def client(app: Starlette) -> TestClient:
    return TestClient(app, base_url=BASE)


def test_nothing_recorded_without_the_token(client: TestClient) -> None:
    for path in ("/api/runs", "/api/health", "/api/nothing", "/api", "/api/../api/runs"):
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert answer.json()["error"] == "token"
    assert client.get("/").status_code == 200, "the page itself has nothing of the recording, and says what is missing"


@pytest.mark.parametrize("shown", ["", "wrong", TOKEN[:-1], TOKEN + "x", "é" * 20])
def test_a_wrong_token_gives_nothing(client: TestClient, shown: str) -> None:
    answer = client.get("/", params={"rt": shown}, follow_redirects=False)
    assert "set-cookie" not in answer.headers
    assert client.get("/api/runs", headers={"authorization": f"Bearer {shown}".encode()}).status_code == 401
    client.cookies.set("rolltape_8765", "wrong")
    assert client.get("/api/runs").status_code == 401


def test_the_token_becomes_a_cookie_and_leaves_the_address(client: TestClient) -> None:
    answer = client.get("/", params={"rt": TOKEN, "x": "1"}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "./?x=1", "relative: it stays below the prefix of a proxy"
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("rolltape_8765=") and "httponly" in cookie and "samesite=strict" in cookie
    assert client.get("/api/runs").status_code == 200
    assert client.get("/api/runs", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_other_names_of_this_address_are_refused(client: TestClient, host: str) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "host": host}
    assert client.get("/api/runs", headers=headers).status_code == 421
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1", "[::1]:8765", "LOCALHOST:1"])
def test_names_of_this_machine_are_served(client: TestClient, host: str) -> None:
    assert client.get("/api/runs", headers={"authorization": f"Bearer {TOKEN}", "host": host}).status_code == 200


def test_a_proxy_may_be_named(lake: Path) -> None:
    app = create_app(open_lake(lake), Access.make(8765, token=TOKEN, names=("hub.example",)))
    client = TestClient(app, base_url="http://hub.example")
    assert client.get("/api/runs", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "https://localhost:8765"])
def test_other_origins_are_refused(client: TestClient, origin: str) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "origin": origin}
    assert client.get("/api/runs", headers=headers).status_code == 403


def close_code(client: TestClient, path: str, **headers: str) -> int:
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect(f"{SOCKET}{path}", headers=headers) as socket,
    ):
        socket.receive_text()
    return closed.value.code


def test_a_socket_needs_all_of_it(client: TestClient, lake: Path) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    path = f"/api/live?run={open_lake(lake).resolve('latest')}"
    assert close_code(client, path) == 4401
    assert close_code(client, path, origin="http://evil.example", **bearer) == 4403
    assert close_code(client, path, host="evil.example", **bearer) == 4403
    assert close_code(client, path, origin=BASE, **bearer) == NOT_LIVE, "let in, and told that nothing is live here"


def protocols(token: str) -> str:
    return f"rolltape.v1, rolltape.token.{base64.urlsafe_b64encode(token.encode()).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "elsewhere",
    [{"origin": "http://evil.example"}, {"host": "evil.example"}, {"host": "evil.example", "origin": "http://evil.example"}],
    ids=["hijacked from another site", "rebound name", "rebound name, same origin"],
)
def test_only_a_token_that_is_shown_opens_a_socket_elsewhere(
    client: TestClient, lake: Path, elsewhere: dict[str, str]
) -> None:
    path = f"/api/live?run={open_lake(lake).resolve('latest')}"
    header = "sec-websocket-protocol"
    assert close_code(client, path, **elsewhere, **{header: protocols(TOKEN)}) == NOT_LIVE, "a notebook's widget"
    client.cookies.set("rolltape_8765", TOKEN)
    assert close_code(client, path, **elsewhere) == 4403
    for wrong in (protocols("wrong"), protocols(""), "rolltape.v1", "rolltape.token.é", f"rolltape.token.{TOKEN}"):
        assert close_code(client, path, **elsewhere, **{header: wrong.encode()}) == 4403, wrong  # type: ignore[arg-type]
    assert close_code(client, f"{path}&rt={TOKEN}", **elsewhere) == 4403
    assert close_code(client, path, **elsewhere, authorization=f"Bearer {TOKEN}") == 4403


def test_a_shown_token_opens_sockets_alone(client: TestClient) -> None:
    headers = {"sec-websocket-protocol": protocols(TOKEN)}
    assert client.get("/api/runs", headers=headers).status_code == 401
    assert client.get("/api/runs", headers={**headers, "host": "evil.example"}).status_code == 421


def test_a_gateway_gets_sockets_that_were_let_in(lake: Path) -> None:
    async def live(socket, run: str) -> None:
        await socket.accept()
        await socket.send_text(run)
        await socket.close()

    client = TestClient(create_app(open_lake(lake), Access.make(8765, token=TOKEN), live=live), base_url=BASE)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    run = open_lake(lake).resolve("latest")
    with client.websocket_connect(f"{SOCKET}/api/live?run={run}", headers=bearer) as socket:
        assert socket.receive_text() == run
    assert close_code(client, "/api/live?run=../../etc", **bearer) == NOT_LIVE


@pytest.mark.parametrize("path", ["/", "/api/runs", "/api/nothing", "/favicon.svg", "/nothing"])
def test_every_answer_keeps_the_browser_here(client: TestClient, path: str) -> None:
    headers = client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; img-src 'self' blob:;")
    assert "unsafe" not in policy and "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer", "the token stands in the first address"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(client: TestClient, method: str) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    for path in ("/api/runs", "/api/health", "/"):
        assert client.request(method, path, headers=headers).status_code == 405


@pytest.mark.parametrize("name", ["..%2findex.html", "%2e%2e%2fmanifest.json", "..%2f..%2fauth.py", "x.js", ".", "%00"])
def test_assets_are_known_names_only(client: TestClient, name: str) -> None:
    assert client.get(f"/assets/{name}").status_code == 404


def test_other_machines_need_an_explicit_word() -> None:
    with pytest.raises(ConfigError, match=r"--allow-remote"):
        Access.make(8765, host="0.0.0.0")
    with pytest.raises(ConfigError, match=r"`ssh -L 9123:127\.0\.0\.1:9123 …`"):
        Access.make(9123, host="0.0.0.0")
    with pytest.raises(ConfigError, match="16 characters"):
        Access.make(8765, token="short")
    assert Access.make(8765, host="0.0.0.0", allow_remote=True).token, "and a token even then"
    tokens = {Access.make(8765).token for _ in range(3)}
    assert len(tokens) == 3


def test_it_works_below_a_prefix(app: Starlette) -> None:
    client = TestClient(Starlette(routes=[Mount("/some/prefix", app)]), base_url=BASE)
    assert client.get("/some/prefix/api/runs").status_code == 401
    first = client.get("/some/prefix/", params={"rt": TOKEN}, follow_redirects=False)
    assert first.headers["location"] == "./"
    assert client.get("/some/prefix/api/runs").status_code == 200
    page = client.get("/some/prefix/").text
    assert 'src="./assets/' in page and 'href="/' not in page and 'src="/' not in page
