"""The history as JSON: what it says of a lake, and that no question of a visitor breaks it."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from rolltape.dashboards.app import create_app
from rolltape.dashboards.auth import Access
from rolltape.dashboards.json_values import json_column, json_value
from rolltape.dashboards.lines import scalar_columns, thinned
from rolltape.storage.lake import open_lake
from tests.examples import examples
from tests.lakes import record
from tests.page_lake import GAPS, GRAPH, GRID, LENGTH, PICTURES, page_lake, picture

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = create_app(page_lake(tmp_path_factory.mktemp("lake")), Access.make(8765, token=TOKEN))
    headers = {"authorization": f"Bearer {TOKEN}"}
    with TestClient(app, base_url="http://127.0.0.1:8765/api/", headers=headers) as client:
        yield client


def test_runs_are_columns_newest_first(client: TestClient) -> None:
    said = client.get("runs").json()
    assert said["total"] == 4
    assert said["columns"]["run_id"] == [GAPS, GRAPH, GRID, PICTURES]
    assert said["columns"]["status"] == ["crashed", "completed", "completed", "completed"]
    assert said["columns"]["episodes"] == [6] * 4
    sparks = client.get("sparks").json()
    assert sparks[GRID]["best"] == max(sparks[GRID]["means"]) and len(sparks[GRID]["means"]) == 5


def test_a_run_of_this_machine_says_where_it_is_live(tmp_path: Path) -> None:
    run = record(
        tmp_path, info={"host": {"name": socket.gethostname(), "pid": os.getpid(), "since_ns": time.time_ns()}}
    )
    client = TestClient(create_app(open_lake(tmp_path), Access.make(1, token=TOKEN)), base_url="http://localhost")
    client.headers["authorization"] = f"Bearer {TOKEN}"
    page = {"url": "http://127.0.0.1:9/?rt=x", "node": socket.gethostname()}
    for content, expected in (
        (None, None),
        ("{", None),
        (json.dumps(page), page["url"]),
        (json.dumps(page | {"node": "elsewhere"}), None),
        (json.dumps(page | {"url": "javascript:alert(1)"}), None),
    ):
        if content is not None:
            (run.path / "live.json").write_text(content)
        assert client.get(f"/api/runs/{run.run_id}").json()["live_page"] == expected


def test_a_run(client: TestClient) -> None:
    said = client.get(f"runs/{PICTURES}").json()
    assert said["status"] == "completed" and said["steps"] == 6 * LENGTH
    rows = dict(zip(said["tables"]["table_name"], said["tables"]["rows"], strict=True))
    assert rows["steps"] == 6 * LENGTH and rows["frames"] == 6 * (LENGTH + 1)
    assert all(isinstance(n, int) for n in said["tables"]["bytes"])


def test_episodes_are_filtered_sorted_and_paged(client: TestClient) -> None:
    page = client.get(f"runs/{GRID}/episodes", params={"sort": "return", "order": "desc", "limit": 2}).json()
    assert page["total"] == 6 and page["columns"]["episode"] == [5, 4]
    page = client.get(f"runs/{GRID}/episodes", params={"status": "completed", "min_return": 18, "offset": 1}).json()
    assert page["total"] == 4 and page["columns"]["episode"] == [2, 3, 4]
    assert page["columns"]["seed"][0] == str(2**60 + 2), "a browser would round it"
    assert client.get(f"runs/{GRID}/episodes", params={"ended": "truncated"}).json()["total"] == 0
    spread = client.get(f"runs/{GRID}/returns").json()["spread"]["return"]
    assert sum(spread["counts"]) == 5


def test_steps_and_their_gap(client: TestClient) -> None:
    about = client.get(f"runs/{GAPS}/episodes/0").json()
    assert about["gaps"] == [[10, 19]] and about["length"] == LENGTH
    page = client.get(f"runs/{GAPS}/episodes/0/steps", params={"first": 8, "limit": 4}).json()
    assert page["columns"]["t"] == [8, 9, 20, 21] and page["total"] == LENGTH - 10
    series = client.get(f"runs/{GAPS}/episodes/0/series").json()
    assert set(series["lines"]) == {
        "reward",
        "action",
        "observation[0]",
        "observation[1]",
        "observation[2]",
        "return so far",
    }
    assert series["seconds"][10] == pytest.approx(0.02)
    assert [mark["t"] for mark in series["marks"]] == [25, 38]


@pytest.mark.parametrize("t", [0, 7, LENGTH])
def test_pictures_are_the_recorded_pixels(client: TestClient, t: int) -> None:
    answer = client.get(f"runs/{PICTURES}/episodes/3/frame.png", params={"t": t})
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), picture(3, t))


def test_a_block_of_pictures(client: TestClient) -> None:
    body = client.get(f"runs/{PICTURES}/episodes/1/pictures", params={"first": 30, "count": 8, "every": 2}).content
    at, seen = 0, []
    while at < len(body):
        t, length = struct.unpack_from("<II", body, at)
        shown = np.asarray(Image.open(io.BytesIO(body[at + 8 : at + 8 + length])))
        np.testing.assert_array_equal(shown, picture(1, t))
        seen.append(t)
        at += 8 + length
    assert seen == [30, 32, 34, 36, 38, 40]
    nearest = client.get(f"runs/{PICTURES}/episodes/1/frame.png", params={"t": 9999, "nearest": True}).content
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(nearest))), picture(1, LENGTH))


def test_without_pictures_it_says_why(client: TestClient) -> None:
    assert "frames=none" in client.get(f"runs/{GRID}/episodes/0/frames").json()["why"]
    assert client.get(f"runs/{GRID}/episodes/0/frame.png", params={"t": 0}).status_code == 404
    payloads = client.get(f"runs/{GRID}/episodes/0/payloads", params={"first": 38}).json()["payloads"]
    assert sorted(payloads) == ["38", "39", "40"] and payloads["38"]["items"][0]["column"] == 2
    assert client.get(f"runs/{GRAPH}/episodes/0/payloads").json()["payloads"]["1"]["nodes"][1]["role"] == "agent"


def test_settings_schemas_logs_and_health(client: TestClient) -> None:
    settings = client.get(f"runs/{GRID}/settings").json()
    assert {"key", "value", "unit", "default", "source", "place", "mutation"} == set(settings["values"][0])
    assert client.get("schemas").json()["adoption"]["payload_version"] == [1]
    schema = client.get(f"runs/{GRID}/schema").json()
    assert schema["vector"]["autoreset"] == "next_step" and schema["columns"]["steps"][0][0] == "run_id"
    logs = client.get(f"runs/{GAPS}/logs").json()
    assert logs["facets"]["level"] == {"error": 1, "info": 1}, "a crash is seen although nobody could write it"
    assert client.get(f"runs/{GAPS}/logs", params={"level": "error"}).json()["total"] == 1
    told = client.get(f"runs/{GRID}/logs").json()["columns"]
    assert told["message"][-1].startswith("The run is completed"), "also where its end has no time of its own"
    assert client.get("health").json()["live"] is False
    assert client.get("settings/schema").json()["schema"]["type"] == "object"


PATHS = (
    *("health", "runs", "sparks", "schemas", "settings/schema"),
    *(
        f"runs/{{run}}{rest}"
        for rest in ("", "/returns", "/episodes", "/ledger", "/metrics", "/settings", "/schema", "/logs")
    ),
    *(f"runs/{{run}}/episodes/{{episode}}{rest}" for rest in ("", "/steps", "/series", "/frames", "/frame.png")),
    *(f"runs/{{run}}/episodes/{{episode}}{rest}" for rest in ("/pictures", "/payloads")),
)
NASTY = st.sampled_from(
    [
        "'",
        "' or 1=1 --",
        "../../etc/passwd",
        "%2e%2e",
        "1; drop table x",
        "nan",
        "inf",
        "-1",
        "1e400",
        "9" * 30,
        "\x00",
        "",
        "☃",
    ]
)
ASCII = st.characters(codec="ascii")
NUMBERS = st.one_of(st.integers(-3, 50).map(str), st.integers(2**30, 2**70).map(str), st.floats().map(str))
NAMES = st.sampled_from(
    [
        "offset",
        "limit",
        "sort",
        "order",
        "status",
        "ended",
        "sub_env",
        "episode",
        "min_return",
        "max_return",
        "min_length",
        "max_length",
        "points",
        "bins",
        "first",
        "count",
        "every",
        "kind",
        "t",
        "nearest",
        "level",
        "component",
        "code",
        "origin",
        "text",
        "run",
        "bogus",
    ]
)
WORDS = st.sampled_from(
    [
        "return",
        "episode",
        "asc",
        "desc",
        "completed",
        "aborted",
        "terminated",
        "observation",
        "render",
        "true",
        "info",
        "error",
    ]
)


@examples(120)
@given(
    path=st.sampled_from(PATHS),
    run=st.one_of(st.sampled_from([PICTURES, GRID, GRAPH, GAPS, "0" * 26, PICTURES.lower()]), NASTY.filter(bool)),
    episode=st.one_of(st.integers(0, 7).map(str), NASTY.filter(bool)),
    query=st.dictionaries(NAMES, st.one_of(NUMBERS, WORDS, NASTY, st.text(ASCII, max_size=8)), max_size=3),
)
def test_no_question_breaks_it(client: TestClient, path: str, run: str, episode: str, query: dict[str, str]) -> None:
    from urllib.parse import quote

    where = path.format(run=quote(run, safe=""), episode=quote(episode, safe=""))
    answer = client.get(where, params=query, follow_redirects=False)
    assert answer.status_code in (200, 404, 422, 409, 307), answer.text
    if answer.headers.get("content-type", "") == "application/json":
        said = json.loads(answer.text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
        if answer.status_code != 200:
            assert set(said) == {"error", "message"} and said["message"]
            assert "Traceback" not in said["message"]


@given(st.one_of(st.floats(), st.integers(), st.text(ASCII), st.booleans(), st.none(), st.binary()))
def test_values_survive_json(value: object) -> None:
    said = json.loads(json.dumps(json_value(value), allow_nan=False))
    if isinstance(value, float):
        assert said == value or np.isnan(float(said)) == np.isnan(value)
    elif isinstance(value, int):
        assert int(said) == value
    elif not isinstance(value, bytes):
        assert said == value


def test_columns_of_every_kind_become_json_and_lines() -> None:
    nested = pa.array([{"a": 1.5, "b": [1, 2]}, None], pa.struct({"a": pa.float64(), "b": pa.list_(pa.int8(), 2)}))
    assert json_column(nested) == [{"a": 1.5, "b": [1, 2]}, None]
    lines = dict(scalar_columns("x", pa.chunked_array([nested])))
    assert list(lines) == ["x.a", "x.b[0]", "x.b[1]"]
    assert lines["x.a"][0] == 1.5 and np.isnan(lines["x.a"][1]) and np.isnan(lines["x.b[1]"][1])
    assert dict(scalar_columns("s", pa.chunked_array([pa.array(["a"])]))) == {}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(16, 60))
def test_thinned_lines_keep_their_peaks(values: list[float], points: int) -> None:
    line = np.array(values)
    x, (thin,) = thinned(np.arange(len(line), dtype=np.float64), [line], points)
    assert len(x) == len(thin) <= max(points, 2) or len(line) <= points
    assert np.nanmax(thin) == line.max() and np.nanmin(thin) == line.min()
    assert (np.diff(x) >= 0).all()
