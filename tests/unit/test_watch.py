"""`rolltape watch`: what is committed, what a gateway tells, and how both look."""

import io
import json
import re
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from rolltape.dashboards import watch_live
from rolltape.dashboards.app import create_app
from rolltape.dashboards.auth import Access
from rolltape.dashboards.live_address import LiveAddress, live_address
from rolltape.dashboards.server import bound_socket, server_of
from rolltape.dashboards.watch_lake import LakeWatch
from rolltape.dashboards.watch_live import LiveLink, LiveState
from rolltape.dashboards.watch_screen import line, screen, sparkline
from rolltape.dashboards.watched import LogLine, Snapshot, StreamRow, printable
from rolltape.dashboards.wire import CLOSE_PROTOCOL, CLOSE_REPLACED, JPEG, PICTURE, Record, WireError, heard, pack
from rolltape.schema.config import CommitConfig
from rolltape.storage.commits import CommitLog
from rolltape.storage.lake import open_lake
from rolltape.storage.run_info import write_end_info
from rolltape.storage.upkeep import compact
from tests.command_line import exit_code
from tests.fragments import Producer
from tests.lakes import commit, new_run, record, run_id

ANSI = re.compile(r"\x1b\[")


def shown(snapshot: Snapshot, width: int = 100, **console: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=width, **console).print(screen(snapshot, width))
    return out.getvalue()


# ---- the lake -------------------------------------------------------------------------------------------------------


def test_a_run_that_grows_is_followed(tmp_path: Path) -> None:
    folder = new_run(tmp_path)
    source = Producer(run_id=folder.run_id)
    log = CommitLog.open(folder, 0, CommitConfig(durability="process"))
    run = open_lake(tmp_path).run()
    watch = LakeWatch(run)
    empty = watch.look()
    assert (empty.steps, empty.episodes, list(empty.streams), list(empty.returns)) == (0, 0, [], [])
    for _ in range(5):
        commit(log, [source.fragment(4)])
        snapshot = watch.look()
        assert snapshot.steps == len(run.steps())
        assert snapshot.episodes == len(run.episodes())
        done = run.episodes("status = 'completed'").order("end_time")
        assert sorted(snapshot.returns) == sorted(done.numpy()["return"])
        for row in snapshot.streams:
            of = f"sub_env = {row.name.split('/')[0]}"
            steps = run.steps(where=of).order("episode desc", "t desc").limit(1).to_dicts()[0]
            assert (row.episode, row.t) == (steps["episode"], steps["t"])
            rewards = run.steps(where=f"{of} and episode = {row.episode}").numpy()["reward"]
            assert row.episode_return == pytest.approx(rewards.sum())


def test_a_compaction_counts_nothing_twice(tmp_path: Path) -> None:
    record(tmp_path, commits=6, end={"status": "completed"})
    watch = LakeWatch(open_lake(tmp_path).run())
    before = watch.look()
    assert compact(tmp_path, wait=False)
    assert watch.look() == before


def test_who_comes_late_says_no_return_it_does_not_know(tmp_path: Path) -> None:
    folder = new_run(tmp_path)
    source = Producer(run_id=folder.run_id, length=1000)
    log = CommitLog.open(folder, 0, CommitConfig(durability="process"))
    for _ in range(6):  # one episode in six parts, of which the first look reads the newest four
        commit(log, [source.fragment(4)])
    late = LakeWatch(open_lake(tmp_path).run()).look()
    assert [row.t for row in late.streams] == [23, 23]
    assert [row.episode_return for row in late.streams] == [None, None]


def test_states_of_streams_and_runs(tmp_path: Path) -> None:
    record(tmp_path, 0, end={"status": "completed"})
    over = LakeWatch(open_lake(tmp_path).run()).look()
    assert over.is_over and {row.state for row in over.streams} == {"ended"}
    record(tmp_path, 1, info={"host": {"name": "elsewhere"}})
    run = open_lake(tmp_path).run(run_id(1))
    newest = max(run.steps().to_dicts(), key=lambda row: row["time"])["time"]
    watch = LakeWatch(run, now=lambda: newest + timedelta(seconds=1))
    soon = watch.look()
    assert {row.state for row in soon.streams} == {"live"}
    assert soon.lag_s == pytest.approx(1.0)
    assert (soon.steps_per_s, watch.look().steps_per_s) == (None, 0.0), "one look alone knows no rate"
    late = LakeWatch(run, now=lambda: newest + timedelta(seconds=60)).look(streams=1)
    assert [row.state for row in late.streams] == ["idle"] and late.more_streams == 1


