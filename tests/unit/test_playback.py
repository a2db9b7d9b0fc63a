"""Recorded rows come out of a playback as they went in, whatever the fragments and the order of advancing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.page import EPISODES, STEPS, ProducerPage
from rolltape.actors.playback import PlaybackRows, load_commit
from rolltape.actors.stress import Rate
from rolltape.schema.config import FragmentConfig
from rolltape.schema.errors import ConfigError, CorruptRecording
from rolltape.schema.messages import ProducerKey
from tests.fragments import TIME_0_US, Producer

NEW = "01K00000000000000000000NEW"
KEY = ProducerKey(0, 0)


class Page:
    words = np.zeros(8, np.int64)


def commit(fragments: int, frames: int = 0, length: int = 3) -> dict[str, pa.Table]:
    """What a part of each table holds after so many fragments."""
    source = Producer(frames=frames, length=length)
    made = [source.fragment(2).batches for _ in range(fragments)]
    names = {name for batches in made for name in batches}
    return {name: pa.Table.from_batches([b[name] for b in made if name in b]) for name in names}


def sealed_batches(rows: PlaybackRows, sequence: int) -> dict[str, pa.RecordBatch]:
    sealed = rows.seal()
    return {} if sealed is None else sealed.batches(sequence)


def played(rows: PlaybackRows, until: list[int | None]) -> dict[str, list[pa.RecordBatch]]:
    found: dict[str, list[pa.RecordBatch]] = {}
    sequence = 0
    for until_us in [*until, None]:
        while rows.next_due_us is not None and rows.advance(until_us):
            sequence += 1
            for name, batch in sealed_batches(rows, sequence).items():
                found.setdefault(name, []).append(batch)
    assert rows.next_due_us is None and not rows.nbytes
    return found


def in_order(table: pa.Table) -> pa.Table:
    names = [name for name in table.column_names if name not in ("run_id", "fragment")]
    by = [(name, "ascending") for name in ("sub_env", "episode", "t") if name in names]
    return table.select(names).sort_by(by)


@given(
    st.integers(1, 9),
    st.sampled_from([0, 64]),
    st.lists(st.integers(TIME_0_US - 1, TIME_0_US + 20), max_size=6),
    st.sampled_from([64 << 10, 70 << 10]),
    st.integers(1, 40),
)
def test_rows_come_out_as_they_went_in(
    fragments: int, frames: int, until: list[int], max_bytes: int, max_rows: int
) -> None:
    tables = commit(fragments, frames)
    page: Any = Page()
    rows = PlaybackRows(NEW, KEY, page, FragmentConfig(max_bytes=max_bytes, max_rows=max_rows))
    rows.load(tables)
    found = played(rows, sorted(until))
    assert found.keys() == tables.keys()
    for name, batches in found.items():
        table = pa.Table.from_batches(batches)
        assert set(table["run_id"].to_pylist()) == {NEW}
        assert in_order(table).equals(in_order(tables[name]))
    assert page.words[STEPS] == rows.steps == len(tables["steps"])
    assert page.words[EPISODES] == rows.episodes == rows.completed == len(tables.get("episodes", ()))
    assert rows.frames == len(tables.get("frames", ()))
    assert rows.return_sum == 3.0 * rows.completed


@given(st.integers(1, 7))
def test_an_episode_never_comes_before_its_steps_and_pictures(max_rows: int) -> None:
    tables = commit(6, frames=64, length=4)
    rows = PlaybackRows(NEW, KEY, Page(), FragmentConfig(max_rows=max_rows))  # type: ignore[arg-type]
    rows.load(tables)
    seen: dict[str, list[tuple[int, int]]] = {"steps": [], "frames": []}
    sequence = 0
    while rows.advance(None):
        sequence += 1
        batches = sealed_batches(rows, sequence)
        for name, known in seen.items():
            if name in batches:
                known += zip(batches[name]["episode"].to_pylist(), batches[name]["t"].to_pylist(), strict=True)
        for episode in batches["episodes"]["episode"].to_pylist() if "episodes" in batches else ():
            for known in seen.values():
                assert [t for e, t in known if e == episode] == [0, 1, 2, 3]


def test_nothing_is_taken_before_its_time() -> None:
    rows = PlaybackRows(NEW, KEY, Page(), FragmentConfig(max_age_s=1.0), counter_ns=lambda: 7)  # type: ignore[arg-type]
    rows.load(commit(3))
    assert rows.next_due_us == TIME_0_US
    assert not rows.advance(TIME_0_US - 1) and rows.oldest_ns is None and rows.steps == 0
    assert not rows.advance(TIME_0_US + 1) and rows.oldest_ns == 7 and rows.steps == 4
    assert rows.due(7 + 10**9) and not rows.due(6 + 10**9)
    rows.hasten()
    assert rows.advance(TIME_0_US + 1)


def test_a_page_counts_what_was_taken(tmp_path: Path) -> None:
    page = ProducerPage(tmp_path / "p0.0.page", KEY, 1)
    rows = PlaybackRows(NEW, KEY, page, FragmentConfig())
    rows.load(commit(2))
    rows.advance(None)
    assert page.words[STEPS] == 8


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0.25x", Rate(times=0.25)),
        ("2X", Rate(times=2.0)),
        ("2000/s", Rate(steps_per_s=2000.0)),
        ("1.5", Rate(steps_per_s=1.5)),
        ("unlimited", Rate()),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "fast", "0x", "-1", "1y", "0", "x"])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="unlimited"):
        Rate.parse(text)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    part = tmp_path / "w0.0-00000001-00000001.parquet"
    part.write_bytes(b"no part")
    with pytest.raises(CorruptRecording, match=f"{part} cannot be read: .*`rolltape repair` puts it aside"):
        load_commit({"steps": part}, [KEY])
