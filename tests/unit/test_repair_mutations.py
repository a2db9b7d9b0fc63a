"""Recordings damaged by chance: repair never crashes, hides nothing, and is not in the way of the next run.

What such damage once found has a test of its own below.
"""

from __future__ import annotations

import random
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rolltape.schema.errors import CorruptRecording, RolltapeError
from rolltape.storage.catalog import publish_catalog
from rolltape.storage.commits import CommitLog
from rolltape.storage.files import FileOps
from rolltape.storage.findings import Finding
from rolltape.storage.lake import Lake, open_lake
from rolltape.storage.layout import RunFolder
from rolltape.storage.repair import repair_run
from rolltape.storage.verify import verify_run
from tests.ended_runs import crashed, ended
from tests.fragments import Producer
from tests.lakes import QUICK, commit


def mutate(run: RunFolder, chance: random.Random) -> str:
    """Damage something; says what."""
    files = [path for path in sorted(run.path.rglob("*")) if path.is_file()]
    path = chance.choice(files)
    name = str(path.relative_to(run.path))
    data = path.read_bytes()
    kind = chance.choice(["flip", "flip", "flip", "cut", "empty", "drop", "copy", "swap", "grow", "alien", "noise"])
    if kind == "flip" and data:
        at, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        return f"flip {name} at {at}"
    if kind == "cut" and data:
        path.write_bytes(data[: chance.randrange(len(data))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "drop":
        path.unlink()
    elif kind == "copy":
        target = (
            chance.choice(files).parent / f"w0.{chance.randrange(2)}-{1:08d}-{chance.randrange(1, 5):08d}{path.suffix}"
        )
        if target.exists():
            return "nothing"
        shutil.copy(path, target)
        return f"copy {name} {target.relative_to(run.path)}"
    elif kind == "swap":
        other = chance.choice(files)
        if other.read_bytes() == data:
            return "nothing"
        path.write_bytes(other.read_bytes())
    elif kind == "grow":
        path.write_bytes(data + chance.randbytes(20))
    elif kind == "alien":
        target = path.with_name(
            chance.choice(["x.parquet", "steps.csv", "w0.0-1-1.parquet", "w9.9-00000001-00000001.json"])
        )
        if target.exists():
            return "nothing"
        target.write_bytes(data)
        return f"alien {target.relative_to(run.path)}"
    else:
        path.write_bytes(chance.randbytes(len(data)))
    return f"{kind} {name}"


UNCHECKED = ("writers/", "run.json.copy", "quarantine/", "staging/")
"""Nothing reads their content: the names of claims are all that counts, and a copy is checked when it is needed."""


def read_all(lake: Lake, run: RunFolder) -> None:
    found = lake.run(run.run_id)
    for table in ("steps", "episodes"):
        getattr(found, table)().to_arrow()
    found.gaps()


def nothing_better(finding: Finding, what: str) -> bool:
    """A run.json that can be read and was changed, where its copy was mutated as well: nobody can say what it was."""
    return (finding.code, finding.path) == ("seal", "run.json") and "run.json.copy" in what


def one_tree(base: Path, folder: Path, seed: int, mutations: int = 1) -> None:
    """Never a crash, never silent, never in the way of the next run."""
    chance = random.Random(seed)
    shutil.copytree(base, folder)
    run, other = (RunFolder(path) for path in sorted((folder / "runs").iterdir()))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    what = "; ".join(mutate(run, chance) for _ in range(mutations))
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    changed = {str(p.relative_to(run.path)) for p in {*before, *after} if before.get(p) != after.get(p)}
    story = f"seed {seed}: {what}"
    report = verify_run(run, threads=1, settle_it=False)
    if changed and not all(name.startswith(UNCHECKED) for name in changed):
        assert report.findings, f"{story}: nobody noticed"
    damaged = report.exit_code == 1
    try:
        read_all(open_lake(folder, threads=1), run)
    except (RolltapeError, CorruptRecording):
        assert damaged, f"{story}: cannot be read, and verify does not say so"
    opened = open_lake(folder, threads=1)
    try:
        repaired = repair_run(run)
    except RolltapeError as error:
        assert not run.run_json.exists() or "run.json" in what, f"{story}: {error}"
    else:
        assert repaired.after is not None
        left = [finding for finding in repaired.after.of("damage") if not nothing_better(finding, what)]
        assert left == [], f"{story}: {left}"
        read_all(opened, run)
    assert len(opened.runs()) >= 1, "a damaged run hides the others"
    if seed % 10 == 0:  # it takes a while
        publish_catalog(folder)
    log = CommitLog.open(other, 0, QUICK)
    commit(log, [Producer(7, run_id=other.run_id).fragment(1)])
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("base")
    ended(lake, 0)
    ended(lake, 1, commits=1)
    return lake


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about power cuts."""
    monkeypatch.setattr(FileOps, "sync", lambda self, path: None)


def test_mutations(base: Path, tmp_path: Path, quick_disk: None) -> None:
    for seed in range(40):
        one_tree(base, tmp_path / str(seed), seed)


def test_several_mutations_at_once(base: Path, tmp_path: Path, quick_disk: None) -> None:
    for seed in range(20):
        one_tree(base, tmp_path / str(seed), seed, mutations=5)


def test_a_part_whose_footer_tells_another_type_is_damaged(base: Path, tmp_path: Path, quick_disk: None) -> None:
    """It made the run unreadable once its marker, lost as well, was made again and vouched for it."""
    one_tree(base, tmp_path / "2663", 2663, mutations=6)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_mutations(base: Path, tmp_path: Path, quick_disk: None) -> None:
    for seed in range(1000, 2000):
        one_tree(base, tmp_path / str(seed), seed)
    for seed in range(2000, 3500):
        one_tree(base, tmp_path / str(seed), seed, mutations=6)


def test_a_claim_that_was_deleted_is_not_taken_again(base: Path, tmp_path: Path) -> None:
    """Found by mutations: the next writer was w0.0 once more, and its first commit had the name of the first."""
    run = ended(tmp_path)
    (run.writers / "w0.0.json").unlink()
    log = CommitLog.open(run, 0, QUICK)
    assert log.writer_id == "w0.1"
    commit(log, [Producer(7, run_id=run.run_id).fragment(1)])


def test_a_footer_whose_names_are_no_text(base: Path, tmp_path: Path) -> None:
    """Found by mutations (seed 100129): reading raised UnicodeDecodeError, which names no file."""
    run = ended(tmp_path)
    for part in run.table("steps").glob("*.parquet"):
        data = part.read_bytes()
        at = data.index(b"episode", len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
        part.write_bytes(data[:at] + b"\xef" + data[at + 1 :])
    with pytest.raises(CorruptRecording, match="steps"):
        open_lake(tmp_path).run().steps().to_dicts()
    assert {f.code for f in verify_run(run).of("damage")} >= {"part_digest"}
    report = repair_run(run)
    assert report.after is not None and report.after.verdict == "lossy"


def test_a_page_that_counts_to_the_moon(base: Path, tmp_path: Path) -> None:
    """Found by mutations (seed 100655): repair asked for 128 TiB to list the episodes that a flipped bit made."""
    for bit in (30, 44, 62):
        run = crashed(tmp_path / str(bit))
        (path,) = run.producers.glob("*.page")
        words = np.fromfile(path, np.int64)
        words[8] |= 1 << bit  # the newest episode of the first sub-environment
        words.tofile(path)
        report = repair_run(run)
        assert report.after is not None and report.after.verdict == "lossy"


def test_an_end_json_that_is_another_file(base: Path, tmp_path: Path) -> None:
    """Found by mutations (seed 200448): a run.json in its place is whole, and nobody noticed."""
    run = ended(tmp_path)
    shutil.copy(run.run_json, run.end_json)
    assert [finding.code for finding in verify_run(run).of("damage")] == ["end_json"]
    report = repair_run(run)
    assert report.after is not None and report.after.of("damage") == []


def test_a_column_whose_type_was_changed_is_damage(base: Path, tmp_path: Path) -> None:
    """Found by mutations (seed 100827): SQL raised a ConversionException, as if the statement were wrong."""
    run = ended(tmp_path)
    older = sorted(run.table("episodes").glob("*.parquet"))[0]
    table = pq.read_table(older)
    at = table.schema.get_field_index("sub_env")
    pq.write_table(table.set_column(at, "sub_env", pa.array([datetime(2026, 1, 1)] * len(table))), older)
    with pytest.raises(CorruptRecording, match=older.name):
        open_lake(tmp_path).run().episodes().to_dicts()


def test_a_run_json_that_was_changed_with_its_copy(base: Path, tmp_path: Path) -> None:
    """Found by mutations (seed 100135): it stays as it is, and verify says what to do instead of sending to repair."""
    run = ended(tmp_path)
    run.run_json.write_text(run.run_json.read_text().replace('"seed": 7', '"seed": 8'))
    run.run_copy.write_bytes(b"noise")
    (finding,) = verify_run(run).of("damage")
    assert finding.code == "seal" and "backup" in finding.remedy
    assert repair_run(run).after is not None
    assert open_lake(tmp_path).run().steps().to_dicts()


def test_a_run_json_that_is_another_file(base: Path, tmp_path: Path) -> None:
    """Found by mutations: an end.json in its place is whole, and its stride is that of nothing."""
    run = ended(tmp_path)
    shutil.copy(run.end_json, run.run_json)
    assert [finding.code for finding in verify_run(run).of("damage")] == ["run_json"]
    report = repair_run(run)
    assert report.after is not None and report.after.verdict == "clean"