def test_what_a_crash_took_is_not_known_before_it_is_verified(tmp_path: Path) -> None:
    run = record(tmp_path, info={"host": {"name": socket.gethostname(), "pid": 2**30}})
    crashed = LakeWatch(open_lake(tmp_path).run()).look()
    assert crashed.status == "crashed" and "lost not known yet" in line(crashed)
    assert line(replace(crashed, lost=3)).count("lost 3 or more") == 1
    assert "not known yet; rolltape verify" in open_lake(tmp_path).run()._repr_html_()
    write_end_info(run, {"run_id": run.run_id, "status": "crashed", "lost_steps": 0})
    assert "lost 0" in line(LakeWatch(open_lake(tmp_path).run()).look())
    assert "not known yet" not in open_lake(tmp_path).run()._repr_html_()


# ---- the gateway ----------------------------------------------------------------------------------------------------


def hello(**more: Any) -> dict[str, Any]:
    streams = [{"index": i, "id": f"{i}/agent_0"} for i in range(3)]
    return {"type": "hello", "protocol": 1, "viewer": "ab.1", "streams": streams} | more


def status(t: int = 3, episode: int = 0, state: str = "live", **run: Any) -> dict[str, Any]:
    said = {"state": "live", "steps": 100, "episodes": 2, "steps_per_s": 50.0, "durable_lag_s": 0.4, "durable_lost": 0}
    columns = {"index": [0, 1, 2], "state": [state, "starved", "no_viewer"], "episode": [episode, 1, None]}
    columns |= {"t": [t, 4, None], "return": [1.5, 2.0, None]}
    return {"type": "status", "run": said | run, "streams": columns}


BARE = Snapshot("01J", "Test-v0", "running", "lake", steps=90)


def test_what_a_gateway_tells_is_shown() -> None:
    clock = iter(np.arange(0, 100, 0.5)).__next__
    state = LiveState(most=2, clock=lambda: float(clock()))
    wish = state.hear(hello())
    assert heard(json.dumps(wish)).wish["sub"] == (0, 1)
    state.hear(status(t=10))
    state.hear(status(t=20))
    state.hear(
        {
            "type": "episodes",
            "ends": [{"stream": 0, "episode": 0, "length": 22, "return": 7.0, "status": "completed"}],
            "omitted": 0,
        }
    )
    state.hear(status(t=5, episode=3))
    log = {"time": 1.8e9, "severity": "WARNING", "component": "hub", "message": "\x1b[31mred"}
    state.hear({"type": "log", "rows": [log]})
    made = state.over(BARE, 2, 5)
    assert (made.source, made.steps, made.steps_per_s, made.lag_s) == ("live", 100, 50.0, 0.4)
    assert [(row.name, row.state, row.episode, row.t) for row in made.streams] == [
        ("0/agent_0", "live", 3, 5),
        ("1/agent_0", "starved", 1, 4),
    ]
    assert made.streams[0].steps_per_s == pytest.approx((22 + 5 - 10) / 1.0)
    assert made.more_streams == 1
    assert list(made.returns) == [7.0]
    assert made.logs[0].message == " [31mred"


def test_pictures_are_acknowledged_when_they_are_shown_and_once() -> None:
    state = LiveState()
    state.hear(hello())
    for sequence in (1, 2):
        state.take(b"".join(pack(Record(PICTURE, JPEG, s, sequence, 0.0, 1, 1, b"x")) for s in (0, 1)))
    said = state.shown()
    assert heard(json.dumps(said)).rendered == ((0, 2), (1, 2))
    assert state.shown() is None


