import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.schema.errors import CorruptRecording, SchemaMismatch
from rolltape.storage.frames import FrameLayout, from_rows, picture_layout, to_rows

shapes = st.one_of(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(16, 20), st.integers(16, 20), st.integers(1, 18)),
    st.tuples(st.integers(1, 18), st.integers(16, 20), st.integers(16, 20)),
)


@given(shape=shapes, dtype=st.sampled_from(["uint8", "uint16", "float32"]), rows=st.integers(0, 4), cut=st.data())
def test_pictures_come_back_bit_for_bit(shape: tuple[int, ...], dtype: str, rows: int, cut: st.DataObject) -> None:
    layout = picture_layout(dtype, shape)
    pictures = np.random.default_rng(0).integers(0, 255, (rows, *shape)).astype(dtype)
    column = to_rows(layout, pictures)
    assert column.type == pa.binary() and len(column) == rows
    assert all(len(value) == layout.nbytes for value in column.to_pylist())
    first = cut.draw(st.integers(0, rows))
    found = from_rows(FrameLayout.parse(layout.format, layout.describe()), column.slice(first))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pictures[first:])


def test_the_stored_bytes_are_the_picture_in_c_order() -> None:
    picture = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    assert to_rows(picture_layout("uint8", picture.shape), picture[None])[0].as_py() == picture.tobytes()
    stack = np.zeros((20, 30, 4), np.uint8)
    stack[..., 2] = 7
    stored = to_rows(picture_layout("uint8", stack.shape), stack[None])[0].as_py()
    assert stored == stack.transpose(2, 0, 1).tobytes()


def test_no_copy_where_nothing_moves() -> None:
    pictures = np.zeros((3, 20, 20, 3), np.uint8)
    layout = picture_layout("uint8", (20, 20, 3))
    column = to_rows(layout, pictures)
    pictures[1] = 9
    found = from_rows(layout, column)
    assert found[1, 0, 0, 0] == 9 and not found.flags.writeable


def test_more_than_a_column_counts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rolltape.schema.frame_layout.MOST_BYTES", 3 * 1200)
    layout = picture_layout("uint8", (20, 20, 3))
    assert len(to_rows(layout, np.zeros((3, 20, 20, 3), np.uint8))) == 3
    with pytest.raises(SchemaMismatch, match="4 pictures are 4,800 bytes; together they may have 3,600"):
        to_rows(layout, np.zeros((4, 20, 20, 3), np.uint8))


def test_rows_of_another_size_are_refused() -> None:
    layout = FrameLayout("uint8", (2, 2))
    for column in (pa.array([b"abcd", b"abc"], pa.binary()), pa.array([b"abcd", None], pa.binary())):
        with pytest.raises(CorruptRecording, match="not 4 bytes long"):
            from_rows(layout, column)
