"""Steps left out on purpose: what stays is what was asked for, however fragments are cut, and the rest is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.kept_rows import KeptRows
from rolltape.actors.sealed import SealedCopy
from rolltape.schema.config import RecordConfig
from rolltape.schema.errors import ConfigError
from tests.examples import examples


@dataclass
class Page:
    skipped: int = 0


@dataclass
class Rows:
    """Gives fragments that were made before."""

    fragments: list[dict[str, pa.RecordBatch] | None] = field(default_factory=list)

    def seal(self) -> SealedCopy | None:
        batches = self.fragments.pop(0)
        return None if batches is None else SealedCopy(lambda _: batches, 1, 1)


def batch(**columns: list[int]) -> pa.RecordBatch:
    n = len(next(iter(columns.values())))
    return pa.RecordBatch.from_pydict({"fragment": pa.array(np.zeros(n, np.int64)), **columns})


def fragments_of(story: list[tuple[int, int, bool]], cuts: set[int]) -> list[dict[str, pa.RecordBatch] | None]:
    """Fragments of `story`: (episode, t, whether it ends with it), cut behind the steps `cuts`."""
    made: list[dict[str, pa.RecordBatch] | None] = []
    steps: list[tuple[int, int]] = []
    frames: list[tuple[int, int]] = []
    ended: list[tuple[int, int]] = []
    for place, (episode, t, ends) in enumerate(story):
        if t == 0:
            frames.append((episode, 0))
        steps.append((episode, t))
        frames.append((episode, t + 1))
        if ends:
            ended.append((episode, t + 1))
        if place in cuts or place == len(story) - 1:
            some = {
                "steps": batch(episode=[e for e, _ in steps], t=[t for _, t in steps]),
                "frames": batch(
                    episode=[e for e, _ in frames],
                    t=[t for _, t in frames],
                    format=["uint8[1]"] * len(frames),
                    data=[b"p"] * len(frames),
                ),
            }
            if ended:
                some["episodes"] = batch(episode=[e for e, _ in ended], length=[n for _, n in ended])
            made.append(some)
            steps, frames, ended = [], [], []
    return made


STORIES = st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=3), min_size=1, max_size=3)


def story_of(lengths: list[list[int]]) -> list[tuple[int, int, bool]]:
    """Sub-environments that take turns; each does one episode after the other."""
    lanes = [
        [(place + len(lengths) * k, t, t == n - 1) for k, n in enumerate(lane) for t in range(n)]
        for place, lane in enumerate(lengths)
    ]
    return [lane[i] for i in range(max(map(len, lanes))) for lane in lanes if i < len(lane)]


def run(kept: KeptRows, saves: set[int]) -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {"steps": [], "frames": [], "episodes": []}
    number = 0
    while kept.rows_behind.fragments:
        number += 1
        if number in saves:
            kept.save()
        sealed = kept.seal()
        for name, rows in ({} if sealed is None else sealed.batches(number)).items():
            rows.validate(full=True)
            if name != "episodes":
                assert rows.column("fragment").to_pylist() == [number] * rows.num_rows
            names = ("episode", "length", "skipped") if name == "episodes" else ("episode", "t")
            found[name] += zip(*(rows.column(n).to_pylist() for n in names), strict=True)
    return found


@examples(60)
@given(STORIES, st.sets(st.integers(0, 60)), st.integers(1, 5))
def test_the_last_steps_of_each_episode(lengths: list[list[int]], cuts: set[int], last: int) -> None:
    story = story_of(lengths)
    kept = KeptRows(Rows(fragments_of(story, cuts)), Page(), keep_last=last)  # type: ignore[arg-type]
    found = run(kept, set())
    length = {episode: t + 1 for episode, t, ends in story if ends}
    assert sorted(found["steps"]) == sorted((e, t) for e, t, _ in story if t >= length[e] - last)
    assert sorted(found["frames"]) == sorted((e, t) for e, n in length.items() for t in range(max(0, n - last), n + 1))
    assert sorted(found["episodes"]) == sorted((e, n, max(0, n - last)) for e, n in length.items())
    assert kept.skipped == kept._page.skipped == len(story) - len(found["steps"])


@examples(60)
@given(STORIES, st.sets(st.integers(0, 60)), st.integers(1, 4), st.sets(st.integers(1, 9)))
def test_what_was_saved_meanwhile_stays(lengths: list[list[int]], cuts: set[int], last: int, saves: set[int]) -> None:
    story = story_of(lengths)
    kept = KeptRows(Rows(fragments_of(story, cuts)), Page(), keep_last=last)  # type: ignore[arg-type]
    found = run(kept, saves)
    length = {episode: t + 1 for episode, t, ends in story if ends}
    assert len(set(found["steps"])) == len(found["steps"]) and len(set(found["frames"])) == len(found["frames"])
    assert set(found["steps"]) >= {(e, t) for e, t, _ in story if t >= length[e] - last}
    counts = {e: sum(1 for other, _ in found["steps"] if other == e) for e in length}
    assert sorted(found["episodes"]) == sorted((e, n, n - counts[e]) for e, n in length.items())
    assert {(e, t) for e, t in found["steps"]} <= set(found["frames"])
    assert len(found["frames"]) == len(found["steps"]) + len(length)


@examples(60)
@given(STORIES, st.sets(st.integers(0, 60)), st.integers(2, 5))
def test_every_kth_step(lengths: list[list[int]], cuts: set[int], every: int) -> None:
    story = story_of(lengths)
    kept = KeptRows(Rows(fragments_of(story, cuts)), Page(), sample=every)  # type: ignore[arg-type]
    found = run(kept, set())
    length = {episode: t + 1 for episode, t, ends in story if ends}
    assert sorted(found["steps"]) == sorted((e, t) for e, t, _ in story if t % every == 0)
    expected = {(e, t) for e, n in length.items() for t in range(n + 1) if t % every == 0 or t == n}
    assert set(found["frames"]) == expected and len(found["frames"]) == len(expected)
    assert sorted(found["episodes"]) == sorted((e, n, sum(t % every > 0 for t in range(n))) for e, n in length.items())
    assert kept.skipped == len(story) - len(found["steps"])


def test_a_save_takes_what_waits_when_nothing_is_new() -> None:
    rows = Rows([fragments_of([(0, t, False) for t in range(5)], set())[0], None, None])
    kept = KeptRows(rows, Page(), keep_last=2)  # type: ignore[arg-type]
    (first,) = [sealed.batches(1) for sealed in [kept.seal()] if sealed is not None]
    assert first == {} and kept.skipped == 3 and kept.waiting_bytes > 0
    kept.save()
    sealed = kept.seal()
    assert sealed is not None and sealed.batches(1)["steps"].column("t").to_pylist() == [3, 4]
    assert kept.seal() is None


@pytest.mark.parametrize(
    ("given", "leaves_out"),
    [({}, {}), ({"keep_last": 5}, {"keep_last": 5}), ({"throttle": {"sample": 3}}, {"sample": 3})],
)
def test_what_leaves_steps_out(given: dict[str, Any], leaves_out: dict[str, int]) -> None:
    assert RecordConfig.of(**given).leaves_out == leaves_out
    with pytest.raises(ConfigError, match=r"keep_last = 5 and throttle\.sample = 3 leave steps out in two ways"):
        RecordConfig.of(keep_last=5, throttle={"sample": 3})
    with pytest.raises(ConfigError, match=r"keep_last.*-1"):
        RecordConfig.of(keep_last=-1)
