"""A run that is played back through the whole pipeline comes out row by row as it went in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rolltape
from rolltape.actors.stress import stress, stress_synthetic
from rolltape.schema.errors import ConfigError
from rolltape.scripts.cli import main
from rolltape.storage.equality import first_difference
from rolltape.storage.runs import Run

from .environments import Garden
from .processes import ENV_WORKER, actors, kill

pytestmark = pytest.mark.usefixtures("ray_session")


def opened(lake: Path, run_id: str = "latest") -> Run:
    return rolltape.open(lake).run(run_id)


@pytest.mark.long
def test_pictures_infos_and_a_killed_worker_come_out_as_they_went_in(lake: Path, tmp_path: Path) -> None:
    sizes = {"info_keys": 3, "frame_size": [12, 16], "episode_length": [3, 9]}
    with rolltape.Fleet("rolltape/Synthetic-v0", 4, lake, num_workers=2, env_kwargs=sizes, frames="render") as fleet:
        fleet.collect(steps=200, progress=False)
        kill(actors(ENV_WORKER)[0])
        fleet.collect(steps=200, progress=False)
    run = opened(lake, fleet.run_id)
    report = stress(run, tmp_path / "load", progress=False)
    assert report.checked and report.difference is None, report
    assert report.summary.status == "completed"
    copy = opened(tmp_path / "load")
    assert len(copy.steps()) == len(run.steps()) and len(copy.parts("frames"))
    assert copy.info["env"]["metadata"]["stress"]["run_id"] == run.run_id
    assert rolltape.replay(copy).exact
    assert {key: counts["produced"] for key, counts in copy.end["reconciled"].items()} == {  # type: ignore[index]
        key: counts["durable"]
        for key, counts in run.end["reconciled"].items()  # type: ignore[index]
    }


@pytest.mark.long
def test_a_recorder_of_any_space_at_a_rate(lake: Path, tmp_path: Path) -> None:
    env = rolltape.record(Garden(), lake)
    env.reset(seed=3)
    env.action_space.seed(3)
    for _ in range(40):
        if any(env.step(env.action_space.sample())[2:4]):
            env.reset()
    env.close()
    run = opened(lake, env.run_id)
    report = stress(run, tmp_path / "load", rate="100/s", progress=False)
    assert report.difference is None, report
    assert report.asked_per_s == pytest.approx(100)
    assert 50 < report.reached_per_s < 130 and report.late_s is not None
    assert report.times is not None


def test_a_changed_row_is_found(lake: Path, tmp_path: Path) -> None:
    env = rolltape.record(gym.make("CartPole-v1"), lake)
    env.reset(seed=3)
    for _ in range(5):
        env.step(1)
    env.close()
    run = opened(lake)
    copy = Path(shutil.copytree(lake, tmp_path / "copy"))
    part = opened(copy).parts("steps")[0]
    rows = pq.read_table(part)
    rewards = rows["reward"].to_pylist()
    rewards[3] = -0.0
    place = rows.column_names.index("reward")
    pq.write_table(rows.set_column(place, rows.schema.field(place), pa.array(rewards)), part)
    found = first_difference(run, opened(copy))
    assert found is not None
    assert (found.table, found.row, found.column, found.left, found.right) == ("steps", 3, "reward", 1.0, -0.0)
    assert first_difference(run, opened(lake)) is None
    with pytest.raises(ConfigError, match="another folder"):
        stress(run, lake)


def test_the_command(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--synthetic", "-n", "2", "--workers", "1", "--steps", "60", "--rate", "400/s", "-q"]
    with pytest.raises(SystemExit) as ended:
        main(["stress", *arguments, "-k", "observation_bytes=64", "--json", "--into", str(lake)])
    assert ended.value.code == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["checked"] and found["difference"] is None and found["asked_per_s"] == 400
    assert 100 < found["reached_per_s"] < 500
    with pytest.raises(SystemExit) as ended:
        main(["stress", "--lake", str(lake), "--into", f"{lake}2", "--rate", "10x", "-q"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "all equal" in told and "times the recorded pace" in told


def test_a_multiple_of_no_pace_is_refused(lake: Path) -> None:
    with pytest.raises(ConfigError, match="no recorded pace"):
        stress_synthetic(lake, rate="2x")
