"""Retention and vacuum: what goes, what waits, and what is never touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import rolltape as rt
from rolltape.dashboards.live_address import write_live
from rolltape.schema.errors import ConfigError
from rolltape.scripts.cli.amounts import seconds, size
from rolltape.storage.compaction import compact_run
from rolltape.storage.files import FileOps
from rolltape.storage.layout import RETIRED_NAME, RunFolder
from rolltape.storage.upkeep import retain, vacuum
from rolltape.storage.verify import verify_run
from tests.command_line import exit_code
from tests.lakes import record, run_id

DAY = 86400
LIVE = {"host": {"name": os.uname().nodename, "pid": os.getpid()}}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Three runs that ended on days 1 to 3 and one that is being recorded (this process is its maker)."""
    for number in range(3):
        record(tmp_path / "lake", number, end={"status": "completed", "ended_ns": int((number + 1) * DAY * 1e9)})
    return tmp_path / "lake"


def names(found: list) -> list[str]:
    return [Path(one.path).name for one in found]


def test_rules_of_retention(lake: Path) -> None:
    now = lambda: 10.0 * DAY  # noqa: E731
    for run in rt.open(lake).listing.run_ids():
        for marker in (lake / "runs" / run / "commits").glob("*.json"):
            marker.write_text(json.dumps(json.loads(marker.read_text()) | {"time_ns": 1}))
    assert names(retain(lake, keep_last=1, wall_s=now)) == [run_id(0), run_id(1)]
    assert names(retain(lake, max_age_s=7.5 * DAY, wall_s=now)) == [run_id(0), run_id(1)]
    assert names(retain(lake, max_age_s=7.5 * DAY, keep_last=2, wall_s=now)) == [run_id(0)]
    one = retain(lake, keep_last=2, wall_s=now)[0].bytes
    assert names(retain(lake, max_size_bytes=2 * one + 10, wall_s=now)) == [run_id(0)]
    assert names(retain(lake, max_size_bytes=0, keep_last=1, wall_s=now)) == [run_id(0), run_id(1)]
    assert names(retain(lake, keep_last=5)) == []
    assert names(retain(lake, keep_last=0)) == [run_id(0), run_id(1), run_id(2)]
    assert len(rt.open(lake).listing.run_ids()) == 3, "a dry run deletes nothing"


