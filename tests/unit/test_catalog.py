import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

import rolltape as rt
from rolltape.schema.errors import StorageError
from rolltape.storage import catalog
from rolltape.storage.catalog import CatalogPublisher, publish_catalog
from rolltape.storage.commits import CommitLog
from tests.compacting import compact
from tests.fragments import Producer
from tests.lakes import QUICK, commit, new_run, pictures, record, record_frames, run_id


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    record(tmp_path / "lake", 0, env_id="CartPole-v1", end={"status": "completed"})
    record_frames(tmp_path / "lake", pictures(5, 4), number=1)
    return tmp_path / "lake"


def rows(lake: Path, query: str) -> list[tuple]:
    """The answer of a DuckDB that was told where the lake lies."""
    with duckdb.connect(str(lake / "catalog.duckdb"), read_only=True) as database:
        database.execute("SET VARIABLE lake = ?", [str(lake)])
        return database.execute(query).fetchall()


def test_tables_and_views(lake: Path) -> None:
    assert publish_catalog(lake) == lake / "catalog.duckdb"
    names = [name for (name,) in rows(lake, "show tables")]
    assert names == [
        "adoption",
        "control",
        "episodes",
        "frame_data",
        "frames",
        "ledger",
        "logs",
        "metrics",
        "mismatches",
        "normalization",
        "parts",
        "payloads",
        "runs",
        "steps",
        "steps_CartPole_v1",
    ]
    assert rows(lake, "select run_id, status, steps, mean_return from runs") == [
        (run_id(0), "completed", 24, 3.0),
        (run_id(1), "running", 0, None),
    ]
    assert rows(lake, "select count(*), sum(rows) from parts where table_name = 'steps'") == [(3, 24)]
    assert rows(lake, "select count(*), avg(return) from episodes") == [(8, 3.0)]
    assert rows(lake, "select run_id, count(*) from steps group by 1") == [(run_id(0), 24)]
    assert rows(lake, "select count(*), min(octet_length(data)) from frame_data") == [(9, 32 * 24 * 3)]
    assert rows(lake, "select max(t) from frames where episode = 1") == [(3,)]
    assert rows(lake, "select count(*) from ledger") == [(0,)]
    typed = rows(lake, "select observation, action from steps_CartPole_v1 where episode = 1 and t = 1")
    assert typed == [((11.0, 12.0, 13.0, 14.0), 0)]
    files = {file for (file,) in rows(lake, "select file from parts")}
    assert all((lake / file).is_file() for file in files)


def test_typed_views_by_kind_of_spaces(tmp_path: Path) -> None:
    import gymnasium as gym

    from tests.lakes import record_values

    record(tmp_path, 0, env_id="My Env/v0")
    record(tmp_path, 1, env_id="My Env/v0")
    record_values(tmp_path, gym.spaces.Discrete(2), gym.spaces.Text(3), [([0, 1], ["a"])], number=2)
    publish_catalog(tmp_path)
    assert rows(tmp_path, "select count(distinct run_id) from steps_My_Env_v0") == [(2,)]
    assert rows(tmp_path, "select action from steps_Test_v0") == [("a",)]
    assert rows(tmp_path, "select count(*) from steps") == [(49,)]


def in_the_folder(lake: Path) -> str:
    return f"os.chdir({str(lake)!r}); db = duckdb.connect('catalog.duckdb', read_only=True)"


def with_a_search_path(lake: Path) -> str:
    return (
        f"db = duckdb.connect({str(lake / 'catalog.duckdb')!r}, read_only=True, "
        f"config={{'file_search_path': {str(lake)!r}}})"
    )


def with_a_variable(lake: Path) -> str:
    return f"db = duckdb.connect(); db.execute(\"ATTACH '{lake}/catalog.duckdb' AS c (READ_ONLY)\"); " + (
        f"db.execute(\"SET VARIABLE lake = '{lake}'; USE c\")"
    )


@pytest.mark.parametrize("opened", [in_the_folder, with_a_search_path, with_a_variable])
def test_views_find_their_lake_after_it_was_moved(opened: object, lake: Path, tmp_path: Path) -> None:
    publish_catalog(lake)
    moved = tmp_path / "another place"
    lake.rename(moved)
    program = (
        f"import os, duckdb; {opened(moved)}; "  # type: ignore[operator]
        "print(db.execute('select count(*) from steps').fetchall(), db.execute('select count(*) from runs').fetchall())"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd="/", capture_output=True, text=True, check=False)
    assert shown.stdout.strip() == "[(24,)] [(2,)]", shown.stderr


def test_views_are_exact_and_live(lake: Path) -> None:
    run = new_run(lake, 2)
    log, source = CommitLog.open(run, 0, QUICK), Producer(run_id=run.run_id)
    publish_catalog(lake)
    for commits in range(1, 5):
        commit(log, [source.fragment(3)])
        assert rows(lake, "select count(*) from steps") == [(24 + 6 * commits,)]  # without publishing again
    orphan = run.table("steps") / "w0.0-00000009-00000009.parquet"
    shutil.copy(run.table("steps") / "w0.0-00000001-00000001.parquet", orphan)
    assert rows(lake, "select count(*) from steps") == [(48,)]
    compact(run, 1, 3, delete=False)
    assert rows(
        lake, "select count(*), count(distinct (episode, t)) from steps where run_id = '" + run.run_id + "'"
    ) == [(24, 24)]
    compact_last = {p.name for p in rt.parts(lake, run.run_id)}
    assert compact_last == {"w0.0-00000001-00000003.parquet", "w0.0-00000004-00000004.parquet"}


