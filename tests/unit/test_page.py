"""The page outlives its producer and says what it produced."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.page import EPISODES, SEQUENCE, STEPS, ProducerPage, page_path, read_page
from rolltape.schema.messages import ProducerKey
from tests.examples import examples
from tests.fakes import Agreement, fragments, run_schema
from tests.recorders import rows_of

KEY = ProducerKey(3, 2)


def test_a_new_page_says_that_nothing_happened(tmp_path: Path) -> None:
    path = page_path(tmp_path / "producers", KEY)
    assert path.name == "p3.2.page"
    ProducerPage(path, KEY, 2)
    words = read_page(path)
    assert words is not None
    assert (words.key, words.sequence, words.steps, words.episodes) == (KEY, 0, 0, 0)
    assert words.episode_index.tolist() == words.episode_steps.tolist() == [-1, -1]


def test_last_words_are_what_was_written_last(tmp_path: Path) -> None:
    """Nothing is flushed and nothing closed: the file is read as it lies there after a SIGKILL."""
    page = ProducerPage(tmp_path / "page", KEY, 3)
    page.words[SEQUENCE], page.words[STEPS], page.words[EPISODES] = 7, 1 << 40, 5
    page.episode_index[:] = [4, 5, 6]
    page.episode_steps[1:] += 10
    words = read_page(tmp_path / "page")
    assert words is not None
    assert (words.sequence, words.steps, words.episodes) == (7, 1 << 40, 5)
    assert (words.episode_index.tolist(), words.episode_steps.tolist()) == ([4, 5, 6], [-1, 9, 9])
    page.words[STEPS] = 0
    assert words.steps == 1 << 40  # a copy


def test_a_page_is_never_taken_over(tmp_path: Path) -> None:
    ProducerPage(tmp_path / "page", KEY, 1)
    with pytest.raises(FileExistsError):
        ProducerPage(tmp_path / "page", KEY, 1)


def test_a_page_has_no_holes(tmp_path: Path) -> None:
    """Writing into a hole of a mapped file when the disk is full kills the process with SIGBUS."""
    page = ProducerPage(tmp_path / "page", KEY, 4096)
    stat = page.path.stat()
    assert stat.st_blocks * 512 >= stat.st_size == 8 * (8 + 2 * 4096 + 1)


@pytest.mark.parametrize("content", [None, b"", b"x" * 7, bytes(64), bytes(80)])
def test_what_is_no_page_says_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "page"
    if content is not None:
        path.write_bytes(content)
    assert read_page(path) is None


def test_a_page_cut_off_says_nothing(tmp_path: Path) -> None:
    ProducerPage(tmp_path / "page", KEY, 2)
    (tmp_path / "cut").write_bytes((tmp_path / "page").read_bytes()[:-16])
    assert read_page(tmp_path / "cut") is None


@pytest.mark.usefixtures("either_way")
@examples(20)
@given(st.lists(st.sampled_from(["reset", "step", "end"]), max_size=20))
def test_a_single_environment_counts_its_episode(tmp_path_factory: pytest.TempPathFactory, plan: list[str]) -> None:
    path = tmp_path_factory.mktemp("run") / "page"
    schema = run_schema(gym.spaces.Discrete(2), gym.spaces.Discrete(2))
    rows = rows_of(schema)(
        schema, KEY, ProducerPage(path, KEY, 1), fragments(), sub_env=0, stride=1, agree=Agreement(), first_index=5
    )
    index, steps, total = 4, -1, 0
    for move in plan:
        if move == "reset":
            rows.reset(0, {})
            index, steps = index + 1, 0
        elif steps >= 0:
            rows.step(0, 0, 0.0, move == "end", False, {})
            total += 1
            steps = -1 if move == "end" else steps + 1
        words = read_page(path)
        assert words is not None
        assert words.steps == total
        assert words.episode_index.tolist() == [index]
        assert words.episode_steps.tolist() == [steps]
    assert np.fromfile(path, "<i8")[0] == 0x45474150_544C4F52


def test_what_was_left_out_was_not_to_be_recorded(tmp_path: Path) -> None:
    page = ProducerPage(tmp_path / "page", KEY, 2)
    page.words[STEPS] = 10
    page.skipped = 3
    words = read_page(page.path)
    assert words is not None and words.steps == 7 and words.episode_steps.tolist() == [-1, -1]
    page.path.write_bytes(page.path.read_bytes()[:-8])  # as pages were before
    words = read_page(page.path)
    assert words is not None and words.steps == 10
