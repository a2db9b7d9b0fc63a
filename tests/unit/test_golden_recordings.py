"""Every golden recording reads back exactly, in this and in every later version.

Never change a recording or its `expected.json` to make a test pass: a reader that cannot read them cannot read what people
have recorded. How they were made: tests/golden/make_recordings.py.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from rolltape.actors.remaking import recipe_of
from rolltape.actors.state_infos import adapter_again
from rolltape.actors.stepping import make_env
from rolltape.schema.adapters.registry import OURS, known_adapters
from rolltape.schema.errors import EnvError
from rolltape.schema.render_payload import payload_to_json
from rolltape.storage.episodes import Episode
from rolltape.storage.lake import open_lake
from rolltape.storage.runs import Run
from tests.golden.make_recordings import LARGEST_BYTES, RECIPES, VERSION, fingerprint, ordered

FOLDER = Path(__file__).parent.parent / "golden" / "recordings"
RECORDINGS = sorted(
    path for path in FOLDER.iterdir() if re.fullmatch(r"v\d+-.+", path.name) and (path / "runs").is_dir()
)
golden = pytest.mark.parametrize("lake", RECORDINGS, ids=lambda path: path.name)


def opened(lake: Path) -> tuple[Run, list[dict[str, Any]]]:
    return open_lake(lake).run(), json.loads((lake / "expected.json").read_text())


def item(batch: Any, i: int) -> Any:
    """One value of what Gymnasium batches: an array, or arrays in dicts and tuples; or of a list of values."""
    if isinstance(batch, dict):
        return {key: item(value, i) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(item(value, i) for value in batch)
    return batch[i]


def state_of(episode: Episode, t: int) -> str:
    return fingerprint(dict(sorted(episode.state(t).items())))


@golden
def test_every_value_is_the_one_that_was_seen(lake: Path) -> None:
    run, expected = opened(lake)
    assert run.status == "completed"
    assert len(run.episodes()) == len(expected)
    for number, was in enumerate(expected):
        episode = run.episode(number)
        length = len(was["actions"])
        assert (episode.length, episode.seed) == (length, was["seed"])
        assert (episode["terminated"], episode["truncated"]) == (was["terminated"], was["truncated"])
        assert float(episode["return"]).hex() == was["return"]
        assert [float(reward).hex() for reward in episode.rewards] == was["rewards"]
        assert [fingerprint(item(episode.actions, t)) for t in range(length)] == was["actions"]
        assert [fingerprint(ordered(item(episode.observations, t))) for t in range(length + 1)] == was["observations"]
        infos = [episode.info(t) for t in range(length + 1)]
        own = [{k: v for k, v in sorted(info.items()) if not k.startswith("state.")} for info in infos]
        assert [fingerprint(info) for info in own] == was["infos"]
        assert [state_of(episode, t) for t in range(length + 1)] == was["states"]


@golden
def test_plain_parquet_readers_see_the_same_rows(lake: Path) -> None:
    run, expected = opened(lake)
    steps = sum(len(was["actions"]) for was in expected)
    parts = sorted(lake.glob("runs/*/steps/*.parquet"))
    assert sum(pq.read_table(part).num_rows for part in parts) == steps == len(run.steps())
    rewards = np.concatenate([pq.read_table(part)["reward"].to_numpy() for part in parts])
    assert [float(reward).hex() for reward in rewards] == [reward for was in expected for reward in was["rewards"]]


@golden
def test_recorded_state_shows_the_same_payload(lake: Path) -> None:
    run, expected = opened(lake)
    if not run.info["config"]["adapter"]["state"]:
        pytest.skip("its adapter has no state")
    recipe = recipe_of(run) if run.info["env"]["spec"] else recipe_of(run, RECIPES[lake.name.partition("-")[2]][0])
    try:
        env = make_env(recipe)
    except EnvError as error:
        pytest.skip(str(error))
    adapter = adapter_again(run, env)
    env.close()
    for number, was in enumerate(expected):
        episode = run.episode(number)
        for t, payload in enumerate(was["payloads"]):
            shown = adapter.payload_of_state(episode.state(t))
            assert (None if shown is None else fingerprint(payload_to_json(shown))) == payload


def test_there_is_one_for_each_version_and_adapter() -> None:
    adapters = {known.name for known in known_adapters() if known.origin == "rolltape"}
    assert len(adapters) == len(OURS) + 1
    assert {lake.name for lake in RECORDINGS} >= {f"v{VERSION}-{name}" for name in adapters | {"courier"}}


@golden
def test_they_are_small_and_name_no_machine(lake: Path) -> None:
    files = [path for path in lake.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST_BYTES
    run, _ = opened(lake)
    assert run.info["host"]["name"] == "golden"
    assert run.end is not None
    assert not Path(run.end["path"]).is_absolute()
