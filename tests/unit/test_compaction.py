"""The rules of storage/compactor.py: what is merged, that rows stay what they are, and a stop at every operation."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rolltape as rt
from rolltape.schema.columns import CONSTANT
from rolltape.schema.errors import DiskFull, Fenced, LakeNotFound, StorageError
from rolltape.storage import compaction_groups, merging
from rolltape.storage.compaction import compact_run
from rolltape.storage.compaction_groups import FAN, SINGLES, Piece, all_groups, live_groups
from rolltape.storage.compactor import Compactor
from rolltape.storage.encodings import choose_encoding
from rolltape.storage.files import FileOps
from rolltape.storage.layout import CommitRange, RunFolder, WriterId, list_tables
from rolltape.storage.markers import read_newest
from rolltape.storage.run_info import read_run_info, write_end_info, write_run_info
from tests.commit_world import Crash, World
from tests.fragments import constant
from tests.lakes import record, record_frames
from tests.memory_files import MemoryFiles, WatchedFiles, stopping

W = WriterId(0, 0)


def singles(first: int, last: int, writer: WriterId = W, size: int = 1) -> list[Piece]:
    return [Piece(CommitRange(writer, n, n), size, "") for n in range(first, last + 1)]


def ranges(groups: list[list[Piece]]) -> list[tuple[int, int]]:
    return [(group[0].commits.first, group[-1].commits.last) for group in groups]


# ---- which ----


def test_while_recording_only_full_tiers_below_the_newest_are_merged() -> None:
    assert live_groups(singles(1, SINGLES)) == []
    assert ranges(live_groups(singles(1, SINGLES + 1))) == [(1, SINGLES)]
    wide = [Piece(CommitRange(W, 1 + SINGLES * k, SINGLES * (k + 1)), 1, "normal") for k in range(FAN)]
    after = SINGLES * FAN + 1
    assert ranges(live_groups(wide + singles(after, after))) == [(1, SINGLES * FAN)]
    assert live_groups(wide[1:] + singles(after, after)) == []


def test_a_writer_that_was_replaced_is_merged_whole() -> None:
    pieces = singles(1, 3) + singles(1, 2, WriterId(0, 1)) + singles(1, 2, WriterId(1, 0))
    assert ranges(live_groups(pieces)) == [(1, 3)]


def test_afterwards_as_few_as_the_size_allows() -> None:
    assert ranges(all_groups(singles(1, 10, size=10), "normal", alive=False, part_bytes=40)) == [
        (1, 4),
        (5, 8),
        (9, 10),
    ]
    assert ranges(all_groups(singles(1, 10), "normal", alive=True)) == [(1, 9)]
    whole = [Piece(CommitRange(W, 1, 10), 5, "normal")]
    assert all_groups(whole, "normal", alive=False) == []
    assert ranges(all_groups(whole, "archive", alive=False)) == [(1, 10)]


def test_a_hole_is_not_merged_over() -> None:
    assert ranges(all_groups(singles(1, 3) + singles(5, 6), "normal", alive=False)) == [(1, 3), (5, 6)]


@pytest.mark.parametrize("arrivals", [[100] * 60, [239, 2, 1000, 3000, 7, 241, 240], [9000]])
def test_the_number_of_parts_stays_bounded(arrivals: list[int]) -> None:
    pieces: list[Piece] = []
    last = 0
    for count in arrivals:
        pieces += singles(last + 1, last + count)
        last += count
        while groups := live_groups(pieces):
            for group in groups:
                merged = CommitRange(W, group[0].commits.first, group[-1].commits.last)
                pieces = [p for p in pieces if not p.commits.inside(merged)] + [Piece(merged, len(group), "normal")]
                pieces.sort(key=lambda p: p.commits.first)
        assert pieces[0].commits.first == 1 and pieces[-1].commits.last == last
        tiers = 1 + (last > SINGLES * FAN) + (last > SINGLES * FAN**2)
        assert len(pieces) <= SINGLES + (FAN - 1) * tiers + 1 + last // (SINGLES * FAN)


# ---- rows ----


def rows_of(run: RunFolder) -> dict[str, pa.Table]:
    tables = {t: [pq.read_table(p) for p in parts] for t, parts in list_tables(run).items() if parts}
    return {table: pa.concat_tables(found) for table, found in tables.items()}


def sorted_rows(table: pa.Table) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


@pytest.mark.parametrize("level", ["normal", "archive"])
def test_rows_stay_what_they_are(tmp_path: Path, level: compaction_groups.Level) -> None:
    run = record(tmp_path / "lake", commits=12, frames=300, end={"status": "completed"})
    before = rows_of(run)
    report = compact_run(run, level=level, grace_s=0)
    after = rows_of(run)
    assert report.parts_before == 36 and report.parts_after == 3 and not report.skipped
    assert report.bytes_after < report.bytes_before
    for table in ("steps", "episodes"):
        assert after[table].equals(before[table], check_metadata=True)
    assert sorted_rows(after["frames"]) == sorted_rows(before["frames"])
    assert sorted(p.name for p in run.commits.iterdir()) == ["w0.0-00000001-00000012.json"]
    assert len(list(run.path.glob("*/*.parquet"))) == 3
    assert list((run.path / "staging").iterdir()) == [run.path / "staging" / "w0.0"]


def test_archived_later_under_the_next_number(tmp_path: Path) -> None:
    run = record(tmp_path / "lake", commits=6, end={"status": "completed"})
    before = rows_of(run)
    compact_run(run, grace_s=0)
    lake = rt.open(tmp_path / "lake")
    assert lake.sql("select count(*) from steps").fetchall() == [(48,)]
    report = compact_run(run, level="archive", grace_s=0)
    assert report.merged == 1
    assert [p.name for p in (run.path / "steps").iterdir()] == ["w0.0-00000001-00000006-1.parquet"]
    assert rows_of(run)["steps"].equals(before["steps"])
    assert lake.sql("select count(*) from steps").fetchall() == [(48,)]
    assert compact_run(run, level="archive", grace_s=0).merged == 0


def test_frames_are_found_in_a_merged_part(tmp_path: Path) -> None:
    run = record(tmp_path / "lake", commits=9, frames=120, end={"status": "completed"})
    before = {(r["sub_env"], r["episode"], r["t"]): r["data"] for r in rows_of(run)["frames"].to_pylist()}
    compact_run(run, grace_s=0)
    merged = rows_of(run)["frames"].to_pylist()
    assert {(r["sub_env"], r["episode"], r["t"]): r["data"] for r in merged} == before
    order = [(r["sub_env"], r["episode"], r["t"]) for r in merged]
    assert order == sorted(order), "a stream's pictures stand together"


def test_row_groups_are_put_together_within_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "ROW_GROUP_ROWS", 20)
    run = record(tmp_path / "lake", commits=7, end={"status": "completed"})  # 8 rows a commit
    compact_run(run, grace_s=0)
    (part,) = (run.path / "steps").iterdir()
    footer = pq.ParquetFile(part).metadata
    assert [footer.row_group(g).num_rows for g in range(footer.num_row_groups)] == [16, 16, 16, 8]
    assert footer.metadata[b"commit"] == b"1-7" and footer.metadata[b"run_id"] == run.run_id.encode()


@pytest.mark.parametrize("level", ["normal", "archive"])
def test_row_groups_of_frames_are_what_was_asked_for(tmp_path: Path, level: compaction_groups.Level) -> None:
    frames = np.zeros((64, 32, 32, 3), np.uint8)
    for asked, groups in ((0, 1), (16 << 10, 13)):
        lake = tmp_path / str(asked)
        run = record_frames(lake, {0: frames}, frames_a_commit=32)
        info = read_run_info(run)
        write_run_info(run, info | {"config": {"commit": {"frames_group_bytes": asked}}})
        write_end_info(run, {"status": "completed"})
        assert compact_run(run, level=level, grace_s=0).merged == 1
        (part,) = list_tables(run)["frames"]
        assert pq.read_metadata(part).num_row_groups == groups


def test_many_values_of_a_dictionary() -> None:
    """More than an int8 can number, each in a part of its own."""
    causes = [f"killed:p{n}.0" for n in range(200)]
    tables = [pa.table({"cause": constant(cause, 1, CONSTANT)}) for cause in causes]
    joined = merging._joined(tables)
    assert joined["cause"].to_pylist() == causes


def test_the_smallest_encoding_is_found() -> None:
    """Floats that repeat go into a dictionary, whatever the table of columns says."""

    class Reader:
        def row_groups(self):
            values = pa.array(np.random.default_rng(0).choice([0.1, 0.7, 1e300, -3.5e-9], 16384))
            counts = pa.array(range(16384), pa.int64())
            yield pa.table({"observation": values, "episode": counts})

    schema = next(Reader().row_groups()).schema
    encoding = choose_encoding(Reader(), schema, "steps")  # type: ignore[arg-type]
    assert "observation" in encoding.options["use_dictionary"]
    assert encoding.options["column_encoding"] == {"episode": "DELTA_BINARY_PACKED"}


# ---- readers ----


def test_readers_are_exact_from_before_the_swap_until_after_the_grace(tmp_path: Path) -> None:
    run = record(tmp_path / "lake", commits=10, frames=50, end={"status": "completed"})
    lake = rt.open(tmp_path / "lake")
    expected = lake.sql("select count(*), sum(reward), count(distinct episode) from steps").fetchall()
    listed = rt.parts(lake)
    now = [run.run_json.stat().st_mtime]

    def look() -> None:
        assert lake.sql("select count(*), sum(reward), count(distinct episode) from steps").fetchall() == expected
        assert sum(pq.read_metadata(p).num_rows for p in rt.parts(lake)) == expected[0][0]
        catalog = lake.path / "catalog.duckdb"
        import duckdb

        from rolltape.storage.catalog import publish_catalog

        publish_catalog(lake.path)
        with duckdb.connect(str(catalog), read_only=True) as base:
            base.execute(f"SET VARIABLE lake = '{lake.path}'")
            assert base.sql("select count(*), sum(reward), count(distinct episode) from steps").fetchall() == expected

    def sleep(_: float) -> None:
        look()
        assert all(path.exists() for path in listed), "a reader may still use the list that it has"
        now[0] += 1e6

    report = compact_run(run, wall_s=lambda: now[0], sleep=sleep)
    look()
    assert report.waiting == 0
    assert not any(path.exists() for path in listed)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFound, match="No run"):
        compact_run(RunFolder(tmp_path / "runs" / "01K00000000000000000000000"))


def test_a_copy_without_its_empty_folders(tmp_path: Path) -> None:
    run = record(tmp_path / "lake", commits=2, end={"status": "completed"})
    for folder in run.folders():
        if not any(folder.iterdir()):
            folder.rmdir()
    assert not (run.path / "metrics").exists()
    assert compact_run(run, grace_s=0).merged == 1


def test_one_at_a_time(tmp_path: Path) -> None:
    run = record(tmp_path / "lake", end={"status": "completed"})
    with Compactor.begun(run) as one:
        assert one is not None
        assert compact_run(run, grace_s=0).skipped == ("another compaction is at work on it",)
    assert compact_run(run, grace_s=0).merged == 1


def test_damage_is_left_alone_and_named(tmp_path: Path) -> None:
    run = record(tmp_path / "lake", commits=4, end={"status": "completed"})
    path = run.path / "steps" / "w0.0-00000002-00000002.parquet"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    report = compact_run(run, grace_s=0)
    assert report.merged == 0 and "w0.0-00000002-00000002" in report.skipped[0]
    assert len(list(run.commits.iterdir())) == 4
    assert path.read_bytes() == data


def test_no_room_for_a_copy(tmp_path: Path) -> None:
    run = record(tmp_path / "lake", commits=4, end={"status": "completed"})

    class Little(FileOps):
        def free_bytes(self, path: Path) -> int:
            return 1000

    with pytest.raises(DiskFull, match="second copy"):
        compact_run(run, grace_s=0, files=Little())
    assert len(list((run.path / "steps").iterdir())) == 4


# ---- a stop at every operation ----


def world_to_compact() -> World:
    disk = MemoryFiles()
    world = World(disk)
    log = world.open()
    write_run_info(world.run, {}, files=disk)
    for _ in range(4):
        for number in (0, 1):
            world.sender(number).make(1)
        world.deliver_all(log)
        world.commit(log)
    return world


def compacted(world: World, files: FileOps) -> None:
    """Two merges with a commit after each, one of them of a range again."""
    with Compactor.begun(world.run, files=files, wall_s=lambda: 100.0) as compactor:
        assert compactor is not None
        compactor.merge(compactor.pieces()[:2])
        compactor.remove_superseded(0)
        compactor.merge(compactor.pieces())
        compactor.remove_superseded(0)
        compactor.merge(compactor.pieces()[:1])
        compactor.remove_superseded(0)


STRIDES = [13, pytest.param(1, marks=pytest.mark.long)]


@pytest.mark.parametrize("stride", STRIDES)
def test_killed_at_any_operation_of_a_compaction(stride: int) -> None:
    start = world_to_compact()
    for operation in range(0, 1000, stride):
        world = start.copy(start.disk.copy())  # type: ignore[attr-defined]
        try:
            compacted(world, stopping(world.disk, operation, Crash()))
        except Crash:
            world.check()
            world.disk.power_cut()  # type: ignore[attr-defined]
            world.check(glob=False)
            log = world.finish()
            compacted(world, world.disk)
            assert not world.in_swap(), "what the dead one left is gone"
            log.close()
            world.check()
        else:
            break
    assert operation > 40


@pytest.mark.parametrize("stride", [17, pytest.param(1, marks=pytest.mark.long)])
def test_a_disk_that_fails_at_any_operation_of_a_compaction(stride: int) -> None:
    start = world_to_compact()
    for operation in range(0, 1000, stride):
        world = start.copy(start.disk.copy())  # type: ignore[attr-defined]
        error = OSError(errno.EIO, os.strerror(errno.EIO))
        files = stopping(world.disk, operation, error)
        try:
            compacted(world, files)
        except (StorageError, OSError):
            world.check()
            compacted(world, world.disk)
            assert not world.in_swap()
        world.check()
        if operation > 150:
            break


@pytest.mark.parametrize("stride", STRIDES)
def test_a_stopped_compaction_that_wakes_up_harms_nothing(stride: int) -> None:
    """Another one does all its work while it sleeps; locks do not hold."""
    start = world_to_compact()
    for operation in range(2, 1000, stride):
        world = start.copy(start.disk.copy())  # type: ignore[attr-defined]
        woken = [False]

        def meanwhile(world: World = world, woken: list[bool] = woken) -> None:
            woken[0] = True
            compacted(world, world.disk)

        files = stopping(world.disk, operation, meanwhile)
        try:
            compacted(world, files)
        except (Fenced, StorageError, OSError, IndexError):
            pass
        world.check()
        if not woken[0]:
            break
        compacted(world, world.disk)
        assert not world.in_swap()
    assert operation > 40


def test_a_writer_that_starts_while_markers_are_deleted_knows_how_far_all_is() -> None:
    """Its list of markers is from before the swap; all of them are gone when it reads them."""
    world = world_to_compact()

    class Racing(WatchedFiles):
        raced = False

        def read(self, path: Path) -> bytes:
            if not self.raced and path.parent == world.run.commits:
                self.raced = True
                compacted(world, world.disk)
            return super().read(path)

    files = Racing(world.disk)
    _, newest, _ = read_newest(world.run, files)
    assert files.raced
    assert {key.producer: mark.sequence for key, mark in newest[0].watermarks.items()} == {0: 4, 1: 4}
    log = world.open(files=Racing(world.disk))
    world.check()
    world.deliver_all(log)
    world.commit(log)
    world.check()


def test_a_process_that_only_compacts_takes_the_quicker_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(pa, "set_memory_pool", lambda pool: taken.append(pool.backend_name))
    merging.allocate_for_merging()
    assert taken == (["jemalloc"] if "jemalloc" in pa.supported_memory_backends() else [])
    monkeypatch.setattr(pa, "supported_memory_backends", lambda: ["system"])
    merging.allocate_for_merging()
    assert len(taken) < 2