def test_a_live_run_stays(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rolltape.storage import summaries

    monkeypatch.setattr(summaries, "is_alive", lambda *_: True)
    record(lake, 7, info=LIVE)
    assert names(retain(lake, keep_last=0)) == [run_id(0), run_id(1), run_id(2)]
    assert not [one for one in vacuum(lake, grace_s=0) if "w0.0" in one.path and run_id(7) in one.path]


def test_retired_runs_are_not_listed_and_go_after_the_grace(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = rt.parts(lake)
    retain(lake, keep_last=1, dry_run=False, wait=False)
    assert rt.open(lake).listing.run_ids() == [run_id(2)]
    assert all(part.exists() for part in listed), "a reader may still use its list"
    assert [one.waits_s > 0 for one in vacuum(lake, dry_run=False) if "retired" in one.why] == [True, True]
    (lake / "runs" / run_id(1) / RETIRED_NAME).unlink()  # taken back
    assert run_id(0) in names(vacuum(lake, dry_run=False, grace_s=0))
    assert [path.name for path in sorted((lake / "runs").iterdir())] == [run_id(1), run_id(2)]
    assert list((lake / ".trash").iterdir()) == []


def test_retain_waits_for_its_grace(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    retain(lake, keep_last=1, dry_run=False, grace_s=12)
    assert slept == [12]
    assert [path.name for path in (lake / "runs").iterdir()] == [run_id(2)]


def test_vacuum(lake: Path) -> None:
    run = record(lake, 4, commits=5, end={"status": "completed"})
    compact_run(run, wait=False)
    (run.path / ".end.json.abc").write_text("{")
    (lake / ".catalog.duckdb.abc").write_text("half")
    (run.staging / "compaction-dead").mkdir()
    (run.staging / "compaction-dead" / "steps").write_text("torn")
    (run.quarantine / "steps.w0.0-00000009-00000009.parquet").write_text("?")
    assert all(one.waits_s > 0 for one in vacuum(lake, dry_run=False)), "nothing before its grace is over"
    assert (lake / ".catalog.duckdb.abc").exists() and len(list(run.commits.iterdir())) == 6
    would = vacuum(lake, grace_s=0)
    assert (lake / ".catalog.duckdb.abc").exists()
    assert vacuum(lake, dry_run=False, grace_s=0) == would
    assert len(list(run.commits.iterdir())) == 1
    assert not (lake / ".catalog.duckdb.abc").exists() and not (run.path / ".end.json.abc").exists()
    assert not list(run.staging.iterdir())
    assert list(run.quarantine.iterdir()), "quarantine only when asked for"
    assert vacuum(lake, dry_run=False, grace_s=0) == []
    vacuum(lake, dry_run=False, quarantine_age_s=0)
    assert not list(run.quarantine.iterdir())
    assert rt.open(lake).sql("select count(*) from steps").fetchall() == [(3 * 24 + 40,)]


def test_a_catalog_that_is_being_published_stays(lake: Path) -> None:
    """A large one takes longer than the grace."""
    fresh = lake / ".catalog.duckdb.abc"
    fresh.write_text("half")
    os.utime(fresh, (0, 0))
    with FileOps().locked(lake / ".catalog.lock", wait=True):
        vacuum(lake, dry_run=False)
        assert fresh.exists()
    vacuum(lake, dry_run=False)
    assert not fresh.exists()


def test_a_gateway_killed_while_it_writes_its_address(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.of(lake, run_id(0))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        write_live(run.path / "live.json", {"port": 1})
    assert [f for f in verify_run(run).findings if f.code == "alien"] == []
    assert len(list(run.path.glob(".live.json.*"))) == 1
    vacuum(lake, dry_run=False, grace_s=0)
    assert list(run.path.glob(".live.json.*")) == []
    write_live(run.path / "live.json", {"port": 1})
    assert (run.path / "live.json").stat().st_mode & 0o777 == 0o600


def test_no_rule_and_wrong_values(lake: Path) -> None:
    with pytest.raises(ConfigError, match="keep_last, max_age_s or max_size_bytes"):
        retain(lake)
    with pytest.raises(ConfigError, match=r"keep_last: must be 0 or more \(got -1\)"):
        retain(lake, keep_last=-1)
    with pytest.raises(ConfigError, match="level: must be one of normal, archive"):
        rt.compact(lake, level="tiny")  # type: ignore[arg-type]


def test_amounts() -> None:
    assert (seconds("90m", "x"), seconds("2w", "x"), seconds("1.5h", "x")) == (5400, 1209600, 5400)
    assert (size("100GB", "x"), size("2TiB", "x"), size("7", "x")) == (10**11, 2 << 40, 7)
    with pytest.raises(ConfigError, match=r"--max-age: expected an age such as 45s.*got '30 days'"):
        seconds("30 days", "--max-age")
    with pytest.raises(ConfigError, match="--max-size"):
        size("many", "--max-size")


def test_on_the_command_line(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rolltape(*arguments: str) -> str:
        assert exit_code(*arguments, "--lake", str(lake)) == 0
        return capsys.readouterr().out

    assert "6 parts -> 2" in rolltape("compact", "--grace", "0s")
    assert "nothing to merge: 2 parts" in rolltape("compact", "--grace", "0s")
    assert rolltape("compact", "--all", "--no-wait").count("\n") == 3
    assert "Nothing was deleted; --yes does it" in rolltape("retain", "--keep-last", "1")
    assert "Deleted" in rolltape("retain", "--keep-last", "1", "--yes", "--grace", "0s")
    assert [path.name for path in (lake / "runs").iterdir()] == [run_id(2)]
    rolltape("vacuum", "--grace", "0s", "--yes")
    assert "Nothing to delete" in rolltape("vacuum", "--grace", "0s")
