"""What DuckDB, polars and pandas see in the Parquet file of each space, without Rolltape."""

import warnings
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from gymnasium import spaces as gs

from rolltape.schema.spaces import SpaceCodec
from tests.parquet_memory import parquet_bytes
from tests.sameness import assert_same
from tests.space_catalogue import CATALOGUE

# DuckDB has no NUL and no case in names of columns; it reads all the rest as it is.
RENAMED_BY_DUCKDB = {"dict_keys"}


def _values(name: str) -> list[Any]:
    space = CATALOGUE[name]
    space.seed(1)
    if name == "box_long_double":  # Gymnasium cannot sample long doubles
        return [np.array([0.5, -1.0], np.longdouble)] * 4
    return [space.sample() for _ in range(4)]


@pytest.fixture(params=list(CATALOGUE))
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, list[Any], Path]:
    """A Parquet file with four values of a space and a null."""
    name = request.param
    values = _values(name)
    codec = SpaceCodec(CATALOGUE[name])
    path = tmp_path / "x.parquet"
    path.write_bytes(parquet_bytes(codec.field("x"), codec.encode([*values, None])))
    return name, values, path


def test_duckdb_reads_every_space(recorded: tuple[str, list[Any], Path]) -> None:
    name, values, path = recorded
    codec = SpaceCodec(CATALOGUE[name])
    with duckdb.connect() as connection:
        relation = connection.read_parquet(str(path))
        rows = [row for (row,) in relation.fetchall()]
        assert rows[4] is None and all(row is not None for row in rows[:4])
        if name not in RENAMED_BY_DUCKDB:
            # What DuckDB makes of the column is a column of the space again.
            found = codec.decode(connection.read_parquet(str(path)).to_arrow_table()["x"])
            assert_same(found, codec.decode(codec.encode([*values, None])))


def test_polars_reads_every_space(recorded: tuple[str, list[Any], Path]) -> None:
    polars = pytest.importorskip("polars")
    name, values, path = recorded
    codec = SpaceCodec(CATALOGUE[name])
    frame = polars.read_parquet(path)
    assert frame["x"].is_null().to_list() == [False] * 4 + [True]
    found = codec.decode(frame.to_arrow()["x"])
    assert_same(found, codec.decode(codec.encode([*values, None])))


def test_pandas_reads_every_space(recorded: tuple[str, list[Any], Path]) -> None:
    pandas = pytest.importorskip("pandas")
    _, _, path = recorded
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = pandas.read_parquet(path)
    assert frame["x"].isna().tolist() == [False] * 4 + [True]


def test_sql_reaches_into_a_space(tmp_path: Path) -> None:
    codec = SpaceCodec(
        gs.Dict(
            position=gs.Box(-9, 9, (2, 2)),
            lives=gs.Discrete(4),
            seen=gs.Sequence(gs.Text(9)),
            move=gs.OneOf([gs.Discrete(3)]),
        )
    )
    value = {
        "position": np.array([[1, 2], [3, 4]], np.float32),
        "lives": np.int64(3),
        "seen": ("key", "door"),
        "move": (np.int64(0), np.int64(2)),
    }
    path = tmp_path / "x.parquet"
    path.write_bytes(parquet_bytes(codec.field("obs"), codec.encode([value])))
    query = """
        SELECT obs.position[3], obs.lives, obs.seen[2], obs.move.tag, obs.move."0" FROM read_parquet(?)
    """
    with duckdb.connect() as connection:
        assert connection.execute(query, [str(path)]).fetchall() == [(3.0, 3, "door", 0, 2)]
