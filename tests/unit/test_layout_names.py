"""Names of parts, markers, writers and runs; which parts exist; run.json; the operations on a real disk."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import CorruptRecording, LakeNotFound, LakeNotWritable, UnsupportedFormat
from rolltape.storage import layout
from rolltape.storage.files import FileOps
from rolltape.storage.layout import (
    MARKER_SUFFIX,
    PART_SUFFIX,
    CommitRange,
    RunFolder,
    RunIds,
    WriterId,
    existing_parts,
    is_run_id,
    list_parts,
    list_runs,
    list_tables,
    missing_commits,
)
from rolltape.storage.run_info import create_run, read_end_info, read_run_info, write_end_info, write_run_info
from tests.fragments import RUN_ID
from tests.memory_files import WatchedFiles

small = st.integers(0, 3)
ranges = st.builds(
    lambda slot, incarnation, first, more: CommitRange(WriterId(slot, incarnation), first, first + more),
    small,
    small,
    st.integers(1, 12),
    st.integers(0, 12),
)


# ---- names ----


@given(ranges | st.builds(CommitRange, st.just(WriterId(0, 0)), st.just(1), st.integers(1, 10**12), st.integers(0, 12)))
def test_a_name_says_the_range_and_nothing_else_does(commits: CommitRange) -> None:
    assert CommitRange.parse(commits.part_name, PART_SUFFIX) == commits
    assert CommitRange.parse(commits.marker_name, MARKER_SUFFIX) == commits
    assert CommitRange.parse(commits.part_name, MARKER_SUFFIX) is None


def test_a_name_is_as_the_format_says() -> None:
    assert CommitRange(WriterId(0, 1), 5, 64).part_name == "w0.1-00000005-00000064.parquet"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".w0.0-00000001-00000001.parquet",
        "w0.0-1-1.parquet",
        "w0.0-00000002-00000001.parquet",
        "w0.0-00000000-00000000.parquet",
        "w0.0-000000001-00000001.parquet",
        "w00.0-00000001-00000001.parquet",
        "w0-00000001-00000001.parquet",
        "w0.0-00000001-00000001.parquet.tmp",
        "w0.0-00000001-00000001.parquet\n",
        "w0.0-٠٠٠٠٠٠٠١-00000001.parquet",
    ],
)
def test_alien_names_are_no_parts(name: str) -> None:
    assert CommitRange.parse(name, PART_SUFFIX) is None
    assert existing_parts({CommitRange(WriterId(0, 0), 1, 1)}, [name]) == []


@pytest.mark.parametrize("text", ["w0", "w0.", "p0.0", "w-1.0", "w0.01", "w0.0.0", ""])
def test_a_writer_id_is_parsed_strictly(text: str) -> None:
    assert WriterId.parse("w12.3") == WriterId(12, 3)
    with pytest.raises(ValueError, match="not a writer id"):
        WriterId.parse(text)


def test_run_ids_are_ulids_that_only_grow() -> None:
    times = iter([2_000_000, 2_000_000, 1_000_000, 3_000_000, 1_790_000_000_000_000_000])
    ids = RunIds(lambda: next(times))
    made = [ids.new() for _ in range(5)]
    assert made == sorted(set(made))
    assert all(is_run_id(one) for one in made)
    assert made[0].startswith("0000000002")
    assert is_run_id(layout.new_run_id())
    assert not any(is_run_id(text) for text in (RUN_ID.lower(), RUN_ID[1:], "8" + RUN_ID[1:], "U" * 26, RUN_ID + "\n"))


def test_a_run_folder_is_only_paths() -> None:
    run = RunFolder.of("/nowhere", RUN_ID)
    assert run.run_id == RUN_ID
    assert run.table("steps") == Path(f"/nowhere/runs/{RUN_ID}/steps")
    assert (run.run_json.name, run.end_json.name) == ("run.json", "end.json")
    assert {folder.name for folder in run.folders()} >= {*TABLES, "commits", "writers", "staging", "producers"}
    with pytest.raises(ValueError, match="not a run id"):
        RunFolder.of("/nowhere", "../etc")


# ---- which parts exist ----


@given(st.sets(ranges), st.sets(ranges))
def test_existing_parts_are_those_of_the_rules(markers: set[CommitRange], parts: set[CommitRange]) -> None:
    """Rules 1 and 2 of the format, said the slow way. Ranges of a writer nest or are apart, as compactions do."""
    nested = [r for r in sorted(markers | parts) if not any(_overlap(r, other) for other in markers | parts)]
    markers, parts = markers & set(nested), parts & set(nested)
    marked = [part for part in parts if part in markers]
    expected = {part for part in marked if not any(part.inside(other) for other in marked)}
    found = existing_parts(markers, [p.part_name for p in parts])
    assert len(found) == len(set(found))
    assert set(found) == {part.part_name for part in expected}


def _overlap(one: CommitRange, other: CommitRange) -> bool:
    if one.writer != other.writer or one.first > other.last or other.first > one.last:
        return False
    return not (one == other or one.inside(other) or other.inside(one))


def test_parts_come_in_the_order_of_writers_and_commits() -> None:
    commits = [
        CommitRange(WriterId(w, i), n, n) for w, i, n in [(10, 0, 1), (2, 0, 10), (2, 0, 9), (0, 11, 1), (0, 2, 1)]
    ]
    assert existing_parts(set(commits), [c.part_name for c in commits]) == [
        c.part_name for c in sorted(commits)
    ]


def test_missing_commits() -> None:
    def names(*wanted: tuple[int, int]) -> list[str]:
        return [CommitRange(WriterId(0, 0), *r).marker_name for r in wanted]

    assert missing_commits(names((1, 1), (2, 2))) == []
    assert missing_commits(names((1, 64), (3, 3), (65, 65))) == []
    assert missing_commits(names((2, 2), (5, 8), (9, 9), (12, 12))) == [
        (WriterId(0, 0), 1, 1),
        (WriterId(0, 0), 3, 4),
        (WriterId(0, 0), 10, 11),
    ]


# ---- listings ----


def commit(run: RunFolder, first: int, last: int, *tables: str) -> None:
    """What a commit or a compaction leaves, as far as a listing sees."""
    commits = CommitRange(WriterId(0, 0), first, last)
    for table in tables:
        (run.table(table) / commits.part_name).touch()
    (run.commits / commits.marker_name).touch()


def remove(run: RunFolder, first: int, last: int) -> None:
    """As a compaction deletes what it has covered: the marker first."""
    commits = CommitRange(WriterId(0, 0), first, last)
    (run.commits / commits.marker_name).unlink()
    for table in TABLES:
        (run.table(table) / commits.part_name).unlink(missing_ok=True)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.of(tmp_path, RUN_ID)
    create_run(run, {"env": "Test-v0"})
    return run


def test_a_listing_is_of_one_moment(run: RunFolder) -> None:
    commit(run, 1, 1, "steps", "episodes")
    commit(run, 2, 2, "steps")
    (run.table("steps") / "w0.0-00000003-00000003.parquet").touch()
    listed = list_tables(run)
    assert [path.name for path in listed["steps"]] == [f"w0.0-{n:08d}-{n:08d}.parquet" for n in (1, 2)]
    assert [path.name for path in listed["episodes"]] == ["w0.0-00000001-00000001.parquet"]
    assert listed["frames"] == []
    assert list_parts(run, "steps") == listed["steps"]


def meanwhile(monkeypatch: pytest.MonkeyPatch, at: int, act: Callable[[], None]) -> None:
    """Do something before folder number `at` is read."""
    real, count = layout._names, iter(range(1000))

    def names(folder: Path, run: RunFolder) -> set[str]:
        if next(count) == at:
            act()
        return real(folder, run)

    monkeypatch.setattr(layout, "_names", names)


@pytest.mark.parametrize("at", range(12))
def test_a_compaction_during_a_listing_hides_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Its swap and the deletion of what it covered fall between two readings; each commit is seen once."""
    for number in (1, 2):
        commit(run, number, number, *TABLES)

    def compact() -> None:
        commit(run, 1, 2, *TABLES)
        remove(run, 1, 1)
        remove(run, 2, 2)

    meanwhile(monkeypatch, at, compact)
    for paths in list_tables(run).values():
        seen = [CommitRange.parse(path.name, PART_SUFFIX) for path in paths]
        covered = sorted(n for r in seen if r for n in range(r.first, r.last + 1))
        assert covered == [1, 2]


