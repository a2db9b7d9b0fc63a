import builtins
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import gymnasium as gym
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rolltape as rt
from rolltape.schema.errors import ConfigError, CorruptRecording, LakeNotFound, MissingExtra
from tests.lakes import record, record_values, run_id
from tests.sameness import assert_same
from tests.space_catalogue import CATALOGUE


@pytest.fixture
def lake(tmp_path: Path) -> rt.Lake:
    record(tmp_path, 0, commits=3)
    record(tmp_path, 1, commits=2, length=5)
    return rt.open(tmp_path)


def test_the_lines_of_the_guide(lake: rt.Lake) -> None:
    run = lake.run()
    assert lake.episodes("return > 3").pl()["return"].to_list() == [5.0] * 2
    assert lake.steps(run).to_arrow().num_rows == 16
    assert sorted(lake.sql("select run_id, avg(return) from episodes group by 1").fetchall()) == [
        (run_id(0), 3.0),
        (run_id(1), 5.0),
    ]
    assert lake.sql("select return from episodes limit 1").columns == ["return"]


def test_every_way_out_has_the_same_rows(lake: rt.Lake) -> None:
    relation = lake.steps("latest").select("episode", "t", "reward", "observation").order("episode", "t")
    table = relation.to_arrow()
    assert table.schema.field("observation").type.equals(pa.list_(pa.float32(), 4))
    arrays = relation.numpy()
    assert arrays["observation"].shape == (16, 4) and arrays["observation"].dtype == np.float32
    assert table.column("t").to_pylist() == arrays["t"].tolist() == relation.pl()["t"].to_list()
    assert isinstance(relation.df(), pd.DataFrame) and relation.df()["t"].tolist() == arrays["t"].tolist()
    assert isinstance(relation.pl(), pl.DataFrame)
    assert [row[1] for row in relation.fetchall()] == [row["t"] for row in relation.to_dicts()] == arrays["t"].tolist()
    assert len(relation) == 16
    assert pa.Table.from_batches(relation.batches(rows=5)).equals(table)
    assert [batch.num_rows for batch in relation] == [16]
    assert pa.table(relation).equals(table)
    assert pl.DataFrame(relation).height == 16


def test_times_are_utc_and_come_without_further_packages(lake: rt.Lake) -> None:
    first = lake.steps("latest").select("time").limit(1)
    assert first.fetchall()[0][0].isoformat() == "2026-09-21T14:13:20+00:00"
    assert first.numpy()["time"].dtype == "datetime64[us]"
    assert first.schema.field("time").type == pa.timestamp("us", tz="UTC")


def test_verbs_read_nothing_and_stack(lake: rt.Lake) -> None:
    top = lake.steps(run_id(0)).filter("t > 0").select("episode", "t * 2 as twice").filter("twice = 4")
    last = top.order("episode desc").limit(2).order("episode").select("episode")
    assert last.fetchall() == [(2001,), (3000,)] or len(last) == 2
    assert lake.episodes().limit(5).filter("true").limit(3, offset=1).select("episode").fetchall() == [
        (1,),
        (1000,),
        (1001,),
    ]
    assert top.limit(0).to_arrow().column_names == ["episode", "twice"]
    assert bool(lake.episodes("false")) is True and len(lake.episodes("false")) == 0


def test_a_condition_may_hold_or_and_a_comment(lake: rt.Lake) -> None:
    both = lake.steps("latest").filter("t = 0 or t = 1 -- the first two").filter("sub_env = 0")
    assert set(both.numpy()["t"].tolist()) == {0, 1}


def test_conditions_reach_the_scan(lake: rt.Lake) -> None:
    plan = lake.steps().filter("episode = 1").explain()
    assert "Filters" in plan and "episode" in plan
    one = lake.sql(f"select count(*) from steps where run_id = '{run_id(0)}'")
    assert one.fetchall() == [(24,)]


def test_conditions_on_the_run_leave_other_runs_unopened(lake: rt.Lake, tmp_path: Path) -> None:
    for part in (tmp_path / "runs" / run_id(0) / "steps").iterdir():
        part.write_bytes(b"not parquet")
    assert lake.sql(f"select count(*) from steps where run_id = '{run_id(1)}'").fetchall() == [(16,)]
    with pytest.raises(CorruptRecording, match=r"w0\.0-00000001"):
        len(lake.steps(run_id(0)))


