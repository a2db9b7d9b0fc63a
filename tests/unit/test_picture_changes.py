"""Pictures sent as changes: put together again they are the pictures, however the rows are cut, and parts hold them whole."""

from __future__ import annotations

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gymnasium import spaces as gs
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.frame_rows import CHANGED, FrameRows
from rolltape.schema.errors import CorruptRecording
from rolltape.schema.frame_layout import FrameLayout, picture_layout
from rolltape.schema.messages import ProducerKey
from rolltape.schema.picture_changes import CHUNK, LEAST_BYTES, MISSES, ChangeReader, changes, changes_in_numpy, whole
from rolltape.storage.layout import CommitRange, WriterId
from rolltape.storage.parts import encode_part
from tests.examples import examples
from tests.fakes import run_schema
from tests.recorded import copied

KEY = ProducerKey(0, 0)
SHAPES = [(105, 160, 3), (84, 84, 4), (130, 127), (300, 64, 3)]  # the third: 16,510 bytes, no whole number of chunks


def frame_rows(layout: FrameLayout, num_envs: int = 1, slots: int = 40) -> FrameRows:
    schema = run_schema(gs.Box(0, 255, layout.shape, np.uint8), gs.Discrete(2))
    return FrameRows(schema, "observation", layout, num_envs, slots * num_envs * layout.nbytes)


def sent(frames: FrameRows, fragment: int = 1) -> pa.RecordBatch:
    sealed = frames.seal()
    assert sealed is not None
    batch = copied({"frames": sealed.batch(KEY, fragment, 0)})["frames"]
    sealed.release()
    return batch


class Stream:
    """Pictures of one game: the last one, with some of it changed."""

    def __init__(self, layout: FrameLayout, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._picture = self._random.integers(0, 256, layout.shape, np.uint8).astype(layout.dtype)

    def next(self, share: float) -> np.ndarray:
        """With `share` of its places changed."""
        flat = self._picture.reshape(-1)
        places = self._random.integers(0, flat.size, int(share * flat.size))
        flat[places] = self._random.integers(0, 256, len(places))
        return self._picture


SHARES = st.sampled_from([0.0, 0.0, 0.0001, 0.001, 0.02, 1.0])


@examples(40)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), SHARES), min_size=1, max_size=25), min_size=1, max_size=3),
    st.sampled_from(SHAPES),
    st.sampled_from(["uint8", "float32"]),
    st.integers(1, 7),
)
def test_every_picture_comes_back(
    fragments: list[list[tuple[int, float]]], shape: tuple[int, ...], dtype: str, group: int
) -> None:
    layout = picture_layout(dtype, shape)
    frames = frame_rows(layout, num_envs=3)
    streams = [Stream(layout, seed) for seed in range(3)]
    t = 0
    batches, expected = [], []
    for number, steps in enumerate(fragments):
        rows = []
        for place, share in steps:
            seen = streams[place].next(share)
            frames.add(place, place, t, seen)
            rows.append((place, t, layout.to_stored(seen).tobytes()))
            t += 1
        batches.append(sent(frames, number))
        expected += sorted(rows)
        assert rows_of(whole(batches[-1])) == sorted(rows)
    reader, found = ChangeReader(), []
    for batch in batches:
        for at in range(0, batch.num_rows, group):
            found += rows_of(reader.whole(pa.Table.from_batches([batch.slice(at, group)])))
    assert found == expected
    part = encode_part(
        "frames", batches, run_id="r", commits=CommitRange(WriterId(0, 0), 1, 1), group_bytes=group * layout.nbytes
    )
    assert sorted(rows_of(pq.read_table(io.BytesIO(part.data)))) == sorted(expected)


def rows_of(table: pa.Table | pa.RecordBatch) -> list[tuple[int, int, bytes]]:
    return list(zip(*(table.column(name).to_pylist() for name in ("sub_env", "t", "data")), strict=True))


def lengths(batch: pa.RecordBatch) -> list[int]:
    return [len(value) for value in batch.column("data").to_pylist()]


def test_what_did_not_change_is_not_sent() -> None:
    layout = picture_layout("uint8", (210, 160, 3))
    frames = frame_rows(layout)
    picture = np.zeros(layout.shape, np.uint8)
    for t in range(4):
        picture[t * 20, 7, 1] = 9
        frames.add(0, 0, t, picture)
    assert frames.nbytes == layout.nbytes + 3 * (CHUNK + 4)
    assert lengths(sent(frames)) == [layout.nbytes, CHUNK + 4, CHUNK + 4, CHUNK + 4]
    frames.add(0, 0, 4, picture)
    assert lengths(sent(frames)) == [layout.nbytes], "a fragment stands alone"


def test_small_pictures_are_sent_whole() -> None:
    layout = FrameLayout("uint8", (LEAST_BYTES - 1,))
    frames = frame_rows(layout)
    for t in range(3):
        frames.add(0, 0, t, np.zeros(layout.shape, np.uint8))
    assert lengths(sent(frames)) == [layout.nbytes] * 3


