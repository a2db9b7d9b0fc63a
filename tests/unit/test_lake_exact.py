"""What a reader sees is exactly what is committed, whatever else lies in the folders and whatever happens meanwhile."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest

import rolltape as rt
from rolltape.schema.errors import ConfigError, CorruptRecording
from rolltape.storage import listing as listing_module
from rolltape.storage.commits import CommitLog
from rolltape.storage.listing import LakeListing
from tests.compacting import compact, once_listed
from tests.fragments import Producer
from tests.lakes import QUICK, commit, new_run, record, run_id


def test_a_part_without_its_marker_is_not_seen(tmp_path: Path) -> None:
    run = record(tmp_path, 0, commits=3)
    lake = rt.open(tmp_path)
    assert len(lake.steps()) == 24
    (run.commits / "w0.0-00000003-00000003.json").unlink()
    assert len(lake.steps()) == len(lake.steps("latest")) == len(lake.sql("from steps")) == 16
    assert [p.name for p in rt.parts(tmp_path)] == [f"w0.0-0000000{n}-0000000{n}.parquet" for n in (1, 2)]
    assert lake.run().summary.steps == 16


def test_alien_hidden_and_temporary_names_are_not_seen(tmp_path: Path) -> None:
    run = record(tmp_path, 0, commits=2)
    part = run.table("steps") / "w0.0-00000001-00000001.parquet"
    for name in (".w0.0-00000009-00000009.parquet", "mine.parquet", "w0.0-00000001-00000001.parquet.partial"):
        shutil.copy(part, part.with_name(name))
    shutil.copytree(run.table("steps"), run.quarantine / "steps")
    assert len(rt.open(tmp_path).steps()) == 16


def test_a_part_inside_anothers_range_is_not_seen_twice(tmp_path: Path) -> None:
    run = record(tmp_path, 0, commits=4)
    lake = rt.open(tmp_path)
    before = lake.steps().order("episode", "t").to_arrow()
    compact(run, 1, 3, delete=False)
    assert lake.steps().order("episode", "t").to_arrow().equals(before)
    assert [p.stem for p in lake.parts()] == ["w0.0-00000001-00000003", "w0.0-00000004-00000004"]
    assert len(lake.episodes()) == 10
    assert lake.sql("select count(*) from episodes").fetchall() == [(10,)]


def test_a_growing_run_is_seen_as_it_grows(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    lake = rt.open(tmp_path)
    steps, everything = lake.steps("latest"), lake.sql("select count(*) from steps")
    assert (len(steps), everything.fetchall(), lake.run().summary.steps) == (0, [(0,)], 0)
    log, source = CommitLog.open(run, 0, QUICK), Producer(run_id=run.run_id)
    for commits in range(1, 6):
        commit(log, [source.fragment(4)])
        assert (len(steps), everything.fetchall()) == (8 * commits, [(8 * commits,)])
        assert lake.runs().select("steps").fetchall() == [(8 * commits,)]
    assert "observation" in steps.columns
    record(tmp_path, 1)
    assert everything.fetchall() == [(64,)] and len(steps) == 40


@pytest.mark.parametrize(
    "read",
    [
        lambda lake: len(lake.steps()),
        lambda lake: lake.steps("latest").to_arrow().num_rows,
        lambda lake: len(lake.sql("from steps")),
        lambda lake: sum(len(lake.run().episode(e).rewards) for e in (0, 1, 1000, 1001, 2000, 2001, 3000, 3001)),
        lambda lake: sum(b.num_rows for b in lake.steps("latest").batches(rows=3)),
    ],
)
def test_a_part_that_vanishes_under_a_reader_is_found_in_its_successor(
    read: Callable[[rt.Lake], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction deletes what a reader has just listed; the reader lists again, once."""
    run = record(tmp_path, 0, commits=3)
    lake = rt.open(tmp_path)
    listings = once_listed(monkeypatch, lambda: compact(run, 1, 3, delete=True))
    assert read(lake) == 24
    assert len(listings) >= 2


