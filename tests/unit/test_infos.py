"""Infos in columns: what is typed is settled once, the rest is JSON, nothing is lost and nothing is shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.infos import InfoColumns, InfoTypes, info_type
from tests.examples import examples
from tests.fakes import Agreement
from tests.recorded import info_of, plain
from tests.sameness import assert_same
from tests.strategies import INFO_VALUES


def closed(columns: InfoColumns, n: int, **place: Any) -> pa.RecordBatch:
    struct, json = columns.close(n, **place)
    names = ["info_json"] if struct is None else ["info", "info_json"]
    return pa.RecordBatch.from_arrays([json] if struct is None else [struct, json], names=names)


def infos(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return [info_of(batch, row) for row in range(batch.num_rows)]


NAMES = st.sampled_from(["a", "b", "c", "$float"])
SIMPLE = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.builds(np.int8, st.integers(-9, 9)),
    st.builds(np.float64, st.floats(allow_nan=False)),
    st.lists(st.integers(-9, 9), min_size=2, max_size=2).map(np.array),
)
INFOS = st.lists(st.dictionaries(NAMES, SIMPLE | INFO_VALUES, max_size=3), max_size=6)


@examples(30)
@given(st.lists(INFOS, min_size=1, max_size=3))
def test_nothing_is_lost_and_the_struct_stays(fragments: list[list[dict[str, Any]]]) -> None:
    types = InfoTypes(Agreement())
    structs = []
    for rows in fragments:
        columns = InfoColumns(types)
        for row, info in enumerate(rows):
            columns.add(row, info)
        batch = closed(columns, len(rows))
        structs.append(types.struct)
        for found, info in zip(infos(batch), rows, strict=True):
            expected = {key: value[()] if _is_number(value) else value for key, value in info.items()}
            assert_same(without_nan(found), without_nan(plain(expected)))
    assert all(struct == structs[0] for struct in structs)


def _is_number(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.shape == ()


def without_nan(value: Any) -> Any:
    """Which NaN a number is, JSON does not say; and arrays without axes are numbers there or arrays."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(without_nan(item) for item in value)
    if _is_number(value):
        value = value.item()
    return "nan" if isinstance(value, float) and value != value else value


def test_constant_keys_are_columns() -> None:
    columns = InfoColumns(InfoTypes(Agreement()))
    for row in range(3):
        columns.add(row, {"n": row, "x": row / 2, "mask": np.array([row, 1], np.int8), "flag": row > 0, "word": "w"})
    batch = closed(columns, 3)
    assert batch.column("info").type == pa.struct(
        [
            ("flag", pa.bool_()),
            ("mask", pa.list_(pa.int8(), 2)),
            ("n", pa.int64()),
            ("word", pa.string()),
            ("x", pa.float64()),
        ]
    )
    assert batch.column("info_json").null_count == 3


def test_the_first_rows_settle_it_also_without_infos() -> None:
    """A part without the column and then one with it are two kinds of steps in one run: the writer refuses that."""
    agreement = Agreement()
    types = InfoTypes(agreement)
    assert closed(InfoColumns(types), 2).schema.names == ["info_json"]
    columns = InfoColumns(types)
    columns.add(0, {"late": 1})
    batch = closed(columns, 1)
    assert batch.schema.names == ["info_json"]
    assert infos(batch) == [{"late": 1}]
    assert agreement.asked == 1 and agreement.settled == {}


def test_the_first_proposal_holds_for_all() -> None:
    agreement = Agreement()
    types = [InfoTypes(agreement), InfoTypes(agreement)]
    one, two = map(InfoColumns, types)
    one.add(0, {"x": 1})
    two.add(0, {"x": 0.5, "y": 2})
    first, second = closed(one, 1), closed(two, 1)
    assert first.column("info").type == second.column("info").type == pa.struct([("x", pa.int64())])
    assert infos(second) == [{"x": 0.5, "y": 2}]
    assert [t.types for t in types] == [{"x": pa.int64()}, {"x": pa.int64()}]


def test_a_key_of_several_kinds_is_not_proposed() -> None:
    agreement = Agreement()
    columns = InfoColumns(InfoTypes(agreement))
    columns.add(0, {"x": 1, "y": 1, "z": 1})
    columns.add(1, {"x": 1.0, "y": None, "z": 2})
    assert infos(closed(columns, 2)) == [{"x": 1, "y": 1, "z": 1}, {"x": 1.0, "y": None, "z": 2}]
    assert agreement.settled == {"z": pa.int64()}


def test_a_row_that_is_no_step_is_dropped() -> None:
    columns = InfoColumns(InfoTypes(Agreement()))
    columns.add(0, {"x": 1, "y": [1]})
    columns.add(1, {"x": 2, "y": [2]})
    columns.add(2, {"x": 3, "y": [3]})
    rows = {0: 1, 1: -1, 2: 0}
    batch = closed(columns, 2, place=lambda noted: np.array([rows[n] for n in noted]))
    assert infos(batch) == [{"x": 3, "y": [3]}, {"x": 1, "y": [1]}]


