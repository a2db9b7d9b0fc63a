"""One part: what pyarrow reads back is what came in, in an order and with settings that make it small and quick."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.schema.columns import TABLES, table_schema
from rolltape.schema.errors import CorruptRecording
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.storage import parts
from rolltape.storage.layout import CommitRange, WriterId
from rolltape.storage.markers import FragmentRange, Marker
from rolltape.storage.parts import (
    FRAME_GROUP_BYTES,
    LARGE_FRAME_BYTES,
    LARGE_FRAME_GROUP_BYTES,
    MIB,
    Part,
    encode_part,
    group_by_stream,
    leaves,
)
from tests.examples import examples
from tests.fragments import FRAMES, RUN_ID, Producer, batch

COMMITS = CommitRange(WriterId(0, 0), 5, 5)


def encode(table: str, *batches: pa.RecordBatch, level: int = 0) -> Part:
    return encode_part(table, batches, run_id=RUN_ID, commits=COMMITS, level=level)


def open_part(part: Part) -> pq.ParquetFile:
    return pq.ParquetFile(pa.BufferReader(part.data))


def columns_of(part: Part) -> dict[str, pq.ColumnChunkMetaData]:
    group = open_part(part).metadata.row_group(0)
    return {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}


@pytest.mark.parametrize("table", ["frames", "steps", "episodes"])
def test_what_comes_in_is_read_back(table: str) -> None:
    producer = Producer(frames=64)
    batches = [producer.fragment(3).batches[table] for _ in range(4)]
    part = encode(table, *batches)
    read = open_part(part).read()
    sent = pa.Table.from_batches(batches).unify_dictionaries()
    order = [(name, "ascending") for name in ("sub_env", "episode", "t") if name in read.column_names]
    assert read.schema.remove_metadata() == sent.schema
    assert read.sort_by(order).to_pylist() == sent.sort_by(order).to_pylist()
    assert part.rows == sent.num_rows
    assert part.digest == "sha256:" + sha256(part.data).hexdigest()


def test_a_part_says_of_itself_what_it_is() -> None:
    metadata = open_part(encode("steps", Producer().fragment().batches["steps"])).metadata.metadata
    del metadata[b"ARROW:schema"]
    assert metadata == {
        b"format": b"1",
        b"payload_version": b"1",
        b"run_id": RUN_ID.encode(),
        b"table": b"steps",
        b"writer": b"w0.0",
        b"commit": b"5",
    }


def test_the_first_part_of_a_commit_says_what_its_marker_says() -> None:
    batches = [Producer().fragment().batches["steps"]]
    marker = Marker(COMMITS, 7, (), (FragmentRange(0, 0, 1, 1),), {ProducerKey(0, 0): Watermark(1, 4, 0)})
    part = encode_part("steps", batches, run_id=RUN_ID, commits=COMMITS, outline=marker.outline({"steps": 4}))
    said = open_part(part).metadata.metadata[b"commit_outline"]
    assert Marker.from_outline(said, COMMITS.marker_name) == (marker, {"steps": 4})
    for text in (said.replace(b"4", b"5"), said[:-9], marker.to_bytes()):
        with pytest.raises(CorruptRecording):
            Marker.from_outline(text, COMMITS.marker_name)


def test_dictionaries_of_fragments_become_one() -> None:
    """Two fragments number their strings differently."""
    schema = table_schema("frames")

    def frames(kinds: list[str]) -> pa.RecordBatch:
        kind = pa.array(kinds).dictionary_encode().cast(schema.field("kind").type)
        return batch(schema, len(kinds), {"sub_env": 0, "episode": 0, "t": np.arange(len(kinds)), "kind": kind})

    part = encode("frames", frames(["render", "observation"]), frames(["observation", "render"]))
    assert open_part(part).read()["kind"].to_pylist() == ["observation"] * 2 + ["render"] * 2


# ---- columns ----


def test_columns_are_stored_as_declared() -> None:
    columns = columns_of(encode("steps", Producer().fragment(100).batches["steps"]))
    for column in TABLES["steps"]:
        path = {"observation": "observation.list.element"}.get(column.name, column.name)
        if column.name in ("info", "observation_digest"):  # not in every run
            continue
        encodings = columns[path].encodings
        by_dictionary = column.encoding == "dictionary" or column.name == "action"  # a single integer
        assert ("RLE_DICTIONARY" in encodings) == by_dictionary, path
        assert ("DELTA_BINARY_PACKED" in encodings) == (column.encoding == "delta"), path
        assert ("BYTE_STREAM_SPLIT" in encodings) == (column.name == "observation"), path
        assert columns[path].is_stats_set == column.statistics, path
        assert columns[path].compression == "ZSTD"


NESTED = pa.struct(
    [
        pa.field("joints", pa.list_(pa.float32(), 2)),
        pa.field("camera", pa.list_(pa.uint8(), 2)),
        pa.field("inner", pa.struct([pa.field("a.b c", pa.float64()), pa.field("n", pa.int64())])),
        pa.field("half", pa.list_(pa.float16())),
        pa.field("flag", pa.bool_()),
        pa.field("text", pa.string()),
    ]
)
VALUE = {
    "joints": [1.0, 2.0],
    "camera": [1, 2],
    "inner": {"a.b c": 0.5, "n": 7},
    "half": [1.5],
    "flag": True,
    "text": "x",
}
FLOATS = ("joints.list.element", "inner.a.b c")  # not the half floats: DuckDB cannot read them split
TENSOR = pa.fixed_shape_tensor(pa.float32(), (2, 2))


@pytest.mark.parametrize(
    ("observation", "split"),
    [
        (pa.array([VALUE], NESTED), {f"observation.{path}" for path in FLOATS}),
        (pa.array([[VALUE], []], pa.list_(NESTED)), {f"observation.list.element.{path}" for path in FLOATS}),
        (
            pa.array([[[1.0, 2.0], [3.0, 4.0]]], pa.list_(pa.list_(pa.float32(), 2), 2)),
            {"observation.list.element.list.element"},
        ),
        (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), set()),
        (pa.array([1.0]), {"observation"}),
        (pa.array([[("k", 1.0)]], pa.map_(pa.string(), pa.float32())), {"observation.key_value.value"}),
        (
            pa.ExtensionArray.from_storage(TENSOR, pa.array([[1, 2, 3, 4]], TENSOR.storage_type)),
            {"observation.list.element"},
        ),
        (pa.array([None, None]), set()),
    ],
    ids=["struct", "list of struct", "list of list", "integers", "number", "map", "tensor", "null"],
)
def test_only_floats_are_split_however_deep_they_lie(observation: pa.Array, split: set[str]) -> None:
    schema = table_schema("steps", observation=pa.field("observation", observation.type))
    rows = pa.RecordBatch.from_arrays(
        [observation if field.name == "observation" else pa.nulls(len(observation), field.type) for field in schema],
        schema=schema,
    )
    part = encode("steps", rows, rows)
    columns = columns_of(part)
    assert {path for path, _ in leaves("observation", observation.type)} <= set(columns)
    found = {path for path, column in columns.items() if "BYTE_STREAM_SPLIT" in column.encodings}
    assert found == split
    assert open_part(part).read()["observation"].to_pylist() == observation.to_pylist() * 2


def test_long_steps_are_cut_into_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    def groups() -> list[int]:
        metadata = open_part(encode("steps", steps, steps)).metadata
        return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    steps = Producer().fragment(50).batches["steps"]
    assert groups() == [200]
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 90)
    assert groups() == [90, 90, 20]
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 64 * steps.nbytes // steps.num_rows)
    assert groups() == [64, 64, 64, 8]


# ---- frames ----


def frames_of(*rows: tuple[str, int, int, int], size: int = 8) -> pa.RecordBatch:
    """Frames as (kind, sub_env, episode, t)."""
    kind, sub_env, episode, t = zip(*rows, strict=True)
    kinds = pa.array(kind).dictionary_encode().cast(FRAMES.field("kind").type)
    return batch(
        FRAMES,
        len(rows),
        {
            "run_id": RUN_ID,
            "agent_id": "agent_0",
            "sub_env": np.array(sub_env),
            "episode": np.array(episode),
            "t": np.array(t),
            "kind": kinds,
            "data": pa.array([bytes([n % 256]) * size for n in t], pa.binary()),
        },
    )


def read_order(part: Part) -> list[tuple]:
    table = open_part(part).read(columns=["kind", "sub_env", "episode", "t"])
    return list(zip(*table.to_pydict().values(), strict=True))


@examples(10)
@given(
    st.lists(
        st.tuples(st.sampled_from(["render", "observation"]), st.integers(0, 2), st.integers(1, 3)),
        max_size=12,
        min_size=1,
    ),
    st.integers(1, 4),
)
def test_frames_stand_by_stream_and_time(pieces: list[tuple[str, int, int]], fragments: int) -> None:
    """Each fragment brings, by kind and sub-environment, the pictures that come next."""
    clock: dict[tuple[str, int], int] = {}
    batches, sent = [], []
    for number in range(fragments):
        rows = []
        for kind, sub_env, count in sorted(pieces[number::fragments]):
            start = clock.get((kind, sub_env), 0)
            clock[kind, sub_env] = start + count
            rows += [(kind, sub_env, n // 4, n % 4) for n in range(start, start + count)]
        if rows:
            batches.append(frames_of(*rows))
            sent += rows
    assert read_order(encode("frames", *batches)) == sorted(sent)


def test_grouping_copies_no_picture() -> None:
    frames = frames_of(("render", 1, 0, 0), ("render", 1, 0, 1), ("observation", 0, 0, 0), size=4096)
    pieces = group_by_stream(pa.Table.from_batches([frames]))
    begin = frames.column("data").buffers()[2]
    assert [piece.num_rows for piece in pieces] == [1, 2]
    assert all(piece.column("data").buffers()[2].address == begin.address for piece in pieces)


@pytest.mark.parametrize(
    ("size", "rows", "groups"),
    [
        (MIB // 8, 194, [96, 96, 2]),
        (MIB, 20, [16, 4]),
        (32 * MIB, 2, [1, 1]),
    ],
)
def test_row_groups_of_frames_are_bounded_by_bytes_with_one_page_each(size: int, rows: int, groups: list[int]) -> None:
    part = encode("frames", frames_of(*(("render", 0, 0, t) for t in range(rows)), size=size))
    metadata = open_part(part).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == groups
    bound = LARGE_FRAME_GROUP_BYTES if size > LARGE_FRAME_BYTES else FRAME_GROUP_BYTES
    for index in range(metadata.num_row_groups):
        column = metadata.row_group(index).column(metadata.row_group(index).num_columns - 1)
        assert column.path_in_schema == "data"
        assert not column.is_stats_set
        # one page: a page's header and zstd's frame would cost some 30 bytes each
        assert column.total_uncompressed_size <= max(bound, size) + 4 * groups[index] + 40


def test_the_bytes_of_a_row_group_can_be_given() -> None:
    fragment = Producer(frames=64).fragment(32).batches["frames"]
    part = encode_part("frames", [fragment], run_id=RUN_ID, commits=COMMITS, group_bytes=640)
    assert open_part(part).metadata.num_row_groups > open_part(encode("frames", fragment)).metadata.num_row_groups


@pytest.mark.parametrize(("size", "chosen"), [(20_000, 3), (100_000, 1), (140_000, 3)])
def test_a_level_can_be_given_and_otherwise_suits_the_size(size: int, chosen: int) -> None:
    rng = np.random.default_rng(0)
    noise = [bytes(rng.integers(0, 4, size, dtype=np.uint8)) for _ in range(8)]
    frames = batch(
        FRAMES, 8, {"sub_env": 0, "episode": 0, "t": np.arange(8), "kind": "render", "data": pa.array(noise)}
    )
    sizes = [len(encode("frames", frames, level=level).data) for level in (0, chosen, 15)]
    assert sizes[0] == sizes[1]
    assert sizes[2] < sizes[1]


def test_frames_without_rows_or_pictures_are_stored_too() -> None:
    assert encode("frames", frames_of(("render", 0, 0, 0)).slice(1)).rows == 0
    assert encode("frames", frames_of(("render", 0, 0, 0), size=0)).rows == 1