@pytest.mark.parametrize("at", range(12))
def test_a_commit_during_a_listing_is_in_all_tables_or_in_none(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    commit(run, 1, 1, *TABLES)
    meanwhile(monkeypatch, at, lambda: commit(run, 2, 2, *TABLES))
    assert len({len(paths) for paths in list_tables(run).values()}) == 1


def test_a_hole_that_stays_is_listed_around(run: RunFolder) -> None:
    commit(run, 1, 1, "steps")
    commit(run, 3, 3, "steps")
    assert len(list_parts(run, "steps")) == 2


def test_listing_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFound, match="No run at"):
        list_parts(RunFolder.of(tmp_path, RUN_ID), "steps")
    with pytest.raises(LakeNotFound, match="No lake at"):
        list_runs(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(LakeNotFound):
        list_runs(tmp_path / "file")
    assert list_runs(tmp_path) == []
    (tmp_path / "runs" / RUN_ID).mkdir(parents=True)
    assert list_runs(tmp_path) == []  # never started
    assert list_parts(RunFolder.of(tmp_path, RUN_ID), "steps") == []


def test_runs_are_listed_oldest_first(tmp_path: Path) -> None:
    ids = [layout.new_run_id() for _ in range(3)]
    for run_id in reversed(ids):
        create_run(RunFolder.of(tmp_path, run_id), {})
    (tmp_path / "runs" / "notes").mkdir()
    assert [run.run_id for run in list_runs(tmp_path)] == ids


# ---- run.json and end.json ----


def test_run_info_is_replaced_whole(run: RunFolder) -> None:
    assert read_run_info(run) == {"format": 1, "env": "Test-v0"}
    write_run_info(run, {"env": "Grüße"})
    assert read_run_info(run)["env"] == "Grüße"
    assert read_end_info(run) is None
    write_end_info(run, {"status": "completed"})
    assert read_end_info(run) == {"format": 1, "status": "completed"}
    assert sorted(path.name for path in run.path.iterdir() if path.is_file()) == [
        "end.json",
        "run.json",
        "run.json.copy",
    ]


@pytest.mark.parametrize("operation", range(4))
def test_run_info_survives_a_failure_at_any_operation(run: RunFolder, operation: int) -> None:
    files, count = WatchedFiles(FileOps()), iter(range(100))

    def watch(*_: object) -> None:
        if next(count) == operation:
            raise OSError(errno.EROFS, "Read-only file system", str(run.run_json))

    files.watch = watch
    with pytest.raises(LakeNotWritable):
        write_run_info(run, {"env": "other"}, files=files)
    assert read_run_info(run)["env"] == ("other" if operation == 3 else "Test-v0")
    assert sorted(path.name for path in run.path.iterdir() if path.is_file()) == ["run.json", "run.json.copy"]


@pytest.mark.parametrize(("found", "what"), [(2, "a newer one wrote it"), (0, "rolltape migrate")])
def test_another_format_is_refused_clearly(run: RunFolder, found: int, what: str) -> None:
    run.run_json.write_text(json.dumps({"format": found}))
    with pytest.raises(UnsupportedFormat, match=f"{run.run_id} is in .*format {found}.*reads format 1.*{what}"):
        read_run_info(run)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", json.dumps({"format": "1"}).encode()])
def test_a_run_info_that_cannot_be_used_is_named(run: RunFolder, content: bytes) -> None:
    run.run_json.write_bytes(content)
    with pytest.raises(CorruptRecording, match=r"run\.json"):
        read_run_info(run)


def test_no_run(tmp_path: Path) -> None:
    run = RunFolder.of(tmp_path, RUN_ID)
    with pytest.raises(LakeNotFound, match="No run at"):
        read_run_info(run)
    with pytest.raises(LakeNotFound, match="No run at"):
        write_run_info(run, {})


# ---- the real disk ----


def test_file_operations_never_overwrite(tmp_path: Path) -> None:
    files, one, two = FileOps(), tmp_path / "one", tmp_path / "two"
    files.write(one, b"1")
    files.write(two, b"2")
    with pytest.raises(FileExistsError):
        files.write(one, b"3")
    with pytest.raises(FileExistsError):
        files.link(two, one)
    with pytest.raises(FileNotFoundError):
        files.link(tmp_path / "none", tmp_path / "three")
    assert (files.read(one), files.same(one, two)) == (b"1", False)
    files.link(one, tmp_path / "three")
    assert files.same(one, tmp_path / "three")
    files.mkdir(tmp_path / "folder")
    with pytest.raises(FileExistsError):
        files.mkdir(tmp_path / "folder")
    with pytest.raises(OSError, match="not empty"):
        files.rmdir(tmp_path)
    assert sorted(files.names(tmp_path)) == ["folder", "one", "three", "two"]
    assert files.free_bytes(tmp_path) > 0
