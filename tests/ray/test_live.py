"""A recording that is watched: what a viewer gets, that it starves and resumes once, and that nothing is lost for it."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

import rolltape as rt
from rolltape.dashboards import wire
from rolltape.storage.verify import verify_run

from .processes import GATEWAY, HUB, actors, kill, one, wait_for

pytestmark = pytest.mark.usefixtures("watched")

SIDE = 48
WAIT_S = 120.0  # for processes that start beside others; what is there comes at once


class Counted(gym.Env[np.ndarray, int]):
    """Its picture says which step it is: red is the step, green the episode's parity."""

    observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def _seen(self) -> np.ndarray:
        return np.full((SIDE, SIDE, 3), (self.t % 256, self.t // 256, 7), np.uint8)

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.t = 0
        super().reset(**_)
        return self._seen(), {}

    def step(self, _: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self._seen(), 1.0, self.t >= 5000, False, {}


class Watcher:
    """A viewer of one run, over a real socket."""

    def __init__(self, page: str, run: str, viewer: str = "") -> None:
        address = urlsplit(page)
        token = parse_qs(address.query)["rt"][0]
        self._opened = connect(
            f"ws://{address.netloc}/api/live?run={run}&viewer={viewer}",
            additional_headers={"authorization": f"Bearer {token}"},
            origin=f"http://{address.netloc}",  # type: ignore[arg-type]
            max_size=None,
            compression=None,
            ping_interval=None,  # a gateway on a busy machine is late, and not gone
        )
        self.socket: ClientConnection = self._opened.__enter__()
        self.hello = json.loads(self.socket.recv(WAIT_S))
        self.control: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {}
        self.said_at: list[float] = []
        self.records: list[wire.Record] = []

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def hear(self, draws: bool = True) -> None:
        """One message; what is drawn is said to be."""
        message = self.socket.recv(WAIT_S)
        if isinstance(message, str):
            told = json.loads(message)
            if told["type"] == "control" and told["viewer"] == self.hello["viewer"]:
                self.control.append(told)
            elif told["type"] == "status":
                self.status = told
                self.said_at.append(told["time"])
            return
        for record in wire.unpack(message):
            self.records.append(record)
            if draws and record.kind in (wire.PICTURE, wire.PAYLOAD):
                self.say(rendered=[[record.stream, record.sequence]])

    def until(self, true: Callable[[], Any], draws: bool = True) -> None:
        deadline = time.monotonic() + WAIT_S
        while not true():
            assert time.monotonic() < deadline, (self.status, self.control, len(self.records))
            self.hear(draws)


class Looping:
    """A recorder that is stepped in a thread until `end`."""

    def __init__(self, lake: Path) -> None:
        self.env = rt.record(
            Counted(),
            lake,
            live={"enabled": True, "credits": 20, "low_water": 2, "early_events": 64},
            ui_controls={"view_hz": 30, "scalars_hz": 10},
            throttle={"steps_per_s": 300},
        )
        self.page = wait_for(lambda: self.env.page, "the page", WAIT_S)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._step)
        self._thread.start()

    def _step(self) -> None:
        self.env.reset(seed=1)
        while not self._ended.is_set():
            if self.env.step(0)[2]:
                self.env.reset()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self.env.close()


@pytest.fixture
def loop(ray_session: None, lake: Path) -> Iterator[Looping]:
    looping = Looping(lake)
    yield looping
    looping.end()


def test_a_viewer_sees_what_is_there_and_costs_nothing_when_it_freezes(loop: Looping, lake: Path) -> None:
    recorded, page = loop.env, loop.page
    assert page.startswith("http://127.0.0.1:")
    viewer = Watcher(page, recorded.run_id)
    viewer.say(sub=[0], size=0, lossless=True, hz=30, depth=4, steps=[0])
    viewer.until(lambda: len(viewer.records) >= 20)
    pictures = [record for record in viewer.records if record.kind == wire.PICTURE]
    steps = {record.sequence: json.loads(record.payload) for record in viewer.records if record.kind == wire.STEP}
    seen = 0
    for picture in pictures:
        found = np.asarray(Image.open(io.BytesIO(picture.payload)))
        t = int(found[0, 0, 0]) + 256 * int(found[0, 0, 1])
        assert picture.codec == wire.PNG and found.shape == (SIDE, SIDE, 3) and (found == found[0, 0]).all()
        if picture.sequence in steps:
            said = steps[picture.sequence]
            assert (said["t"], said["return"], said["reward"], said["action"]) == (t, float(t), 1.0, 0)
            seen += 1
    assert seen
    # It stops drawing: STARVED, once, and nothing more is published to it.
    viewer.until(lambda: viewer.control, draws=False)
    frozen = len(viewer.records)
    viewer.until(lambda: viewer.status["streams"]["state"] == ["starved"], draws=False)
    before = viewer.status["run"]["steps"]
    viewer.until(lambda: viewer.status["run"]["steps"] > before + 300, draws=False)
    assert len(viewer.records) - frozen <= 4 * 2
    # It draws again: RESUMED, once.
    viewer.say(rendered=[[0, viewer.records[-1].sequence]])
    viewer.until(lambda: len(viewer.control) == 2)
    more = len(viewer.records) + 20
    viewer.until(lambda: len(viewer.records) > more)
    assert [(told["number"], told["transition"]) for told in viewer.control] == [(1, "STARVED"), (2, "RESUMED")]
    viewer.until(lambda: viewer.status["viewers"][0]["shown"] > 0)
    row, mine = viewer.status["viewers"][0], viewer.status["streams"]
    assert row["published"] == row["shown"] + sum(row["skipped"].values()) + row["in_flight"]
    assert min(np.diff(viewer.said_at)) < 0.4, "ten a second; two would be the default"
    assert viewer.status["run"]["durable_lost"] == 0 and mine["transitions"] == [2]
    viewer.socket.close()
    loop.end()
    run = rt.open(lake).run(recorded.run_id)
    stored = run.lake.sql("select viewer, sub_env, number, transition from control order by viewer, number").fetchall()
    assert [row for row in stored if row[0] == viewer.hello["viewer"]] == [
        (viewer.hello["viewer"], 0, 1, "STARVED"),
        (viewer.hello["viewer"], 0, 2, "RESUMED"),
    ]
    assert len(set(stored)) == len(stored)
    unseen = dict(run.lake.sql("select cause, rows from ledger where sub_env = 0 and table_name = 'live'").fetchall())
    assert unseen["no_credit"] > 0 and run.gaps() == []
    _whole(loop, lake)


def _whole(loop: Looping, lake: Path) -> None:
    summary = loop.env.summary
    assert summary is not None
    assert (summary.status, summary.lost_steps) == ("completed", 0)
    report = verify_run(rt.open(lake).run(loop.env.run_id).folder)
    assert report.verdict == "clean", report
    assert summary.steps > 300


def test_gateway_and_hub_may_die(loop: Looping, lake: Path) -> None:
    recorded, page = loop.env, loop.page
    viewer = Watcher(page, recorded.run_id)
    viewer.say(sub=[0], hz=30)
    viewer.until(lambda: viewer.records)
    kill(one(HUB))
    heard = len(viewer.records)
    viewer.until(lambda: len(viewer.records) > heard + 10)  # pictures need no hub
    wait_for(lambda: actors(HUB), "another hub", WAIT_S)
    kill(one(GATEWAY))
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            again = Watcher(page, recorded.run_id, viewer.hello["viewer"])
            break
        except (OSError, WebSocketException):  # it is not back yet
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert again.hello["epoch"] != viewer.hello["epoch"] and not again.hello["resumed"]
    again.say(sub=[0], hz=30)
    again.until(lambda: len(again.records) > 10)
    again.until(lambda: again.status.get("run", {}).get("state") == "live")
    fresh = Watcher(page, recorded.run_id, again.hello["viewer"])  # its link broke, and only it has noticed
    assert fresh.hello["resumed"] and fresh.hello["viewer"] == again.hello["viewer"]
    fresh.say(sub=[0], hz=30)
    fresh.until(lambda: len(fresh.records) > 10)
    with pytest.raises(ConnectionClosed):
        while True:
            again.hear()
    assert again.socket.close_code == wire.CLOSE_REPLACED
    fresh.socket.close()
    loop.end()
    _whole(loop, lake)
