"""The notebook's widgets, their kernel side: what the page is told, asked and answered."""

import json
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rolltape.actors import rerender
from rolltape.dashboards.carrier import Carrier
from rolltape.dashboards.live_address import LiveAddress
from rolltape.dashboards.wire import JPEG, PICTURE, Record, heard, pack, unpack
from rolltape.schema.errors import ConfigError, LakeNotFound, MissingExtra
from rolltape.storage.lake import open_lake
from tests.lakes import new_run, record
from tests.widget_messages import Sent, caught

ADDRESS = LiveAddress("01J", "127.0.0.1", 4242, "s3cret_-")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What widgets send to their page."""
    return caught(monkeypatch)


def say(widget: Any, **content: Any) -> None:
    """As the page does."""
    widget._handle_custom_msg(content, [])


def pictures_of(block: bytes) -> dict[int, np.ndarray]:
    image = pytest.importorskip("PIL.Image")
    import io

    found, at = {}, 0
    while at < len(block):
        t, length = struct.unpack_from("<II", block, at)
        found[t] = np.asarray(image.open(io.BytesIO(block[at + 8 : at + 8 + length])))
        at += 8 + length
    return found


RECORDINGS = Path(__file__).parent.parent / "golden" / "recordings"


def test_an_episode_is_played_from_the_lake(sent: list) -> None:
    run = open_lake(RECORDINGS / "v1-atari").run()
    widget = run.replay(0)
    about = widget.get_state()["about"]
    json.dumps(about, allow_nan=False)
    length = run.episode(0).length
    assert about["ts"] == list(range(length + 1)) and about["why"] == "" and about["length"] == length
    say(widget, type="pictures", id=7, first=4, count=3)
    content, (block,) = sent[-1]
    assert content == {"type": "pictures", "id": 7}
    found = pictures_of(block)
    assert list(found) == [4, 5, 6]
    assert all(np.array_equal(found[t], run.frame(0, t)) for t in found)


def test_what_stands_for_pictures_is_played_too(sent: list) -> None:
    run = rerender.open_lake(RECORDINGS / "v1-frozen_lake").run()
    widget = run.replay(0)
    about = widget.get_state()["about"]
    assert about["ts"] == [] and about["why"] == ""
    say(widget, type="payloads", id=1, first=0, count=1000)
    payloads = sent[-1][0]["payloads"]
    assert [payloads[str(t)]["kind"] for t in range(about["length"] + 1)] == ["grid"] * (about["length"] + 1)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"type": "pictures"}, "first"),
        ({"type": "pictures", "first": "x", "count": 1}, "invalid literal"),
        ({"type": "shell", "first": 0, "count": 1}, "asks for pictures or payloads, not 'shell'"),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_wrong(sent: list, asked: dict, words: str) -> None:
    widget = open_lake(RECORDINGS / "v1-atari").run().replay(0)
    say(widget, id=1, **asked)
    assert sent[-1][0]["type"] == "error" and words in sent[-1][0]["message"]
    say(widget, type="pictures", first=0, count=1)  # without a number there is nobody to answer
    assert len(sent) == 1


def test_an_episode_without_pictures_says_why_and_still_plays(tmp_path: Path, sent: list) -> None:
    record(tmp_path, end={"status": "completed"})
    run = open_lake(tmp_path).run()
    number = run.episodes().to_dicts()[0]["episode"]
    about = run.replay(number).get_state()["about"]
    assert about["ts"] == [] and about["why"]
    assert about["rewards"] == run.episode(number).rewards.tolist()
    with pytest.raises(LakeNotFound, match="no episode 123456"):
        run.replay(123456)


def test_live_needs_a_gateway_and_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("anywidget")
    new_run(tmp_path)
    run = open_lake(tmp_path).run()
    with pytest.raises(LakeNotFound, match=r"cannot be watched live: nobody serves it live\. run\.replay\(episode\)"):
        run.live()
    for wrong in ({"tiles": 0}, {"size": 5000}, {"hz": 0}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))}: expected"):
            run.live(**wrong)


def test_live_tells_the_page_where_the_gateway_is(tmp_path: Path) -> None:
    pytest.importorskip("anywidget")
    folder = new_run(tmp_path)
    said = {"protocol": 1, "host": "127.0.0.1", "port": 4242, "token": "s3cret_-"}
    (folder.path / "live.json").write_text(json.dumps(said))
    state = open_lake(tmp_path).run().live(tiles=4, hz=10).get_state()
    assert state["about"] == {"run": folder.run_id, "tiles": 4, "size": 160, "hz": 10}
    assert state["door"] == {"host": "127.0.0.1", "port": 4242, "token": "s3cret_-"}


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path)
    run = open_lake(tmp_path).run()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "rolltape.dashboards.widgets", raising=False)
    monkeypatch.delattr("rolltape.dashboards.widgets", raising=False)
    for widget in (run.live, lambda: run.replay(0)):
        with pytest.raises(MissingExtra, match=r"anywidget: pip install 'rolltape\[notebook\]'"):
            widget()


class Gateway:
    """Says what it is given, as fast as it is asked; time passes only when somebody waits."""

    def __init__(self, says: list[dict[str, Any] | bytes]) -> None:
        self.says, self.heard, self.now = list(says), [], 0.0
        self.options: dict[str, Any] = {}

    def __call__(self, uri: str, **options: Any) -> "Gateway":
        self.uri, self.options = uri, options
        return self

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def recv(self, timeout: float | None) -> str | bytes:
        if not self.says:
            if timeout is None:
                raise ConnectionError
            self.now += timeout
            raise TimeoutError
        self.now += 0.01
        said = self.says.pop(0)
        return said if isinstance(said, bytes) else json.dumps(said)

    def send(self, said: str) -> None:
        self.heard.append(heard(said))

    def close(self) -> None:
        self.says.clear()


def picture(stream: int, sequence: int) -> bytes:
    return pack(Record(PICTURE, JPEG, stream, sequence, 0.0, 1, 1, b"x"))


def test_the_kernel_carries_the_newest_five_times_a_second() -> None:
    hello = {"type": "hello", "streams": [{"index": i} for i in (2, 0, 1)]}
    frames = [picture(stream, sequence) for sequence in range(1, 51) for stream in (0, 1)]  # one second of them
    gateway = Gateway([hello, *frames, {"type": "end", "status": "completed"}])
    told: list[dict[str, Any]] = []
    sent: list[tuple[float, list[Record]]] = []
    over = threading.Event()

    def tell(message: dict[str, Any]) -> None:
        told.append(message)
        if message["type"] == "end":
            over.set()

    carrier = Carrier(
        ADDRESS, 2, 160, tell, lambda f: sent.append((gateway.now, list(unpack(f)))), gateway, lambda: gateway.now
    )
    assert over.wait(10)
    carrier.close()
    carrier._thread.join(10)
    assert gateway.uri == "ws://127.0.0.1:4242/api/live?run=01J"
    assert gateway.options["additional_headers"] == {"Authorization": "Bearer s3cret_-"}
    wish, *shown = gateway.heard
    assert wish.wish["sub"] == (0, 1) and wish.wish["hz"] == 5
    times = [at for at, _ in sent]
    assert 4 <= len(sent) <= 7 and min(np.diff(times)) >= 0.2 - 1e-9
    assert [len(records) for _, records in sent[1:]] == [2] * (len(sent) - 1)
    last = {record.stream: record.sequence for _, records in sent for record in records}
    assert last == {0: 50, 1: 50}
    assert dict(shown[-1].rendered) == last  # cumulative: those that were replaced return their credits too
    assert [message["type"] for message in told] == ["hello", "end"]
