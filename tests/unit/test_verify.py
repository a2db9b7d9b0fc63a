"""Inspection: what is whole is clean, what is not is named, and a damaged run does not hide the others."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rolltape.schema.errors import CorruptRecording
from rolltape.scripts.cli import app_of
from rolltape.storage.catalog import publish_catalog
from rolltape.storage.commits import CommitLog
from rolltape.storage.lake import open_lake
from rolltape.storage.layout import RunFolder
from rolltape.storage.run_info import write_end_info
from rolltape.storage.verify import verify_run
from tests.damages import DAMAGES, first, flip
from tests.ended_runs import NOBODY, crashed, ended, write_page
from tests.fragments import Fragment, Producer
from tests.lakes import QUICK, commit, new_run


def codes(run: RunFolder, severity: str = "damage") -> list[str]:
    return [finding.code for finding in verify_run(run).of(severity)]  # type: ignore[arg-type]


def test_a_whole_run_is_clean(tmp_path: Path) -> None:
    report = verify_run(ended(tmp_path))
    assert (report.verdict, report.exit_code, report.findings) == ("clean", 0, [])
    assert (report.status, report.parts, report.rows) == ("completed", 6, {"steps": 18, "episodes": 6})
    (account,) = report.accounts
    assert account.balanced and account.produced == 18


def test_a_crashed_run_is_settled_by_the_first_inspection(tmp_path: Path) -> None:
    run = crashed(tmp_path)
    assert verify_run(run, settle_it=False).verdict == "failed"
    report = verify_run(run)
    assert (report.verdict, report.exit_code) == ("lossy", 3)
    assert report.settled == "its driver died: 4 steps and 2 open episodes declared lost, its end is written now"
    again = verify_run(run)
    assert (again.verdict, again.settled, again.status) == ("lossy", "", "crashed")
    assert open_lake(tmp_path).run().status == "crashed"


@pytest.mark.parametrize(("code", "damage"), DAMAGES)
def test_damage_is_named(tmp_path: Path, code: str, damage: Callable[[RunFolder], object]) -> None:
    run = ended(tmp_path)
    damage(run)
    report = verify_run(run, settle_it=False)
    assert code in [finding.code for finding in report.of("damage")]
    assert report.exit_code == 1
    assert json.dumps(report.as_json())


def test_what_is_not_ours_is_noted(tmp_path: Path) -> None:
    run = ended(tmp_path)
    (run.table("steps") / "other.parquet").write_bytes(b"alien")
    (run.path / "thoughts.txt").touch()
    shutil.copy(first(run), run.table("steps") / "w0.0-00000009-00000009.parquet")
    report = verify_run(run)
    assert sorted(finding.code for finding in report.findings) == ["alien", "alien", "unmarked"]
    assert report.exit_code == 0


def test_counts_that_differ_are_damage(tmp_path: Path) -> None:
    """Nothing is flipped; the writer was wrong."""
    run = new_run(tmp_path)
    source = Producer(run_id=run.run_id)
    log = CommitLog.open(run, 0, QUICK)
    commit(log, [source.fragment(3)])
    write_page(run, source, 1)
    counts = {"produced": 8, "durable": 6, "lost": 0}
    write_end_info(run, {"status": "completed", "steps": 7, "episodes": 2, "reconciled": {"p0.0": counts}})
    assert codes(run) == ["end_counts", "accounts"]


def test_steps_that_are_stored_twice(tmp_path: Path) -> None:
    """Two lives that both record the episodes of the first: each fragment is once there, its rows are not."""
    run = new_run(tmp_path, host={"name": socket.gethostname(), "pid": NOBODY})
    log = CommitLog.open(run, 0, QUICK)
    commit(log, [Producer(run_id=run.run_id).fragment(3)])
    other = Producer(1, run_id=run.run_id)
    fragment = other.fragment(3)
    steps = fragment.batches["steps"]
    twin = Producer(run_id=run.run_id).fragment(3).batches["steps"]
    for name in ("sub_env", "episode"):
        steps = steps.set_column(steps.schema.get_field_index(name), steps.schema.field(name), twin[name])
    commit(log, [Fragment(fragment.header, {**fragment.batches, "steps": steps})])
    assert "steps_twice" in codes(run) and "episode_incomplete" in codes(run)


def test_readers_name_the_damaged_part_and_go_on_with_others(tmp_path: Path) -> None:
    good, bad = ended(tmp_path, 0), ended(tmp_path, 1)
    part = first(bad)
    data = part.read_bytes()
    part.write_bytes(data[:40] + bytes(len(data) - 60) + data[-20:])
    lake = open_lake(tmp_path)
    with pytest.raises(CorruptRecording, match=part.name.replace(".", r"\.")):
        lake.run(bad.run_id).steps().to_arrow()
    assert len(lake.run(good.run_id).steps()) == 18


def test_a_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    """Nor does it keep the catalog, and so the end of the next run, from being written."""
    good, bad, worse, newer = (ended(tmp_path, number) for number in range(4))
    bad.run_json.write_text("{")
    first(worse, "episodes").write_bytes(b"nothing")
    newer.run_json.write_text(json.dumps({"format": 2}))
    assert publish_catalog(tmp_path) is not None
    rows = open_lake(tmp_path).runs().to_dicts()
    assert [row["status"] for row in rows] == ["completed", "unreadable", "completed", "unreadable"]
    assert rows[0]["run_id"] == good.run_id


def test_command(tmp_path: Path) -> None:
    run, crash = ended(tmp_path, 1), crashed(tmp_path)
    runner = CliRunner()
    result = runner.invoke(app_of(), ["verify", run.run_id, "--lake", str(tmp_path)])
    assert result.exit_code == 0 and "clean" in result.stdout and "18 steps" in result.stdout
    result = runner.invoke(app_of(), ["verify", "--all", "--lake", str(tmp_path), "--json"])
    found = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"]) == (3, "lossy")
    assert {r["run_id"]: r["verdict"] for r in found["runs"]} == {run.run_id: "clean", crash.run_id: "lossy"}
    flip(first(run))
    result = runner.invoke(app_of(), ["verify", "--lake", str(tmp_path)])
    assert result.exit_code == 1 and "part_digest" not in result.stdout and "rolltape repair" in result.stdout