def test_values_are_copied() -> None:
    columns = InfoColumns(InfoTypes(Agreement()))
    info: dict[str, Any] = {"a": np.array([1, 2]), "n": np.array(1), "deep": {"x": [np.array([1])]}, "o": [[1]]}
    columns.add(0, info)
    info["a"][:] = 9
    info["n"][...] = 9
    info["deep"]["x"][0][:] = 9
    info["o"][0][0] = 9
    expected = {"a": np.array([1, 2]), "deep": {"x": [np.array([1])]}, "n": 1, "o": [[1]]}
    assert_same(infos(closed(columns, 1))[0], expected)


def test_the_text_depends_on_the_row_alone() -> None:
    """Replay compares texts: what other rows of the fragment hold, and in which order, may not matter."""
    types = {"n": pa.int64()}
    one, two = InfoColumns(InfoTypes(lambda _: types)), InfoColumns(InfoTypes(lambda _: types))
    one.add(0, {"n": None, "b": [1], "a": {}})
    two.add(0, {"a": 1, "n": 1})
    two.add(1, {"a": {}, "b": [1], "n": None})
    assert closed(one, 1).column("info_json")[0] == closed(two, 2).column("info_json")[1]


@pytest.mark.parametrize(
    "value",
    [
        1 << 63,
        np.array([1], ">i4"),
        np.zeros(0),
        np.zeros((1, 1)),
        np.zeros(4097, np.uint8),
        np.longdouble(1),
        "\ud800",
        None,
        np.array(["a"]),
        np.complex64(1),
    ],
)
def test_what_has_no_column(value: Any) -> None:
    assert info_type(value) is None
    columns = InfoColumns(InfoTypes(Agreement()))
    columns.add(0, {"x": value})
    batch = closed(columns, 1)
    assert batch.schema.names == ["info_json"]


def test_bytes_are_counted() -> None:
    columns = InfoColumns(InfoTypes(Agreement()))
    assert columns.nbytes == 0
    columns.add(0, {"a": np.zeros(500), "text": "x" * 1000, "json": [["y" * 2000]]})
    assert 7000 < columns.nbytes < 7200


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_key_that_is_no_name_for_a_column(name: str) -> None:
    columns = InfoColumns(InfoTypes(Agreement()))
    columns.add(0, {name: 1, "b": 2})
    batch = closed(columns, 1)
    assert batch.column("info").type == pa.struct([("b", pa.int64())])
    assert infos(batch) == [{name: 1, "b": 2}]


def test_keys_that_look_alike_are_told_apart() -> None:
    """`str` of both is the same; one of them used to be lost."""
    columns = InfoColumns(InfoTypes(Agreement()))
    columns.add(0, {1: "a", "1": "b", None: [1], "None": [2], (1,): 3, "deep": {2: 1, "2": 2}})
    assert infos(closed(columns, 1)) == [
        {"1 (int)": "a", "1": "b", "None (NoneType)": [1], "None": [2], "(1,)": 3, "deep": {"2 (int)": 1, "2": 2}}
    ]


def test_types_that_change_by_the_step_lose_nothing() -> None:
    """Every row another type under the same key: what fits the first is typed, all else is text, row by row."""
    values = [1, 1.5, True, "1", None, np.int32(1), np.array([1, 2]), np.array([1, 2, 3]), 1 << 70, b"x", [1], {"a": 1}]
    columns = InfoColumns(InfoTypes(Agreement()))
    columns.add(0, {"x": 0})
    assert infos(closed(columns, 1)) == [{"x": 0}]
    for row, value in enumerate(values):
        columns.add(row, {"x": value})
    for found, value in zip(infos(closed(columns, len(values))), values, strict=True):
        assert_same(found, plain({"x": value}))


class Odd:
    def __repr__(self) -> str:
        return "odd \ud800"


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        Odd(),
        np.array([Odd(), None], object),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        np.ma.masked_array([1, 2], [True, False]),
        np.str_("x"),
        np.bytes_(b"x"),
        np.float16("nan"),
        float("-inf"),
        "x" * 100_000,
        {"a": {"b": [np.zeros((2, 2), np.float32), (1, {"c": None})]}},
        10**400,
        range(3),
        type("Sub", (dict,), {})(a=1),
    ],
    ids=repr,
)
def test_nothing_that_an_environment_returns_breaks_a_row(value: Any) -> None:
    columns = InfoColumns(InfoTypes(Agreement()))
    columns.add(0, {"x": value})
    columns.add(1, {"x": 1})
    (first, second) = infos(closed(columns, 2))
    assert list(first) == ["x"] and second == {"x": 1}
