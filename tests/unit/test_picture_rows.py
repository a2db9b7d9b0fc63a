"""Blocks of pictures: in the order [sub-environment, picture], with holes, full, stacked, and grown."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces as gs
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.frame_rows import ROOM, FrameRows
from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.frame_layout import FrameLayout, picture_layout
from rolltape.schema.messages import ProducerKey
from rolltape.schema.picture_changes import whole
from tests.examples import examples
from tests.fakes import run_schema
from tests.recorded import copied

SCHEMA = run_schema(gs.Box(0, 255, (16, 16, 3), np.uint8), gs.Discrete(2))
KEY = ProducerKey(1, 2)


def rows(layout: FrameLayout, num_envs: int = 1, slots: int = 4, kind: str = "observation") -> FrameRows:
    return FrameRows(SCHEMA, kind, layout, num_envs, slots * num_envs * layout.nbytes)


def picture(layout: FrameLayout, number: int) -> np.ndarray:
    made = np.arange(np.prod(layout.shape)).reshape(layout.shape) + number
    return made.astype(layout.dtype)


def batch_of(frames: FrameRows, fragment: int, offset: int) -> pa.RecordBatch | None:
    """Sealed, copied and released, so that what comes next goes into the same memory."""
    sealed = frames.seal()
    if sealed is None:
        return None
    batch = copied({"frames": sealed.batch(KEY, fragment, offset)})["frames"]
    sealed.release()
    return batch


def closed(frames: FrameRows, fragment: int = 1) -> list[tuple[int, int, int, bytes]]:
    batch = batch_of(frames, fragment, 10)
    if batch is None:
        return []
    batch.validate(full=True)
    names = ("sub_env", "episode", "t", "data")
    return list(zip(*(batch.column(name).to_pylist() for name in names), strict=True))


@examples(30)
@given(
    st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=3),
    st.sampled_from([(16, 16, 3), (16, 17, 4), (4, 16, 16), (20, 20)]),
    st.sampled_from(["uint8", "float32"]),
)
def test_pictures_in_any_order_of_sub_environments(
    fragments: list[list[int]], shape: tuple[int, ...], dtype: str
) -> None:
    layout = picture_layout(dtype, shape)
    frames = rows(layout, num_envs=3, slots=8)
    number = 0
    for fragment in fragments:
        expected: list[tuple[int, int, int, bytes]] = []
        for place in fragment:
            number += 1
            seen = picture(layout, number)
            frames.add(place, 100 + place, number, seen)
            expected.append((10 + place, 100 + place, number, layout.to_stored(seen).tobytes()))
            seen[...] = 0
        assert frames.rows == len(fragment)
        assert frames.nbytes == len(fragment) * layout.nbytes
        assert closed(frames) == sorted(expected, key=lambda row: row[0])


def test_a_full_block_and_one_picture_less() -> None:
    layout = picture_layout("uint8", (16, 16, 3))
    for less in (0, 1):
        frames = rows(layout, num_envs=2, slots=4)
        expected = []
        for place in range(2):
            for slot in range(4 - less * place):
                frames.add(place, place, slot, picture(layout, 7 * place + slot))
                expected.append((10 + place, place, slot, picture(layout, 7 * place + slot).tobytes()))
        assert closed(frames) == expected


def test_full_before_a_step_might_not_find_room() -> None:
    layout = picture_layout("uint8", (16, 16, 3))
    frames = rows(layout, num_envs=2, slots=4)
    full = []
    for t in range(4):
        full.append(frames.full)
        frames.add(1, 0, t, picture(layout, t))
    assert full == [False, False, False, True]
    closed(frames)
    assert not frames.full


def test_there_is_room_for_a_step_whatever_the_bound() -> None:
    layout = picture_layout("uint8", (64, 64, 3))
    frames = FrameRows(SCHEMA, "render", layout, 3, 1)
    for t in range(ROOM):
        assert not frames.full or t
        for place in range(3):
            frames.add(place, 0, t, picture(layout, t))
    assert frames.full


def test_pictures_that_are_more_than_a_column_counts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets of 32 bits went round: the rows pointed anywhere, and nothing said so."""
    layout = picture_layout("uint8", (16, 16, 3))
    monkeypatch.setattr("rolltape.schema.frame_layout.MOST_BYTES", 3 * layout.nbytes)
    frames = rows(layout, num_envs=3, slots=2)
    for place in range(3):
        frames.add(place, 0, 0, picture(layout, place))
    assert len(closed(frames)) == 3
    for t in range(2):
        for place in range(3):
            frames.add(place, 0, t, picture(layout, t))
    with pytest.raises(SchemaMismatch, match=r"The observation pictures of a fragment are 4,608 bytes; .* have 2,304\."):
        closed(frames)


