"""Migrations: the golden recording of every older format comes forward whole, and goes back from its backup."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rolltape.schema.errors import CorruptRecording, UnsupportedFormat
from rolltape.scripts.cli import app_of
from rolltape.storage.lake import open_lake
from rolltape.storage.layout import FORMAT, RunFolder
from rolltape.storage.migrations import STEPS, migrate_run, restore_run
from rolltape.storage.verify import all_runs, verify_run

GOLDEN = Path(__file__).parents[1] / "golden"


def old(tmp_path: Path, number: int = 0) -> RunFolder:
    lake = tmp_path / "lake"
    shutil.copytree(GOLDEN / f"format-{number}", lake)
    return all_runs(lake)[0]


def contents(run: RunFolder) -> dict[str, bytes]:
    return {str(p.relative_to(run.path)): p.read_bytes() for p in run.path.rglob("*") if p.is_file()}


def test_every_older_format_has_a_step_and_a_golden_recording() -> None:
    assert sorted(STEPS) == list(range(FORMAT))
    assert all((GOLDEN / f"format-{number}" / "runs").is_dir() for number in STEPS)


@pytest.mark.parametrize("number", sorted(STEPS))
def test_forward_and_back(tmp_path: Path, number: int) -> None:
    run = old(tmp_path, number)
    before = contents(run)
    with pytest.raises(UnsupportedFormat, match=f"older format {number}.*rolltape migrate"):
        open_lake(run.path.parent.parent).run().steps()
    planned = migrate_run(run, dry_run=True)
    assert contents(run) == before and planned.backup is None
    assert (planned.found, planned.reached, len(planned.steps)) == (number, FORMAT, FORMAT - number)
    report = migrate_run(run)
    assert report.backup is not None and report.files == planned.files
    assert verify_run(run).findings == []
    steps = open_lake(run.path.parent.parent).run().steps().to_arrow()
    assert steps.num_rows == 18 and steps["t"].to_pylist()[:3] == [0, 1, 2]
    assert migrate_run(run).steps == []
    assert restore_run(run) == report.backup
    after = contents(run)
    assert {name: data for name, data in after.items() if name in before} == before and set(after) == set(before)


def test_a_migration_that_was_killed_is_done_again(tmp_path: Path) -> None:
    """All but run.json was changed."""
    run = old(tmp_path)
    run_json = run.run_json.read_bytes()
    migrate_run(run)
    run.run_json.write_bytes(run_json)
    assert migrate_run(run).found == 0
    assert verify_run(run).findings == []


def test_a_damaged_part_is_not_vouched_for(tmp_path: Path) -> None:
    run = old(tmp_path)
    part = next(run.table("steps").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(CorruptRecording, match=part.name.replace(".", r"\.")):
        migrate_run(run)
    assert json.loads(run.run_json.read_text())["format"] == 0


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    run = old(tmp_path)
    run.run_json.write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(UnsupportedFormat, match="a newer one wrote it"):
        migrate_run(run)


def test_command(tmp_path: Path) -> None:
    run = old(tmp_path)
    lake = str(run.path.parent.parent)
    runner = CliRunner()
    result = runner.invoke(app_of(), ["migrate", "--all", "--lake", lake, "--dry-run"])
    assert result.exit_code == 0 and "would go from format 0 to 1" in result.stdout
    result = runner.invoke(app_of(), ["migrate", "--lake", lake, "--json"])
    assert json.loads(result.stdout)[0]["reached"] == FORMAT
    assert "nothing to do" in runner.invoke(app_of(), ["migrate", "--lake", lake]).stdout
    assert "restored from" in runner.invoke(app_of(), ["migrate", "--lake", lake, "--back"]).stdout