def test_a_lake_without_data_has_all_names(tmp_path: Path) -> None:
    new_run(tmp_path)
    publish_catalog(tmp_path)
    for name in ("steps", "episodes", "frames", "frame_data", "ledger", "logs", "parts"):
        assert rows(tmp_path, f"select count(*) from {name}") == [(0,)]
    assert rows(tmp_path, "select count(*) from runs") == [(1,)]


def test_a_reader_keeps_its_snapshot_while_the_next_is_published(lake: Path) -> None:
    publish_catalog(lake)
    with duckdb.connect(str(lake / "catalog.duckdb"), read_only=True) as database:
        record(lake, 2)
        publish_catalog(lake)
        assert database.execute("select count(*) from runs").fetchall() == [(2,)]
    assert rows(lake, "select count(*) from runs") == [(3,)]


def test_somebodys_log_is_not_applied_to_the_next_snapshot(lake: Path) -> None:
    publish_catalog(lake)
    program = (
        "import duckdb, os; db = duckdb.connect('catalog.duckdb'); "
        "db.execute('create table mine as select 1'); os._exit(0)"  # as if killed: the log stays
    )
    subprocess.run([sys.executable, "-c", program], cwd=lake, check=True)
    assert (lake / "catalog.duckdb.wal").exists()
    publish_catalog(lake)
    assert not (lake / "catalog.duckdb.wal").exists()
    assert ("mine",) not in rows(lake, "show tables")


def test_nothing_is_left_behind(lake: Path) -> None:
    (lake / ".catalog.duckdb.abc123").write_text("of a process that was killed while it published")
    publish_catalog(lake)
    assert sorted(p.name for p in lake.iterdir()) == [".catalog.lock", "catalog.duckdb", "runs"]


@pytest.fixture
def locked(lake: Path) -> Iterator[int]:
    descriptor = os.open(lake / ".catalog.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


def test_one_publishes_at_a_time(lake: Path, locked: int) -> None:
    assert publish_catalog(lake, wait=False) is None
    assert not (lake / "catalog.duckdb").exists()
    published: list[Path | None] = []
    thread = threading.Thread(target=lambda: published.append(publish_catalog(lake)))
    thread.start()
    fcntl.flock(locked, fcntl.LOCK_UN)
    thread.join()
    assert published == [lake / "catalog.duckdb"]


def test_a_failure_leaves_the_last_snapshot(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_catalog(lake)
    before = (lake / "catalog.duckdb").read_bytes()

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(catalog.FileOps, "rename", fail)
    with pytest.raises(StorageError, match="No room"):
        publish_catalog(lake)
    assert (lake / "catalog.duckdb").read_bytes() == before
    assert not list(lake.glob(".catalog.duckdb.*"))


def test_what_was_compacted_or_deleted_is_forgotten(lake: Path) -> None:
    """A writer publishes for days: what it remembers may not grow with every commit."""
    publisher = CatalogPublisher(lake)
    record(lake, 2, commits=3)
    publisher.publish()
    rt.compact(lake, grace_s=0)
    shutil.rmtree(publisher.lake.listing.folder(run_id(1)).path)
    publisher.publish()
    there = {path for paths in publisher.lake.listing.all_tables().values() for path in paths}
    assert any(path.endswith("w0.0-00000001-00000003.parquet") for path in there)
    parts, runs = publisher.lake.part_table, publisher.lake.runs_table
    assert {path for of_run in parts._rows.values() for path in of_run} == there
    assert set(runs._sizes) == there
    assert set(runs._returns) == {path for path in there if "/episodes/" in path}


def test_no_part_that_was_read_leaves_anything_in_the_database(tmp_path: Path) -> None:
    """DuckDB kept a kilobyte for each file that it had ever read: megabytes an hour in a writer."""
    run = new_run(tmp_path)
    log, producer = CommitLog.open(run, 0, QUICK), Producer(run_id=run.run_id)
    publisher = CatalogPublisher(tmp_path)
    for _ in range(5):
        commit(log, [producer.fragment(6)])
        publisher.publish()
    assert len(publisher.lake.listing.parts(run.run_id, "episodes")) == 5
    kept = "select tag, memory_usage_bytes from duckdb_memory() where tag in ('OBJECT_CACHE', 'EXTERNAL_FILE_CACHE') order by 1"
    assert publisher.lake.sql(kept).fetchall() == [("EXTERNAL_FILE_CACHE", 0), ("OBJECT_CACHE", 0)]


def test_publishing_starts_no_threads(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB started eight for each connection: every ten seconds in a writer, each with an arena of the allocator."""
    started: list[int] = []
    real, process = duckdb.connect, psutil.Process()

    def connect(*args: Any, **options: Any) -> duckdb.DuckDBPyConnection:
        before = process.num_threads()
        connection = real(*args, **options)
        started.append(process.num_threads() - before)
        return connection

    monkeypatch.setattr(duckdb, "connect", connect)
    CatalogPublisher(lake).publish()
    assert started == [0, 0], "the lake's own and the one that writes the catalog"


def test_publishing_again_reads_only_what_is_new(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = CatalogPublisher(lake)
    publisher.publish()
    from rolltape.storage import part_table

    read: list[str] = []
    real = part_table.read_marker
    monkeypatch.setattr(part_table, "read_marker", lambda run, c, files: read.append(c.stem) or real(run, c, files))
    publisher.publish()
    assert read == []
    record(lake, 2, commits=2)
    publisher.publish()
    assert sorted(set(read)) == ["w0.0-00000001-00000001", "w0.0-00000002-00000002"]
    assert rows(lake, "select count(*) from parts where run_id = '" + run_id(2) + "'") == [(4,)]
