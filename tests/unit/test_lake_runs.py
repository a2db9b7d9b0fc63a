import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import rolltape as rt
from rolltape.schema.errors import ConfigError, LakeNotFound
from rolltape.storage.layout import RunFolder, new_run_id
from rolltape.storage.run_info import create_run
from rolltape.storage.summaries import created_at, is_alive
from tests.lakes import new_run, record, run_id


def test_no_lake_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFound, match=r"no such folder\. Give the folder .* `rolltape record"):
        rt.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LakeNotFound, match=r"has no runs/ in it"):
        rt.open(tmp_path / "empty")
    record(tmp_path / "lake")
    with pytest.raises(LakeNotFound, match=r"but at .*/lake\. Open that one"):
        rt.open(tmp_path)
    with pytest.raises(LakeNotFound, match=r"is a run; open its lake .*/lake and"):
        rt.open(tmp_path / "lake" / "runs" / run_id(0))
    assert not (tmp_path / "nowhere").exists()


def test_a_lake_without_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    lake = rt.open(tmp_path)
    assert len(lake.runs()) == len(lake.episodes()) == len(lake.steps()) == 0
    assert lake.sql("select count(*) from frames").fetchall() == [(0,)]
    with pytest.raises(LakeNotFound, match=r"No runs in .* yet"):
        lake.run()


def test_runs_newest_last_with_what_is_known(tmp_path: Path) -> None:
    record(tmp_path, 0, end={"status": "completed"}, env_id="A-v0")
    record(tmp_path, 1, end={"status": "stopped"}, env_id="B-v0", commits=1)
    record(tmp_path, 2, env_id="B-v0", info={"host": {"name": "another machine"}})
    lake = rt.open(tmp_path)
    rows = lake.runs().to_dicts()
    assert [row["run_id"] for row in rows] == [run_id(0), run_id(1), run_id(2)]
    assert [row["status"] for row in rows] == ["completed", "stopped", "running"]
    assert [row["steps"] for row in rows] == [24, 8, 24]
    assert [row["episodes"] for row in rows] == [8, 2, 8]
    assert {row["mean_return"] for row in rows} == {3.0}
    assert rows[0]["created"].isoformat() == "2026-09-21T14:13:20+00:00"
    files = list((tmp_path / "runs" / run_id(0)).rglob("*.parquet"))
    assert rows[0]["bytes"] == sum(p.stat().st_size for p in files)
    assert (rows[0]["seed"], rows[0]["num_envs"], rows[0]["workers"], rows[0]["frames"]) == (7, 2, 1, "none")
    assert lake.sql("select env_id, sum(steps) as s from runs group by 1 order by 1").fetchall() == [
        ("A-v0", 24),
        ("B-v0", 32),
    ]
    assert lake.runs("status = 'stopped'").to_dicts()[0]["run_id"] == run_id(1)


def test_a_run_is_found_by_its_beginning(tmp_path: Path) -> None:
    for number in (0, 1, 40):
        new_run(tmp_path, number)
    lake = rt.open(tmp_path)
    assert lake.run().run_id == lake.run("latest").run_id == run_id(40)
    assert lake.run(run_id(1)).run_id == run_id(1)
    beginning = run_id(0)[:8]  # they were made a second after one another
    assert lake.run(run_id(1)[:9].lower()).run_id == run_id(1)
    assert lake.run(lake.run(run_id(0))).run_id == run_id(0)
    with pytest.raises(LakeNotFound, match=rf"beginning of 2 runs: {run_id(0)}, {run_id(1)}\. Give more"):
        lake.run(beginning)
    with pytest.raises(LakeNotFound, match=rf"No run 'ZZ' .*newest runs: .*{run_id(40)}"):
        lake.run("ZZ")
    with pytest.raises(LakeNotFound, match="No run ''"):
        lake.run("")
    with pytest.raises(ConfigError, match="expected a run, a run id"):
        lake.run(3)


def test_a_folder_without_run_json_is_no_run(tmp_path: Path) -> None:
    new_run(tmp_path, 0)
    RunFolder.of(tmp_path, run_id(1)).path.mkdir()
    assert [row[0] for row in rt.open(tmp_path).runs().select("run_id").fetchall()] == [run_id(0)]


def test_who_is_alive(tmp_path: Path) -> None:
    run = RunFolder.of(tmp_path, new_run_id())
    create_run(run, {})
    made = max(p.stat().st_mtime for p in (run.run_json, run.commits, run.producers))
    here = {"host": {"name": socket.gethostname(), "pid": os.getpid()}}
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert is_alive(run, here)
    assert not is_alive(run, {"host": {"name": socket.gethostname(), "pid": gone.pid}})
    elsewhere = {"host": {"name": "another machine", "pid": 1}}
    assert is_alive(run, elsewhere, wall_s=lambda: made + 60)
    assert not is_alive(run, elsewhere, wall_s=lambda: made + 600)


def test_a_process_that_was_born_after_the_run_is_another(tmp_path: Path) -> None:
    early = RunFolder.of(tmp_path, "0" * 26)
    assert created_at(early.run_id).year == 1970
    assert not is_alive(early, {"host": {"name": socket.gethostname(), "pid": os.getpid()}})


def test_a_runs_facts(tmp_path: Path) -> None:
    record(tmp_path, 0, end={"status": "failed", "reason": "disk full"})
    run = rt.open(tmp_path).run()
    assert run.env_id == "Test-v0"
    assert run.info["seed"] == 7
    assert run.status == "failed"
    assert run.end is not None and run.end["reason"] == "disk full"
    assert repr(run) == f"<Run {run_id(0)} Test-v0 failed, 24 steps>"
    assert repr(run.lake) == f"<Lake {tmp_path}, 1 runs, newest {run_id(0)}>"
    assert [p.parent.name for p in run.parts("episodes")] == ["episodes"] * 3


def test_a_run_travels_to_another_process(tmp_path: Path) -> None:
    record(tmp_path, 0)
    run = pickle.loads(pickle.dumps(rt.open(tmp_path, threads=1, memory="1GB").run()))
    assert len(run.steps()) == 24


def test_the_newest_marker_that_is_whole_counts(tmp_path: Path) -> None:
    record(tmp_path, 0)
    markers = sorted((tmp_path / "runs" / run_id(0) / "commits").iterdir())
    markers[-1].write_text("{")
    assert rt.open(tmp_path).run().summary.steps == 16
