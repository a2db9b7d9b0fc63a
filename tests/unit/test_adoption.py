"""Which payload versions a lake's producers speak: shares, counts and mismatches, in Python and in SQL."""

from __future__ import annotations

import json
import time
from pathlib import Path

import duckdb
import pytest

from rolltape.actors.legacy_import import import_v0
from rolltape.storage.catalog import publish_catalog
from rolltape.storage.lake import open_lake
from tests.lakes import new_run, record, run_id


def legacy(folder: Path, name: str, *, broken: int = 0, steps: int = 6) -> str:
    step = {"episode_id": name, "action": 0, "observation": 1, "reward": 1.0, "terminated": False, "truncated": False}
    lines = [json.dumps({**step, "step_index": t}) for t in range(steps)] + ["broken"] * broken
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return import_v0(folder / f"{name}.jsonl", folder / "lake", commit={"durability": "process"}).run_id


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    record(tmp_path / "lake", 0, end={"status": "completed"})  # 24 steps of version 1
    record(tmp_path / "lake", 1)
    legacy(tmp_path, "one", broken=2)
    legacy(tmp_path, "two", steps=6)
    return tmp_path / "lake"


def test_shares_by_version(mixed: Path) -> None:
    old, new = open_lake(mixed).adoption().to_dicts()
    assert (old["payload_version"], old["runs"], old["run_share"], old["steps"]) == (0, 2, 0.5, 12)
    assert (new["payload_version"], new["runs"], new["steps"], new["mismatches"]) == (1, 2, 48, 0)
    assert old["step_share"] == pytest.approx(0.2) and new["step_share"] == pytest.approx(0.8)
    assert (old["mismatches"], old["episodes"]) == (2, 2)


def test_the_same_in_sql(mixed: Path) -> None:
    lake = open_lake(mixed)
    assert lake.sql("select * from adoption").to_dicts() == lake.adoption().to_dicts()
    query = "select code, field, sum(count)::int from mismatches join runs using (run_id) group by all"
    assert lake.sql(query).fetchall() == [("line_unreadable", "line", 2)]
    assert lake.mismatches("payload_version = 1").fetchall() == []
    assert lake.sql("select count(*) from payloads where payload_version = 0").fetchall() == [(2,)]
    publish_catalog(mixed)
    with duckdb.connect(str(mixed / "catalog.duckdb"), read_only=True) as catalog:
        assert catalog.sql("select runs, steps from adoption order by payload_version").fetchall() == [(2, 12), (2, 48)]
        assert catalog.sql("select count(*) from mismatches").fetchall() == [(1,)]


def test_a_run_without_steps_counts_as_a_run(tmp_path: Path) -> None:
    new_run(tmp_path / "lake", payload_version=1)
    (row,) = open_lake(tmp_path / "lake").adoption().to_dicts()
    assert (row["runs"], row["run_share"], row["steps"], row["step_share"]) == (1, 1.0, 0, None)


def test_an_empty_lake_has_no_versions(tmp_path: Path) -> None:
    (tmp_path / "lake" / "runs").mkdir(parents=True)
    lake = open_lake(tmp_path / "lake")
    assert (lake.adoption().fetchall(), lake.mismatches().fetchall()) == ([], [])


def test_a_run_that_goes_on_is_read_again_and_one_that_ended_is_not(mixed: Path) -> None:
    lake = open_lake(mixed)
    before = lake.sql("select sum(steps) from payloads").fetchall()
    record(mixed, 2, end={"status": "completed"})
    assert lake.sql("select sum(steps) from payloads").fetchall() == [(before[0][0] + 24,)]
    for path in (mixed / "runs" / run_id(0) / "commits").iterdir():
        path.unlink()
    assert lake.sql("select sum(steps) from payloads").fetchall() == [(before[0][0] + 24,)]
    assert open_lake(mixed).sql("select sum(steps) from payloads").fetchall() == [(before[0][0],)]


@pytest.mark.long
def test_a_thousand_runs_in_a_second(tmp_path: Path) -> None:
    for number in range(1000):
        record(tmp_path / "lake", number, commits=2, end={"status": "completed"})
    began = time.perf_counter()
    (row,) = open_lake(tmp_path / "lake").adoption().to_dicts()
    seconds = time.perf_counter() - began
    print(f"adoption over {row['runs']} runs: {seconds:.2f} s")
    assert row["runs"] == 1000
    assert seconds < 1.0