def test_runs_with_other_columns_are_read_by_what_they_share(tmp_path: Path) -> None:
    record(tmp_path, 0)
    record_values(tmp_path, gym.spaces.Discrete(3), gym.spaces.Text(4), [([1, 2, 0], ["a", "b"])], number=1)
    lake = rt.open(tmp_path)
    assert "action" not in lake.steps().columns
    assert len(lake.steps()) == 26
    assert lake.steps(run_id(1)).select("action", "observation").fetchall() == [("a", 1), ("b", 2)]
    assert "action" not in lake.steps([run_id(0), run_id(1)]).columns
    record(tmp_path, 2)
    assert "action" in lake.steps([run_id(0), run_id(2)]).columns
    assert len(lake.steps([run_id(0), run_id(2)])) == 48
    assert len(lake.episodes(run=[run_id(0), run_id(1)])) == 9


def test_a_column_that_came_later_is_null_before(tmp_path: Path) -> None:
    run = record(tmp_path, 0, commits=2)
    lake = rt.open(tmp_path)
    assert "info" not in lake.steps("latest").columns
    newest = run.table("steps") / "w0.0-00000002-00000002.parquet"
    steps = pq.read_table(newest)
    info = pa.array([{"lives": 3}] * steps.num_rows, pa.struct([("lives", pa.int64())]))
    pq.write_table(steps.append_column("info", info), newest.with_name("x"))
    newest.with_name("x").rename(newest)
    lake = rt.open(tmp_path)
    lives = lake.steps("latest").order("fragment").select("info.lives as lives").to_arrow()["lives"].to_pylist()
    assert lives == [None] * 8 + [3] * 8
    assert lake.run().episode(1000).steps().select("info.lives").fetchall() == [(None,), (3,), (3,)]


def test_one_episode(lake: rt.Lake) -> None:
    run = lake.run(run_id(0))
    assert lake.steps(run, episode=1001).numpy()["t"].tolist() == [0, 1, 2]
    assert run.steps(1001, where="t > 1").numpy()["episode"].tolist() == [1001]
    episode = run.episode(1001)
    assert (episode.length, len(episode), episode.return_, episode["return"]) == (3, 3, 3.0, 3.0)
    assert (episode.status, episode.seed) == ("completed", None)
    assert episode.rewards.tolist() == [1.0, 1.0, 1.0]
    assert episode.actions.tolist() == [1, 0, 1]
    assert episode.observations.shape == (3, 4)  # this lake knows no final observation
    assert repr(episode) == f"<Episode 1001 of {run_id(0)} completed, 3 steps, return 3>"
    with pytest.raises(LakeNotFound, match=r"no episode 77: 8 ended, numbered 0 to 3001"):
        run.episode(77)
    with pytest.raises(ConfigError, match="say which run"):
        lake.steps(episode=3)


def test_an_open_episode_has_what_is_durable(tmp_path: Path) -> None:
    record(tmp_path, 0, commits=1, steps=4)
    episode = rt.open(tmp_path).run().episode(1000)
    assert (episode.status, episode.length, episode.return_) == ("open", 1, None)


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in ("box_long_double", "text_surrogates")])
def test_values_of_every_space_come_back(name: str, tmp_path: Path) -> None:
    space = CATALOGUE[name]
    space.seed(1)
    values = [space.sample() for _ in range(8)]
    record_values(tmp_path, space, space, [(values[:4], values[4:7]), (values[5:7], values[7:8])])
    run = rt.open(tmp_path).run()
    codec = run.codec("observation")
    for found, expected in (
        (run.episode(0).observations, values[:4]),
        (run.observations(1), values[5:7]),
        (run.episode(0).actions, values[4:7]),
    ):
        singles = codec.decode(codec.encode_batch(found, len(expected))) if codec.is_fixed else found
        assert_same(singles, expected)


# DuckDB reads no FLOAT16 with BYTE_STREAM_SPLIT, and knows no case in the names of a struct's members.
NOT_BY_SQL = {"box_long_double", "text_surrogates", "dict_keys"}


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in NOT_BY_SQL])
def test_relations_carry_every_space(name: str, tmp_path: Path) -> None:
    space = CATALOGUE[name]
    space.seed(2)
    values = [space.sample() for _ in range(6)]
    record_values(tmp_path, space, gym.spaces.Discrete(2), [(values[:4], [0, 1, 1]), (values[4:], [0])])
    run = rt.open(tmp_path).run()
    table = run.steps(0).to_arrow()
    assert_same(run.codec("observation").decode(table.column("observation")), values[:3])
    assert len(run.steps().numpy()["observation"]) == 4
    assert len(run.steps().df()) == run.steps().pl().height == 4
    assert len(run.episodes().to_dicts()) == 2