def test_streams_that_come_are_subscribed() -> None:
    state = LiveState(most=2)
    state.hear(hello(streams=[{"index": 4, "id": "4"}]))
    assert (state.hear({"type": "streams", "streams": [{"index": 4, "id": "4"}, {"index": 5, "id": "5"}]}) or {})[
        "sub"
    ] == [4, 5]
    assert state.hear({"type": "streams", "streams": [{"index": i, "id": "x"} for i in (4, 5, 6)]}) is None


def test_another_version_of_the_wire_is_refused() -> None:
    with pytest.raises(WireError, match="version 2"):
        LiveState().hear(hello(protocol=2))


class Gateway:
    """A connection that says what it is given, then waits for what comes back."""

    def __init__(self, *says: dict[str, Any] | bytes) -> None:
        self.says, self.heard = says, []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.came, self.done = threading.Event(), threading.Event()

    def __call__(self, uri: str, *, additional_headers: dict[str, str], **options: Any) -> "Gateway":
        self.asked.append((uri, additional_headers))
        return self

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def __iter__(self):
        for said in self.says:
            yield said if isinstance(said, bytes) else json.dumps(said)
        self.came.set()
        self.done.wait(10)

    def send(self, said: str) -> None:
        self.heard.append(heard(said))

    def close(self) -> None:
        self.done.set()


def test_a_terminal_is_a_viewer_with_credits() -> None:
    picture = pack(Record(PICTURE, JPEG, 1, 9, 0.0, 1, 1, b"x"))
    gateway = Gateway(hello(), status(), picture)
    link = LiveLink(lambda: LiveAddress("01J", "127.0.0.1", 4242, "secret"), LiveState(), connect=gateway)
    try:
        assert gateway.came.wait(10)
        assert link.over(BARE, 8, 8).source == "live"
        assert gateway.asked == [("ws://127.0.0.1:4242/api/live?run=01J", {"Authorization": "Bearer secret"})]
        wish, shown = gateway.heard
        assert wish.wish["sub"] == (0, 1, 2) and wish.wish["hz"] == 4
        assert shown.rendered == ((1, 9),)
    finally:
        link.close()
    assert not link._thread.is_alive()