def test_changes_do_not_make_a_fragment_of_more_than_a_column_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put together again, the pictures of a fragment are up to four times what its producer was allowed to hold."""
    layout = picture_layout("uint8", (80, 80, 3))
    monkeypatch.setattr("rolltape.actors.frame_rows.MOST_BYTES", 6 * layout.nbytes)
    frames = rows(layout, num_envs=1, slots=4)
    for t in range(5):
        assert not frames.full
        frames.add(0, 0, t, picture(layout, 0))
    assert frames.full and frames.nbytes < 2 * layout.nbytes
    monkeypatch.setattr("rolltape.schema.frame_layout.MOST_BYTES", 5 * layout.nbytes)
    batch = batch_of(frames, 1, 0)
    assert batch is not None and whole(batch).nbytes >= 5 * layout.nbytes
    for t in range(6):
        frames.add(0, 0, t, picture(layout, 0))
    batch = batch_of(frames, 2, 0)
    assert batch is not None
    with pytest.raises(SchemaMismatch, match=r"Pictures whose changes were sent are 115,200 bytes"):
        whole(batch)


def test_a_stack_is_stored_plane_by_plane() -> None:
    layout = picture_layout("uint8", (16, 17, 4))
    assert layout.planar
    frames = rows(layout)
    seen = picture(layout, 3)
    frames.add(0, 0, 0, seen)
    batch = batch_of(frames, 1, 0)
    assert batch is not None
    assert batch.column("format").to_pylist() == ["uint8[4,16,17]"]
    assert batch.column("data")[0].as_py() == np.moveaxis(seen, -1, 0).tobytes()


def test_what_a_batch_says_of_itself() -> None:
    layout = picture_layout("uint8", (16, 16, 3))
    frames = rows(layout, kind="render")
    frames.add(0, 5, 9, picture(layout, 1))
    batch = batch_of(frames, 77, 3)
    assert batch is not None
    (row,) = batch.to_pylist()
    data = row.pop("data")
    assert len(data) == layout.nbytes
    assert row == {
        "run_id": SCHEMA.run_id,
        "agent_id": "agent_0",
        "worker": 1,
        "incarnation": 2,
        "fragment": 77,
        "sub_env": 3,
        "episode": 5,
        "t": 9,
        "kind": "render",
        "format": "uint8[16,16,3]",
    }
    assert batch.schema == SCHEMA.arrow("frames")
    assert batch_of(frames, 78, 3) is None


def test_two_kinds_of_pictures_are_one_batch() -> None:
    """Their dictionaries differ."""
    layout = picture_layout("uint8", (16, 16, 3))
    batches = []
    for kind in ("observation", "render"):
        frames = rows(layout, kind=kind)
        frames.add(0, 0, 0, picture(layout, 1))
        batches.append(batch_of(frames, 1, 0))
    both = pa.concat_batches(batches)  # type: ignore[arg-type]
    assert both.column("kind").to_pylist() == ["observation", "render"]


@pytest.mark.parametrize(
    "wrong", [np.zeros((16, 16), np.uint8), np.zeros((16, 16, 3)), np.zeros((3, 16, 16), np.uint8)]
)
def test_all_pictures_have_one_shape(wrong: np.ndarray) -> None:
    frames = rows(picture_layout("uint8", (16, 16, 3)))
    with pytest.raises(SchemaMismatch, match=r"observation picture of episode 4, t 2: expected uint8\[16, 16, 3\]"):
        frames.add(0, 4, 2, wrong)
    assert frames.rows == 0


def test_the_newest_pictures_of_an_episode_can_be_taken_back() -> None:
    layout = picture_layout("uint8", (16, 16, 3))
    frames = rows(layout, num_envs=2, slots=6)
    for place, episode, t in ((0, 1, 4), (0, 2, 0), (0, 2, 1), (0, 2, 2), (1, 9, 9)):
        frames.add(place, episode, t, picture(layout, t))
    frames.drop(0, 2, 0)
    frames.drop(1, 8, -1)
    assert [row[:3] for row in closed(frames)] == [(10, 1, 4), (10, 2, 0), (11, 9, 9)]


def test_a_block_that_is_not_closed_in_time_grows() -> None:
    layout = picture_layout("uint8", (16, 16, 3))
    frames = rows(layout, num_envs=2, slots=2)
    expected = []
    for t in range(9):
        frames.add(1, 0, t, picture(layout, t))
        expected.append((11, 0, t, picture(layout, t).tobytes()))
    assert frames.full
    assert closed(frames) == expected
