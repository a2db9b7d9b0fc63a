"""A lake that is closed leaves no thread, and says so when it is asked again."""

import threading
from pathlib import Path

import duckdb
import psutil
import pytest

import rolltape as rt
from rolltape.actors.resuming import PastRun
from rolltape.schema.errors import ConfigError, StorageError
from rolltape.storage import queries
from rolltape.storage.lake import parts
from rolltape.storage.upkeep import compact, vacuum
from tests.lakes import record, run_id


def test_its_threads_end(tmp_path: Path) -> None:
    record(tmp_path)
    before = psutil.Process().num_threads()
    for _ in range(10):
        with rt.open(tmp_path, threads=8) as lake:
            assert len(lake.runs()) == 1 and len(list(lake.steps().batches(2))) > 1
    assert psutil.Process().num_threads() < before + 20, "ten lakes had 70 of DuckDB's; Arrow may have begun some"
    lake.close()


def test_what_is_asked_afterwards(tmp_path: Path) -> None:
    record(tmp_path)
    lake = rt.open(tmp_path)
    steps, some = lake.steps(), lake.sql("select 1")
    lake.close()
    for relation in (steps, some, lake.runs()):
        with pytest.raises(StorageError, match=rf"The lake {tmp_path} was closed; open it again"):
            relation.fetchall()
    assert [part.parent.name for part in lake.parts(run_id(0))] == ["steps"] * 3
    assert lake.run().summary.steps == 24


def test_environments_that_drew_are_closed(tmp_path: Path) -> None:
    record(tmp_path)
    lake = rt.open(tmp_path)
    closed = threading.Event()
    lake.renderer.close = closed.set  # type: ignore[union-attr, method-assign]
    lake.close()
    assert closed.is_set()


def test_a_lake_that_is_opened_for_one_question_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path)
    made = []
    connected = queries._connected
    monkeypatch.setattr(queries, "_connected", lambda config: made.append(connected(config)) or made[-1])
    assert len(parts(tmp_path, "latest", "episodes")) == 3
    vacuum(tmp_path)
    compact(tmp_path, wait=False)
    with pytest.raises(ConfigError, match="resume"):
        PastRun.find(tmp_path, "latest")
    assert len(made) == 4
    for connection in made:
        with pytest.raises(duckdb.ConnectionException):
            connection.cursor()