def test_arrays_get_their_shape_back(tmp_path: Path) -> None:
    space = gym.spaces.Box(-1, 1, (2, 3), np.float64)
    values = [space.sample() for _ in range(3)]
    record_values(tmp_path, space, gym.spaces.MultiBinary([2, 2]), [(values, [np.eye(2, dtype=np.int8)] * 2)])
    arrays = rt.open(tmp_path).steps("latest").numpy()
    np.testing.assert_array_equal(arrays["observation"], np.stack(values[:2]))
    assert arrays["action"].shape == (2, 2, 2) and arrays["action"].dtype == np.int8


def test_members_of_a_space_by_name(tmp_path: Path) -> None:
    gs = gym.spaces
    space = gs.Dict(at=gs.Box(-1.0, 1.0, (2,)), of=gs.Discrete(4), deep=gs.Dict(a=gs.Box(0, 1, (3,))))
    space.seed(3)
    values = [space.sample() for _ in range(5)]
    record_values(tmp_path, space, gs.Discrete(2), [(values, [0, 1, 0, 1])])
    steps = rt.open(tmp_path).steps("latest")
    np.testing.assert_array_equal(steps.select("observation.at").numpy()["at"], [v["at"] for v in values[:4]])
    first = steps.select("observation.deep.a[1] as x", "observation.of as k").limit(1).fetchall()[0]
    assert first == (values[0]["deep"]["a"][0], values[0]["of"])
    assert len(steps.filter("observation.of >= 0")) == 4


def test_a_missing_package_is_named(lake: rt.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(*names: str) -> Callable[..., Any]:
        def load(name: str, *args: Any, **kwargs: Any) -> Any:
            if name.split(".")[0] in names:
                raise ModuleNotFoundError(name)
            return real(name, *args, **kwargs)

        return load

    import importlib

    monkeypatch.setattr(importlib, "import_module", without("torch", "polars", "pandas"))
    for call, package in ((lake.runs().torch, "torch"), (lake.runs().pl, "polars"), (lake.runs().df, "pandas")):
        with pytest.raises(MissingExtra, match=rf"needs {package}.*pip install {package}"):
            call()


def test_torch_gets_numbers(lake: rt.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import types

    stand_in = types.SimpleNamespace(from_numpy=lambda array: ("tensor", array))
    monkeypatch.setattr(importlib, "import_module", lambda name: stand_in)
    tensors = lake.steps("latest").torch()
    assert "run_id" not in tensors and "time" not in tensors
    kind, array = tensors["observation"]
    assert kind == "tensor" and array.flags.writeable and array.shape == (16, 4)


def test_sql_only_reads(lake: rt.Lake) -> None:
    for text in ("drop table runs", "select 1; select 2", "create table x as select 1", "copy runs to 'x.csv'", ""):
        with pytest.raises(ConfigError, match="one statement that reads"):
            lake.sql(text).fetchall()
    with pytest.raises(duckdb.Error, match="retrun"):
        lake.sql("select retrun from episodes").fetchall()
    assert lake.sql("select ? + 1 as x", [2]).fetchall() == [(3,)]
    assert lake.sql("describe steps").select("column_name").fetchall()[0] == ("run_id",)
    assert lake.sql("from runs;").limit(1).columns[0] == "run_id"
    assert lake.sql("select count(*) from parts where table_name = 'steps'").fetchall() == [(5,)]
    assert lake.sql("select sum(rows) from parts where table_name = 'steps'").fetchall()[0][0] == 40


def test_names_in_the_callers_python_are_no_tables(lake: rt.Lake) -> None:
    mine = pa.table({"x": [1]})
    with pytest.raises(duckdb.CatalogException):
        lake.sql("select * from mine").fetchall()
    assert mine.num_rows == 1


def test_frames_listed_without_their_bytes(lake: rt.Lake) -> None:
    assert "data" not in lake.sql("from frames").columns


def test_how_it_looks(lake: rt.Lake) -> None:
    text = repr(lake.episodes().select("episode", "return").limit(2))
    assert "return" in text and "3.0" in text and "│" in text
    html = lake.episodes().select("episode", "return").limit(2)._repr_html_()
    assert html.startswith("<table") or "<table" in html
    assert "read_parquet" in lake.episodes().sql


def test_threads_share_a_lake_and_half_read_results_do_not_disturb(lake: rt.Lake) -> None:
    reader = iter(lake.steps().batches(rows=4))
    next(reader)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(lake.sql("from steps")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [40] * 4
    assert 4 + sum(batch.num_rows for batch in reader) == 40