@pytest.mark.parametrize(
    ("code", "viewers", "words"),
    [
        (CLOSE_REPLACED, ["", ""], "has gone"),  # somebody else has the id: a new one, as the page takes it
        (1001, ["", "ab.1"], "has gone"),  # the same viewer, with its pools and numbers
        (4401, ["", "ab.1"], "does not let this viewer in"),
        (CLOSE_PROTOCOL, [""], "does not understand this viewer: no such key"),
    ],
)
def test_how_a_terminal_comes_back(
    code: int, viewers: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a real socket: what closes it is what the library makes of its close code."""
    from starlette.websockets import WebSocket

    monkeypatch.setattr(watch_live, "WAITS_S", (0.01,))
    came: list[str] = []
    again = threading.Event()

    async def serve(socket: WebSocket, run: str) -> None:
        await socket.accept()
        came.append(socket.query_params.get("viewer", ""))
        await socket.send_json(hello())
        if len(came) == 1:
            await socket.receive_json()  # its wish: it has heard its name
            await socket.close(code, "no such key")
        else:
            again.set()
            await socket.receive_bytes()

    run = new_run(tmp_path)
    listening = bound_socket("127.0.0.1", 0)
    access = Access.make(listening.getsockname()[1])
    server = server_of(create_app(open_lake(tmp_path), access, live=serve), signals=False)
    serving = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    serving.start()
    reasons: list[str] = []
    address = LiveAddress(run.run_id, "127.0.0.1", access.port, access.token or "")

    def asked() -> LiveAddress:
        reasons.append(link.reason if reasons else "")
        return address

    link: Any = SimpleNamespace(reason="")
    link = LiveLink(asked, LiveState())
    try:
        if len(viewers) == 2:
            assert again.wait(60)
            assert words in reasons[1]
        else:
            link._thread.join(60)
            assert words in link.reason
        assert came == viewers
    finally:
        link.close()
        server.should_exit = True
        serving.join(10)


def test_without_a_gateway_the_lake_tells_and_says_why() -> None:
    link = LiveLink(lambda: "nobody serves it live", LiveState(), connect=Gateway())
    try:
        while link.reason == "connecting":
            pass
        made = link.over(BARE, 8, 8)
        assert (made.source, made.note, made.steps) == ("lake", "nobody serves it live", 90)
    finally:
        link.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "nobody serves it"),
        ("{", "cannot be read"),
        ('{"host": "127.0.0.1"}', "cannot be read"),
        ('{"protocol": 9, "host": "127.0.0.1", "port": 1, "token": "x"}', "version 9"),
        ('{"protocol": 1, "host": "127.0.0.1", "port": 1, "token": "x", "node": "moon"}', "served on moon"),
    ],
)
def test_why_a_gateway_cannot_be_asked(tmp_path: Path, content: str | None, words: str) -> None:
    run = new_run(tmp_path)
    if content is not None:
        (run.path / "live.json").write_text(content)
    assert words in str(live_address(run))


def test_a_gateway_is_found(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    (run.path / "live.json").write_text('{"protocol": 1, "host": "0.0.0.0", "port": 77, "token": "x", "node": "moon"}')
    assert live_address(run) == LiveAddress(run.run_id, "moon", 77, "x")


# ---- how it looks ---------------------------------------------------------------------------------------------------

FULL = Snapshot(
    "01J5",
    "CartPole-v1",
    "running",
    "live",
    steps=12_345,
    episodes=67,
    steps_per_s=890.4,
    lag_s=0.42,
    lost=3,
    streams=[StreamRow("0/agent_0", "starved", 4, 1200, 17.25, 99.6), StreamRow("1/agent_0", "idle")],
    more_streams=62,
    returns=[1.0, 5.0, 3.0],
    logs=[LogLine(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "warning", "writer", "[bold]slow disk[/]")],
)


def test_the_screen_says_it_all() -> None:
    text = shown(FULL)
    assert text.splitlines()[0] == "CartPole-v1  01J5  running  live"
    assert "12,345 steps, 890 steps/s, 67 episodes, durable lag 0.4 s, lost 3" in text
    assert re.search(r"^0/agent_0 +starved +4 +1,200 +17\.25 +100 *$", text, re.M)
    assert re.search(r"^1/agent_0 +idle +– +– +– +– *$", text, re.M)
    assert "and 62 more" in text
    assert "returns ▁█▅ last 3, mean of 3: 3" in text
    assert "03:04:05 warning writer [bold]slow disk[/]" in text
    assert not ANSI.search(text)
    assert ANSI.search(shown(FULL, force_terminal=True))


@pytest.mark.parametrize("width", [20, 40, 300])
def test_the_screen_fits_any_width(width: int) -> None:
    assert max(map(len, shown(FULL, width).splitlines())) <= width


def test_one_line_for_pipes() -> None:
    assert line(FULL) == (
        "running, 12,345 steps, 890 steps/s, 67 episodes, return 3, lag 0.4 s, lost 3, 1 starved, live"
    )
    assert line(BARE) == "running, 90 steps, 0 episodes, lost 0, lake"


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([2, 2], 8) == "▁▁"
    assert sparkline([float("nan")], 8) == ""
    assert len(sparkline(list(range(1000)), 30)) == 30
    assert printable("a\x1b[2Jb\nc") == "a [2Jb c"


# ---- the command ----------------------------------------------------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = exit_code("watch", *arguments)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, end={"status": "completed"})
    code, out, err = command(capsys, "--once", "--lake", str(tmp_path))
    assert (code, err) == (0, "")
    assert "Test-v0" in out and "completed" in out and "24 steps" in out and "0/agent_0" in out
    assert not ANSI.search(out)


def test_without_a_terminal_a_run_that_is_over_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, end={"status": "completed"})
    code, out, _ = command(capsys, "--lake", str(tmp_path))
    assert code == 0
    assert re.fullmatch(r"\d\d:\d\d:\d\d completed, 24 steps, \d+ episodes, .*lost 0, lake\n", out)


def test_ctrl_c_ends_it_quietly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path)

    def stopped(self: LakeWatch, *args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LakeWatch, "look", stopped)
    assert command(capsys, "--lake", str(tmp_path)) == (0, "", "")


def test_no_such_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").mkdir()
    code, _, err = command(capsys, "--lake", str(tmp_path))
    assert code == 1 and "No runs in" in err
