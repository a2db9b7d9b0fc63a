from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import rolltape as rt
from rolltape.schema.errors import LakeNotFound
from rolltape.storage import frame_index
from rolltape.storage.frame_store import FrameStore, through
from rolltape.storage.layout import RunFolder
from tests.compacting import compact, once_listed
from tests.lakes import pictures, record, record_frames


@pytest.fixture
def shown() -> dict[int, np.ndarray]:
    return pictures(11, 30, 7, 1)


@pytest.mark.parametrize("frames_a_commit", [3, 1000])
def test_any_picture_and_all_in_order(shown: dict[int, np.ndarray], frames_a_commit: int, tmp_path: Path) -> None:
    record_frames(tmp_path, shown, frames_a_commit=frames_a_commit)
    lake = rt.open(tmp_path)
    run = lake.run()
    for episode, expected in shown.items():
        for t in {0, len(expected) // 2, len(expected) - 1}:
            found = lake.frame(run, episode=episode, t=t)
            np.testing.assert_array_equal(found, expected[t])
            assert found.dtype == np.uint8 and found.flags.writeable
            assert isinstance(found.base, np.ndarray) and found.base.flags.owndata  # it keeps no batch alive
            assert found.base.nbytes == found.nbytes
        frames = run.frames(episode)
        assert frames.shape == expected.shape and len(frames) == len(expected)
        assert frames.t.tolist() == list(range(len(expected)))
        np.testing.assert_array_equal(frames.array(), expected)
        np.testing.assert_array_equal(np.asarray(frames), expected)
        np.testing.assert_array_equal(np.stack(list(frames)), expected)
        np.testing.assert_array_equal(np.concatenate(list(frames.batches())), expected)
    assert repr(run.frames(1)) == "<Frames 30 x uint8[32, 24, 3]>"


@pytest.mark.parametrize("frames_a_commit", [3, 13, 1000])
def test_episodes_one_after_the_other(
    shown: dict[int, np.ndarray], frames_a_commit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_frames(tmp_path, shown, frames_a_commit=frames_a_commit)
    run = rt.open(tmp_path).run()
    decoded: list[str] = []
    pieces = FrameStore.pieces

    def counted(store: FrameStore, run_id: str, stretch: Any) -> Iterator[np.ndarray]:
        decoded.append(stretch.path)
        return pieces(store, run_id, stretch)

    monkeypatch.setattr(FrameStore, "pieces", counted)
    for which in ((0, 1, 2, 3), (1, 3), (2, 0), ()):
        expected = [picture for episode in which for picture in shown[episode]]
        found = list(through([run.frames(episode) for episode in which]))
        assert len(found) == len(expected)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    if frames_a_commit == 1000:
        decoded.clear()
        list(through([run.frames(episode) for episode in (0, 2, 1, 3)]))  # by sub-environment
        assert len(decoded) == 1, "what lies together is decoded together"


def test_episodes_one_after_the_other_while_parts_are_merged(
    shown: dict[int, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_frames(tmp_path, shown, frames_a_commit=3)
    run = rt.open(tmp_path).run()
    found = through([run.frames(episode) for episode in shown])
    first = [next(found) for _ in range(14)]
    folder = RunFolder(tmp_path / "runs" / run.run_id)
    compact(folder, 1, len(run.parts("frames")), delete=True, tables=("frames",))
    expected = [picture for pictures in shown.values() for picture in pictures]
    assert all(np.array_equal(a, b) for a, b in zip([*first, *found], expected, strict=True))


def test_rows_of_a_range_of_episodes_come_from_their_row_groups(shown: dict[int, np.ndarray], tmp_path: Path) -> None:
    record_frames(tmp_path, shown, frames_a_commit=3)
    run = rt.open(tmp_path).run()
    rows = run.lake.episode_rows.between(run.run_id, "frames", ["episode", "t"], episode=(1, 2))
    found = sorted(pair for pair in zip(*rows.to_pydict().values(), strict=True) if pair[0] in (1, 2))
    assert found == [(episode, t) for episode in (1, 2) for t in range(len(shown[episode]))]
    last = run.lake.episode_rows.between(run.run_id, "frames", ["episode"], episode=(3, 3))
    assert 0 < len(last) < len(rows), "other row groups are not read"
    empty = run.lake.episode_rows.between(run.run_id, "frames", ["episode", "t"], episode=(50, 60))
    assert len(empty) == 0 and empty.column_names == ["episode", "t"]


def test_frames_are_a_sequence(shown: dict[int, np.ndarray], tmp_path: Path) -> None:
    record_frames(tmp_path, shown, frames_a_commit=4)
    frames, expected = rt.open(tmp_path).frames("latest", 1), shown[1]
    for which in (0, 7, -1, slice(None), slice(2, 9), slice(9, 2, -2), slice(-4, None), slice(5, 5), slice(0, 30, 7)):
        np.testing.assert_array_equal(frames[which], expected[which])
    with pytest.raises(IndexError):
        frames[30]


@pytest.mark.parametrize("shape", [(40, 36, 4), (4, 40, 36), (40, 36), (40, 36, 1), (40, 36, 3)])
def test_every_shape_of_picture(shape: tuple[int, ...], tmp_path: Path) -> None:
    shown = pictures(6, 3, shape=shape)
    record_frames(tmp_path, shown)
    lake = rt.open(tmp_path)
    np.testing.assert_array_equal(lake.frame("latest", 0, 5), shown[0][5])
    assert lake.frame("latest", 0, 5).flags.c_contiguous
    np.testing.assert_array_equal(lake.frames("latest", 1).array(), shown[1])
    np.testing.assert_array_equal(lake.frames("latest", 1)[1:], shown[1][1:])


def test_what_is_not_there_is_said(shown: dict[int, np.ndarray], tmp_path: Path) -> None:
    record_frames(tmp_path, shown, kind="render")
    lake = rt.open(tmp_path)
    assert lake.frame("latest", 0, 3, kind="render").shape == (32, 24, 3)
    with pytest.raises(LakeNotFound, match=r"no picture of episode 0 at t=11: it has 11 for t 0 to 10.*frames=render"):
        lake.frame("latest", 0, 11)
    with pytest.raises(LakeNotFound, match=r"no observation picture of episode 0: it has 11"):
        lake.frames("latest", 0, kind="observation")
    with pytest.raises(LakeNotFound, match=r"no pictures of an episode 99"):
        lake.frame("latest", 99, 0)
    record(tmp_path, 1)
    with pytest.raises(LakeNotFound, match=r"no pictures \(frames=none\)\. Record with"):
        lake.frames("latest", 0)


def test_observations_come_before_renders(tmp_path: Path) -> None:
    shown = pictures(4)
    run = record_frames(tmp_path, shown, kind="render")
    lake = rt.open(tmp_path)
    np.testing.assert_array_equal(lake.frame("latest", 0, 2), shown[0][2])
    seen = pictures(4)
    record_frames(tmp_path, seen, number=1)
    both = lake.listing.folder(lake.resolve("latest"))
    for part in run.table("frames").iterdir():  # the same episode, drawn as well
        other = part.name.replace("w0.0", "w1.0")
        (both.table("frames") / other).write_bytes(part.read_bytes())
        marker = part.name.replace("parquet", "json")
        content = (run.commits / marker).read_text().replace("w0.0", "w1.0")
        (both.commits / marker.replace("w0.0", "w1.0")).write_text(content)
    np.testing.assert_array_equal(lake.frame("latest", 0, 2), seen[0][2])
    np.testing.assert_array_equal(lake.frame("latest", 0, 2, kind="render"), shown[0][2])
    np.testing.assert_array_equal(lake.frames("latest", 0, kind="render").array(), shown[0])
    np.testing.assert_array_equal(lake.frames("latest", 0).array(), seen[0])


def test_a_footer_is_read_once_and_only_the_wanted_rows_are_decoded(
    shown: dict[int, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_frames(tmp_path, shown, frames_a_commit=4)
    lake = rt.open(tmp_path)
    lake.frame("latest", 1, 0)
    opened: list[str] = []
    real = frame_index.open_part

    def count(path: str, *, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
        assert metadata is not None or path not in opened
        opened.append(path)
        return real(path, metadata=metadata)

    monkeypatch.setattr(frame_index, "open_part", count)
    for t in range(30):
        np.testing.assert_array_equal(lake.frame("latest", 1, t), shown[1][t])
    assert len(set(opened)) <= 8
    opened.clear()
    lake.frame("latest", 1, 17)
    assert len(opened) == 1


def test_pictures_of_a_run_that_grows_and_is_compacted(
    shown: dict[int, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record_frames(tmp_path, shown, frames_a_commit=4)
    lake = rt.open(tmp_path)
    frames = lake.frames("latest", 1)
    assert len(frames) == 30
    lake.listing.forget()
    listings = once_listed(monkeypatch, lambda: compact(run, 1, 5, delete=True, tables=("frames",)))
    np.testing.assert_array_equal(lake.frame("latest", 1, 9), shown[1][9])
    np.testing.assert_array_equal(lake.frames("latest", 1).array(), shown[1])
    assert len(listings) >= 2
    np.testing.assert_array_equal(frames.array(), shown[1])  # was found before the compaction
    np.testing.assert_array_equal(frames[3:8], shown[1][3:8])