def test_a_part_that_is_lost_for_good_is_an_error(tmp_path: Path) -> None:
    run = record(tmp_path, 0, commits=3)
    lake = rt.open(tmp_path)
    lost = run.table("steps") / "w0.0-00000002-00000002.parquet"
    lost.unlink()
    lost.symlink_to(tmp_path / "nowhere")  # listed, and not there
    for read in (lake.steps().to_arrow, lambda: lake.run().episode(1000).rewards):
        with pytest.raises(CorruptRecording, match=r"w0\.0-00000002"):
            read()
    with pytest.raises(duckdb.IOException):
        lake.sql("from '/nowhere/x.parquet'").fetchall()


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    run = record(tmp_path, 0, commits=3)
    (run.table("steps") / "w0.0-00000002-00000002.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(CorruptRecording, match=r"w0\.0-00000002.*was it damaged"):
        rt.open(tmp_path).steps().to_arrow()


def test_a_run_that_is_deleted_is_gone(tmp_path: Path) -> None:
    record(tmp_path, 0)
    run = record(tmp_path, 1)
    lake = rt.open(tmp_path)
    assert len(lake.steps()) == 48
    shutil.rmtree(run.path)
    assert len(lake.steps()) == len(lake.sql("from steps")) == 24
    assert len(lake.runs()) == 1


def test_a_lake_can_be_moved_and_copied(tmp_path: Path) -> None:
    record(tmp_path / "one", 0)
    before = rt.open(tmp_path / "one").steps().to_arrow()
    shutil.copytree(tmp_path / "one", tmp_path / "o'ther, copied [1]")
    (tmp_path / "one").rename(tmp_path / "two")
    for place in ("two", "o'ther, copied [1]"):
        lake = rt.open(tmp_path / place)
        assert lake.steps().to_arrow().equals(before)
        assert lake.sql("select count(*) from episodes").fetchall() == [(8,)]
        assert lake.run().episode(0).length == 3


def test_other_tools_read_the_same_numbers(tmp_path: Path) -> None:
    for number in range(3):
        record(tmp_path, number, length=number + 2)
    lake = rt.open(tmp_path)
    ours = lake.steps().select("sum(t)", "count(*)", "count(distinct run_id)").fetchall()[0]
    glob = str(tmp_path / "runs/*/steps/*.parquet")
    query = f"select sum(t), count(*), count(distinct run_id) from '{glob}'"
    by_duckdb = duckdb.connect().execute(query).fetchall()[0]
    frame = pl.read_parquet(glob)
    by_polars = (frame["t"].sum(), frame.height, frame["run_id"].n_unique())
    table = ds.dataset([str(p) for p in rt.parts(tmp_path)]).to_table()
    by_arrow = (sum(table["t"].to_pylist()), table.num_rows, len(table["run_id"].unique()))
    assert ours == by_duckdb == by_polars == by_arrow
    returns = lake.episodes().order("run_id", "episode").numpy()["return"].tolist()
    assert returns == pl.read_parquet(tmp_path / "runs/*/episodes/*.parquet")["return"].to_list()


def test_parts_of_a_run_a_table_and_a_lake(tmp_path: Path) -> None:
    record(tmp_path, 0)
    record(tmp_path, 1)
    lake = rt.open(tmp_path)
    assert len(rt.parts(tmp_path)) == len(rt.parts(lake)) == len(lake.parts()) == 6
    assert {p.parts[-3] for p in rt.parts(lake, "latest")} == {run_id(1)}
    assert {p.parts[-2] for p in rt.parts(lake, run_id(0), "episodes")} == {"episodes"}
    assert rt.parts(lake, table="frames") == []
    with pytest.raises(ConfigError, match="expected one of frames, steps"):
        rt.parts(lake, table="stepps")


def test_a_listing_is_kept_only_once_the_folders_are_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, 0)
    asked = 0
    real = listing_module.list_tables

    def count(*args: object) -> dict[str, list[Path]]:
        nonlocal asked
        asked += 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(listing_module, "list_tables", count)
    newest = max(p.stat().st_mtime for p in (tmp_path / "runs" / run_id(0)).iterdir())
    now = newest
    listing = LakeListing(tmp_path, wall_s=lambda: now)
    for _ in range(3):
        listing.parts(run_id(0), "steps")
    assert asked == 3  # a change within the same tick of the file system's clock would not be seen
    now = newest + 1
    for _ in range(3):
        listing.parts(run_id(0), "steps")
    assert asked == 4
    listing.forget()
    listing.parts(run_id(0), "steps")
    assert asked == 5


def test_reading_while_a_writer_commits_and_a_compactor_swaps(tmp_path: Path) -> None:
    """Each count is that of some moment: a whole number of commits, never fewer than before, steps with episodes."""
    run = new_run(tmp_path)
    log, source = CommitLog.open(run, 0, QUICK), Producer(run_id=run.run_id)
    commit(log, [source.fragment(3)])
    done = threading.Event()

    def write() -> None:
        for number in range(2, 41):
            commit(log, [source.fragment(3)])  # an episode of each of two sub-environments
            if number % 10 == 0:
                compact(run, number - 9, number, delete=True)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    lake, seen = rt.open(tmp_path), [0]
    relation = lake.sql("select (select count(*) from steps), (select count(*) from episodes)")
    while not done.is_set():
        steps, episodes = relation.fetchall()[0]
        assert steps % 6 == 0 and steps >= seen[-1] and steps == 3 * episodes
        seen.append(steps)
    writer.join()
    assert relation.fetchall() == [(240, 80)]
    assert len(set(seen)) > 2


def test_the_marker_of_this_test_is_what_a_compactor_writes(tmp_path: Path) -> None:
    run = record(tmp_path, 0)
    compact(run, 1, 2, delete=True)
    written = json.loads((run.commits / "w0.0-00000001-00000002.json").read_text())
    assert (written["first"], written["last"]) == (1, 2)
    assert rt.open(tmp_path).run().summary.steps == 24
