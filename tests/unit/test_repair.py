"""Repair: after it a recording is clean or lossy, nothing was deleted, and the next writer can go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rolltape.schema.errors import StorageError
from rolltape.schema.messages import ProducerKey
from rolltape.scripts.cli import app_of
from rolltape.storage.commits import CommitLog
from rolltape.storage.compaction import compact_run
from rolltape.storage.lake import open_lake
from rolltape.storage.layout import RunFolder
from rolltape.storage.rebuilding import mend_newest
from rolltape.storage.repair import repair_run
from rolltape.storage.run_info import write_end_info
from rolltape.storage.verify import verify_run
from tests.damages import DAMAGES, first, flip
from tests.ended_runs import crashed, ended
from tests.fragments import Producer
from tests.lakes import QUICK, commit, new_run


def everything(run: RunFolder) -> set[bytes]:
    """The contents of all files."""
    return {path.read_bytes() for path in run.path.rglob("*") if path.is_file() and "repair-" not in path.name}


REPAIRABLE = [(code, damage) for code, damage in DAMAGES if code != "format"]


@pytest.mark.parametrize(("code", "damage"), REPAIRABLE)
def test_damage_becomes_a_declared_loss(tmp_path: Path, code: str, damage: Callable[[RunFolder], object]) -> None:
    run = ended(tmp_path)
    damage(run)
    before = everything(run)
    planned = repair_run(run, dry_run=True)
    assert everything(run) == before and planned.actions and planned.after is None
    report = repair_run(run)
    assert before <= everything(run), "something was deleted"
    assert report.after is not None and report.after.of("damage") == []
    assert json.dumps(report.as_json())
    again = repair_run(run)
    assert (again.actions, again.losses) == ([], [])
    lake = open_lake(tmp_path)
    found = lake.run(run.run_id)
    steps = len(found.steps())
    gone = sum(loss.rows or 0 for loss in found.gaps() if loss.table == "steps")
    unknown = any(loss.rows is None for loss in found.gaps())
    assert steps + gone == 18 or unknown
    assert report.after.exit_code == (3 if found.gaps() else 0)


def keep(run: RunFolder) -> list[Path]:
    return sorted(run.commits.glob("*"))


def compacted(run: RunFolder) -> None:
    compact_run(run, grace_s=0)
    flip(keep(run)[0])


LOST_MARKERS: dict[str, Callable[[RunFolder], object]] = {
    "a bit": lambda run: flip(keep(run)[1]),
    "torn": lambda run: keep(run)[1].write_bytes(b""),
    "gone": lambda run: keep(run)[1].unlink(),
    "two gone": lambda run: [path.unlink() for path in keep(run)[:2]],
    "newest": lambda run: flip(keep(run)[2]),
    "newest gone": lambda run: keep(run)[2].unlink(),
    "all": lambda run: [flip(path) for path in keep(run)],
    "compacted": compacted,
}


@pytest.mark.parametrize("damage", LOST_MARKERS.values(), ids=LOST_MARKERS)
def test_a_lost_marker_is_made_again_from_whole_parts(tmp_path: Path, damage: Callable[[RunFolder], object]) -> None:
    run = ended(tmp_path)
    before = {path.name: json.loads(path.read_text()) for path in keep(run)}
    damage(run)
    assert verify_run(run).exit_code == 1
    kinds = {action.kind for action in repair_run(run, dry_run=True).actions}
    report = repair_run(run)
    assert kinds == {action.kind for action in report.actions} == {"rebuild"}
    assert report.after is not None and (report.after.verdict, report.losses) == ("clean", [])
    assert len(open_lake(tmp_path).run().steps()) == 18
    for path in keep(run):
        if path.name in before:  # not what a compaction wrote
            unlike = {"time_ns", "digest"}
            now, then = json.loads(path.read_text()), before[path.name]
            assert {k: v for k, v in now.items() if k not in unlike} == {k: v for k, v in then.items() if k not in unlike}


def test_a_crashed_run_whose_newest_marker_is_damaged(tmp_path: Path) -> None:
    """Verify leaves it alone: who settles would put aside what repair can make again."""
    run = crashed(tmp_path)
    flip(keep(run)[-1])
    report = verify_run(run)
    assert report.exit_code == 1 and not report.settled and "not_settled" in {f.code for f in report.findings}
    report = repair_run(run)
    assert [str(loss) for loss in report.losses] == ["steps of p0.0: 4 rows (crashed), its steps 25 to 28"]
    assert report.after is not None and report.after.verdict == "lossy"


def plain(path: Path) -> None:
    """The part as writers of before wrote it: it says nothing of its commit."""
    table = pq.read_table(path)
    said = {k: v for k, v in pq.read_metadata(path).metadata.items() if k not in (b"commit_outline", b"ARROW:schema")}
    with pq.ParquetWriter(path, table.schema.remove_metadata()) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(said)


ONE_DAMAGED: list[tuple[str, str, Callable[[Path, Path], object]]] = [
    ("episodes", "is not there", lambda steps, episodes: episodes.unlink()),
    ("episodes", "cannot be read", lambda steps, episodes: episodes.write_bytes(b"")),
    ("episodes", "has 6 rows, its marker says 2", lambda steps, episodes: shutil.copy(steps, episodes)),
    ("episodes", "commit = 3, expected 2", lambda s, e: shutil.copy(e.with_name(e.name.replace("2", "3")), e)),
    ("steps", "is not there", lambda steps, episodes: steps.unlink()),
    ("steps", "cannot be read", lambda steps, episodes: steps.write_bytes(b"")),
    ("steps", "cannot be read", lambda steps, episodes: flip(steps, 60)),
]


@pytest.mark.parametrize(("table", "why", "damage"), ONE_DAMAGED)
def test_a_lost_marker_and_a_damaged_part(
    tmp_path: Path, table: str, why: str, damage: Callable[[Path, Path], object]
) -> None:
    """The whole part stays; what the other one held is declared."""
    run = ended(tmp_path)
    marker = keep(run)[1]
    flip(marker)
    damage(*(run.table(one) / f"{marker.stem}.parquet" for one in ("steps", "episodes")))
    planned = repair_run(run, dry_run=True)
    report = repair_run(run)
    assert {(a.kind, a.path) for a in planned.actions} == {(a.kind, a.path) for a in report.actions}
    (said,) = [action.why for action in report.actions if action.kind == "rebuild"]
    assert said.startswith(f"from 1 of its 2 parts, which are whole; {table}/") and why in said
    (loss,) = report.losses
    held = {"steps": 6, "episodes": 2}
    assert (loss.table, str(loss.of), loss.first_fragment, loss.rows) == (table, "p0.0", 2, held[table])
    assert report.after is not None and report.after.verdict == "lossy"
    found = open_lake(tmp_path).run(run.run_id)
    kept = {"steps": len(found.steps()), "episodes": len(found.episodes())}
    assert kept == {"steps": 18, "episodes": 6} | {table: 3 * held[table] - held[table]}
    assert (repair_run(run).actions, verify_run(run).verdict) == ([], "lossy")


NOT_WHOLE: list[tuple[str, Callable[[Path, Path], object]]] = [
    ("none of its parts is there", lambda steps, episodes: [steps.unlink(), episodes.unlink()]),
    ("none of its parts says what it said", lambda steps, episodes: [plain(steps), plain(episodes)]),
    ("none of its parts says what it said", lambda steps, episodes: [steps.unlink(), plain(episodes)]),
    ("cannot be read", lambda steps, episodes: [flip(steps, 60), flip(episodes, 60)]),
    ("cannot be read", lambda steps, episodes: [flip(steps, 60), episodes.write_bytes(b"")]),
]


@pytest.mark.parametrize(("why", "damage"), NOT_WHOLE)
def test_a_lost_marker_without_whole_parts(
    tmp_path: Path, why: str, damage: Callable[[Path, Path], object]
) -> None:
    run = ended(tmp_path)
    marker = keep(run)[1]
    flip(marker)
    damage(*(run.table(table) / f"{marker.stem}.parquet" for table in ("steps", "episodes")))
    report = repair_run(run)
    (said,) = [action.why for action in report.actions if action.path == f"commits/{marker.name}"]
    assert said.startswith("it cannot be read, nor made again: ") and why in said
    assert [(str(loss.of), loss.first_fragment) for loss in report.losses if loss.table == "steps"] == [("p0.0", 2)]
    assert report.after is not None and report.after.verdict == "lossy"


def test_a_damaged_compaction_does_not_hide_what_it_covers(tmp_path: Path) -> None:
    """Killed in its swap, then its marker and a part were damaged: the commits that it covers are all there."""
    run = ended(tmp_path)
    singles = {path: path.read_bytes() for path in run.path.rglob("w0.0-*")}
    compact_run(run, grace_s=0)
    (cover,) = keep(run)
    flip(cover)
    flip(first(run), 60)
    for path, content in singles.items():
        path.write_bytes(content)
    report = repair_run(run)
    assert report.after is not None and (report.after.verdict, report.losses) == ("clean", [])
    assert len(open_lake(tmp_path).run().steps()) == 18


@pytest.mark.parametrize("damage", [LOST_MARKERS["newest"], compacted], ids=["newest", "compacted"])
def test_a_writer_makes_the_newest_marker_again(tmp_path: Path, damage: Callable[[RunFolder], object]) -> None:
    """It moved the whole commit to quarantine, and what was acknowledged was gone from the recording."""
    run = ended(tmp_path)
    damage(run)
    log = CommitLog.open(run, 0, QUICK)
    assert log.watermarks[ProducerKey(0, 0)].steps == 18
    assert log.recovery.rebuilt == log.recovery.unreadable != ()
    assert log.recovery.quarantined == ()
    assert len(list(run.quarantine.iterdir())) == 1, "what the marker said is kept"
    log.close()
    assert verify_run(run).verdict == "clean"
    assert len(open_lake(tmp_path).run().steps()) == 18


def test_a_writer_keeps_whole_parts_of_a_damaged_commit(tmp_path: Path) -> None:
    run = ended(tmp_path)
    flip(keep(run)[-1])
    flip(sorted(run.table("steps").glob("*.parquet"))[-1], 60)
    log = CommitLog.open(run, 0)
    assert (len(log.recovery.rebuilt), log.recovery.quarantined) == (1, ())
    assert log.watermarks[ProducerKey(0, 0)].steps == 18
    log.close()
    assert [finding.code for finding in verify_run(run).of("damage")] == ["part_digest"]
    assert compact_run(run, grace_s=0) is not None, "it leaves that part alone"
    report = repair_run(run)
    assert [(loss.table, loss.rows) for loss in report.losses] == [("steps", 6)]
    assert report.after is not None and report.after.verdict == "lossy"
    found = open_lake(tmp_path).run()
    assert (len(found.steps()), len(found.episodes())) == (12, 6)


def test_mending_says_what_it_made(tmp_path: Path) -> None:
    run = ended(tmp_path)
    assert mend_newest(run, durable=True) == ()
    newest = keep(run)[-1]
    flip(newest)
    assert mend_newest(run, durable=True) == (newest.name,)
    assert verify_run(run).verdict == "clean"
    flip(newest)
    flip(sorted(run.table("steps").glob("*.parquet"))[-1], 60)
    assert mend_newest(run, durable=False) == (), "without fsync that is the tail that nobody paid for"
    assert mend_newest(RunFolder(tmp_path / "runs" / "none"), durable=True) == ()


def test_a_commit_that_never_happened_is_not_made(tmp_path: Path) -> None:
    """Its writer died between its parts and its marker; the fragments came again, to another writer."""
    run = new_run(tmp_path)
    source = Producer(run_id=run.run_id)
    log = CommitLog.open(run, 0, QUICK)
    commit(log, [source.fragment(3)])
    again = source.fragment(3)
    commit(log, [again])
    (run.commits / "w0.0-00000002-00000002.json").unlink()
    for table in ("steps", "episodes"):
        shutil.copy(run.table(table) / "w0.0-00000002-00000002.parquet", tmp_path / table)
    log = CommitLog.open(run, 0, QUICK)
    commit(log, [again])
    for table in ("steps", "episodes"):
        shutil.copy(tmp_path / table, run.table(table) / "w0.0-00000002-00000002.parquet")
    counts = {"produced": source.steps, "durable": source.steps, "lost": 0}
    write_end_info(run, {"status": "completed", "steps": 12, "episodes": 4, "reconciled": {"p0.0": counts}})
    assert "rebuild" not in {action.kind for action in repair_run(run).actions}
    assert len(open_lake(tmp_path).run().steps()) == 12


def test_what_a_part_held_is_declared_by_producer(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    log = CommitLog.open(run, 0, QUICK)
    one, two = Producer(0, run_id=run.run_id), Producer(1, run_id=run.run_id)
    for _ in range(2):
        commit(log, [one.fragment(3), two.fragment(6)])
    write_end_info(run, {"status": "completed", "steps": 36, "episodes": 12})
    flip(first(run))
    report = repair_run(run)
    steps = [loss for loss in report.losses if loss.table == "steps" and loss.cause == "damaged"]
    assert [(str(loss.of), loss.rows, loss.first_step, loss.last_step) for loss in steps] == [
        ("p0.0", 6, 0, 6),
        ("p1.0", 12, 0, 12),
    ]
    assert {loss.file for loss in steps} == {f"steps/{first(run, 'episodes').name}"}


def test_a_crashed_run_gets_its_end(tmp_path: Path) -> None:
    run = crashed(tmp_path)
    report = repair_run(run)
    assert [str(loss) for loss in report.losses] == ["steps of p0.0: 4 rows (crashed), its steps 25 to 28"]
    assert report.after is not None and report.after.verdict == "lossy"
    assert open_lake(tmp_path).run().status == "crashed"


def test_a_run_that_is_recorded_is_left_alone(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    commit(CommitLog.open(run, 0, QUICK), [Producer(run_id=run.run_id).fragment(3)])
    with pytest.raises(StorageError, match="is being recorded"):
        repair_run(run)


def test_without_run_json_and_copy_nothing_is_touched(tmp_path: Path) -> None:
    run = ended(tmp_path)
    run.run_json.write_text("{")
    run.run_copy.write_text("{")
    before = everything(run)
    with pytest.raises(StorageError, match=r"Take run\.json from a backup"):
        repair_run(run)
    assert everything(run) == before


def test_command(tmp_path: Path) -> None:
    run = ended(tmp_path)
    flip(first(run))
    runner = CliRunner()
    result = runner.invoke(app_of(), ["repair", "latest", "--lake", str(tmp_path), "--dry-run"])
    assert result.exit_code == 1 and "would quarantine steps/" in result.stdout
    result = runner.invoke(app_of(), ["repair", "latest", "--lake", str(tmp_path)])
    assert result.exit_code == 3 and "steps of p0.0: 6 rows (damaged), its steps 1 to 6" in result.stdout
    assert (tmp_path / "catalog.duckdb").exists()
    result = runner.invoke(app_of(), ["verify", "--lake", str(tmp_path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (3, "lossy")
    assert runner.invoke(app_of(), ["repair", "XYZ", "--lake", str(tmp_path)]).exit_code == 1