def test_who_gains_nothing_is_not_compared_again_in_a_fragment() -> None:
    layout = picture_layout("uint8", (210, 160, 3))
    frames = frame_rows(layout)
    still = np.zeros(layout.shape, np.uint8)
    for t in range(MISSES + 1):
        frames.add(0, 0, t, np.full(layout.shape, t, np.uint8))
    frames.add(0, 0, 9, still)
    frames.add(0, 0, 10, still)
    assert set(lengths(sent(frames))) == {layout.nbytes}
    frames.add(0, 0, 11, still)
    frames.add(0, 0, 12, still)
    assert lengths(sent(frames)) == [layout.nbytes, 0]


def test_a_picture_taken_back_is_not_what_the_next_differs_from() -> None:
    layout = picture_layout("uint8", (210, 160, 3))
    frames = frame_rows(layout)
    first, second, third = (np.full(layout.shape, n, np.uint8) for n in range(3))
    frames.add(0, 3, 0, first)
    frames.add(0, 3, 1, second)
    frames.drop(0, 3, 0)
    frames.add(0, 4, 0, third)
    assert rows_of(whole(sent(frames))) == [(0, 0, first.tobytes()), (0, 0, third.tobytes())]


def test_a_fragment_is_full_by_bytes_or_by_pictures() -> None:
    layout = picture_layout("uint8", (210, 160, 3))
    still, moving = frame_rows(layout, slots=6), frame_rows(layout, slots=6)
    picture = np.zeros(layout.shape, np.uint8)
    for t in range(4 * CHANGED * 6):
        if still.full:
            break
        still.add(0, 0, t, picture)
    assert still.rows == CHANGED * 6 - 1
    for t in range(6):
        if moving.full:
            break
        moving.add(0, 0, t, np.random.default_rng(t).integers(0, 256, layout.shape, np.uint8))
    assert moving.rows == 5


def test_more_than_fits_makes_room() -> None:
    layout = picture_layout("uint8", (210, 160, 3))
    frames = frame_rows(layout, num_envs=2, slots=2)
    expected = []
    for t in range(7):
        for place in range(2):
            seen = np.random.default_rng(2 * t + place).integers(0, 256, layout.shape, np.uint8)
            frames.add(place, place, t, seen)
            expected.append((place, t, seen.tobytes()))
    assert rows_of(whole(sent(frames))) == sorted(expected)


def test_changes_of_nothing_are_refused() -> None:
    layout = picture_layout("uint8", (210, 160, 3))
    frames = frame_rows(layout)
    for t in range(3):
        frames.add(0, 0, t, np.zeros(layout.shape, np.uint8))
    batch = sent(frames)
    with pytest.raises(CorruptRecording, match="since a picture of 0"):
        whole(batch.slice(1))
    place = batch.schema.get_field_index("data")
    odd = batch.set_column(place, batch.schema.field(place), pa.array([b"x" * layout.nbytes, b"abc", b""]))
    with pytest.raises(CorruptRecording, match="changes of 3 bytes"):
        whole(odd)


FINDERS = {"numpy": changes_in_numpy, "built": changes}


@pytest.mark.parametrize("name", FINDERS)
@examples(30)
@given(st.integers(0, 2000), st.lists(st.tuples(st.integers(0, 1999), st.integers(0, 255)), max_size=30), st.data())
def test_what_is_written_of_a_change(name: str, nbytes: int, edits: list[tuple[int, int]], data: st.DataObject) -> None:
    last = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    picture = last.copy()
    for place, value in edits:
        if place < nbytes:
            picture[place] = value
    body = nbytes // CHUNK * CHUNK
    chunks = np.flatnonzero((picture != last)[:body].reshape(-1, CHUNK).any(axis=1)).tolist()
    expected = b"".join(np.uint32(n).tobytes() + picture[n * CHUNK : (n + 1) * CHUNK].tobytes() for n in chunks)
    expected += picture[body:].tobytes()
    worth = data.draw(st.sampled_from([len(expected), len(expected) + 1]))
    memory, room = np.concatenate([np.zeros(3, np.uint8), last[:body]]), np.zeros(5 + worth, np.uint8)
    used = FINDERS[name](picture, memory, 3, room, 5, worth)
    if worth == len(expected):
        assert used == -1
    else:
        assert used == len(expected)
        assert room[5 : 5 + used].tobytes() == expected
        assert memory[3:].tobytes() == picture[:body].tobytes()


def test_no_room_is_refused_before_anything_is_written() -> None:
    picture, last, room = np.ones(640, np.uint8), np.zeros(640, np.uint8), np.zeros(400, np.uint8)
    most = sys.maxsize
    for last_at, room_at, worth in (
        *((1, 0, 320), (-1, 0, 320), (0, 81, 320), (0, -1, 320)),
        *((most - 9, 0, 320), (0, most - 9, 320), (0, 300, most - 9)),
    ):
        if changes is not changes_in_numpy:
            with pytest.raises(ValueError, match="no room for 640 bytes"):
                changes(picture, last, last_at, room, room_at, worth)
    assert not last.any()
    assert not room.any()


def test_a_chunk_without_rows_is_no_picture() -> None:
    layout = picture_layout("uint8", (210, 160, 3))
    frames = frame_rows(layout)
    for t in range(3):
        frames.add(0, 0, t, np.zeros(layout.shape, np.uint8))
    batch = sent(frames)
    none = batch.slice(0, 0)
    reader = ChangeReader()
    assert reader.whole(pa.Table.from_batches([none, batch.slice(0, 1), none])).num_rows == 1
    assert len(rows_of(reader.whole(pa.Table.from_batches([none, batch.slice(1), none])))) == 2
