"""A native batch that was reset in between is laid out as it was stepped, or refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rolltape.actors.batch_layout import (
    MISSING,
    PARTLY,
    TOO_LARGE,
    UNKNOWN,
    UNRECORDED,
    Layout,
    lacks_steps,
    lay_out,
    since_seeded,
)

Rows = list[tuple[int, int, int, int]]
"""Place, episode, first time and length of what was stepped; a step takes 10 µs."""


def an_episode(sub_env: int, episode: int, began: int, length: int, status: str, **more: Any) -> dict[str, Any]:
    known = {"sub_env": sub_env, "episode": episode, "began": began, "length": length, "status": status}
    return known | {"seed": 3, "seed_episode": sub_env, "replay": "batch", "options": None} | more


def laid_out(rows: Rows, episodes: list[dict[str, Any]], mode: str, *, by_caller: bool = False) -> Layout | str:
    whole = [(p, e, t, start + 10 * t) for p, e, start, length in rows for t in range(length)]
    place, episode, t, times = (np.array(column) for column in zip(*whole, strict=True))
    return lay_out(place, episode, t, times, episodes, mode, 2, by_caller=by_caller)


def test_a_plain_reset_comes_before_the_next_step() -> None:
    rows = [(0, 0, 10, 3), (0, 2, 40, 2), (1, 1, 10, 3), (1, 3, 40, 2)]
    episodes = [an_episode(0, 0, 5, 3, "aborted"), an_episode(0, 2, 35, 2, "aborted")]
    episodes += [an_episode(1, 1, 5, 3, "completed"), an_episode(1, 3, 35, 2, "aborted")]
    layout = laid_out(rows, episodes, "next_step")
    assert isinstance(layout, Layout)
    assert layout.slots.tolist() == [0, 1, 2, 3, 4] * 2
    assert {slot: [reset.mask for reset in some] for slot, some in layout.resets.items()} == {0: [None], 3: [None]}
    assert [reset.seed for some in layout.resets.values() for reset in some] == [3, None]


def test_a_masked_reset_with_options_leaves_the_others() -> None:
    rows = [(0, 0, 10, 2), (0, 2, 30, 2), (1, 1, 10, 4)]
    told = '{"low": 1}'
    episodes = [an_episode(0, 0, 5, 2, "aborted"), an_episode(0, 2, 25, 2, "aborted", options=told)]
    episodes.append(an_episode(1, 1, 5, 4, "aborted"))
    layout = laid_out(rows, episodes, "same_step")
    assert isinstance(layout, Layout)
    (reset,) = layout.resets[2]
    assert reset.mask is not None
    assert (reset.mask.tolist(), reset.options, reset.seed) == ([True, False], {"low": 1}, None)


@pytest.mark.parametrize(("by_caller", "slots"), [(False, [0, 1, 3, 4]), (True, [0, 1, 2, 3])])
def test_where_all_ended_it_lays_out_what_is_believed(by_caller: bool, slots: list[int]) -> None:
    rows = [(0, 0, 10, 2), (0, 2, 40, 2), (1, 1, 10, 2), (1, 3, 40, 2)]
    episodes = [an_episode(0, 0, 5, 2, "completed"), an_episode(0, 2, 32, 2, "aborted")]
    episodes += [an_episode(1, 1, 5, 2, "completed"), an_episode(1, 3, 32, 2, "aborted")]
    layout = laid_out(rows, episodes, "next_step", by_caller=by_caller)
    assert isinstance(layout, Layout)
    assert layout.slots.tolist() == slots * 2
    assert set(layout.resets) == ({0, 2} if by_caller else {0})


def test_an_end_that_waited_is_refused() -> None:
    rows = [(0, 0, 10, 1), (0, 2, 30, 2), (1, 1, 10, 4)]  # the step at 20 has no row of the first
    episodes = [an_episode(0, 0, 5, 1, "completed"), an_episode(0, 2, 25, 2, "aborted")]
    episodes.append(an_episode(1, 1, 5, 4, "aborted"))
    assert laid_out(rows, episodes, "disabled") == UNRECORDED


def test_a_reset_that_no_row_tells_of_is_refused() -> None:
    rows = [(0, 0, 10, 2), (0, 2, 30, 2), (1, 1, 10, 4)]
    episodes = [an_episode(0, 0, 5, 2, "aborted"), an_episode(1, 1, 5, 4, "aborted")]  # 2 is open or lost
    assert laid_out(rows, episodes, "next_step") == UNKNOWN


def test_missing_steps_are_refused() -> None:
    rows = [(0, 0, 10, 2), (1, 1, 10, 2)]
    episodes = [an_episode(0, 0, 5, 3, "aborted"), an_episode(1, 1, 5, 2, "aborted")]
    assert laid_out(rows, episodes, "next_step") == MISSING


@pytest.mark.parametrize(
    ("episode", "t", "lacks"),
    [
        ([4, 4, 4, 5], [0, 1, 2, 0], False),
        ([4, 4, 4], [0, 1, 2], False),
        ([4, 4, 5], [0, 1, 0], True),
        ([4, 4, 4, 5], [0, 1, 3, 0], True),
        ([4, 4, 4, 5], [0, 1, 2, 1], True),
        ([5], [0], True),
        ([], [], True),
    ],
)
def test_a_hole_is_found_in_an_open_episode_too(episode: list[int], t: list[int], lacks: bool) -> None:
    """5 is open: how long it was nobody knows."""
    steps = np.array(episode, np.int64), np.array(t, np.int32)
    assert lacks_steps(*steps, [an_episode(0, 4, 0, 3, "completed"), an_episode(1, 6, 0, 0, "aborted")]) is lacks


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_a_batch_that_was_only_reset_has_no_steps(mode: str) -> None:
    episodes = [an_episode(place, place + 2 * k, k, 0, "aborted") for place in range(2) for k in range(2)]
    none = np.zeros(0, np.int64)
    layout = lay_out(none, none, none, none, episodes, mode, 2, by_caller=False)
    assert isinstance(layout, Layout)
    assert (layout.slots.tolist(), layout.resets) == ([], {})


def test_places_are_counted_from_the_first_sub_environment() -> None:
    """That one has no episode that ended: its producer was killed."""
    episode, t = np.array([7, 9, 8, 10]), np.zeros(4, np.int64)
    place, times = np.array([0, 0, 1, 1]), np.array([10, 30, 10, 30])
    episodes = [an_episode(8, 8, 5, 1, "completed")]
    assert lay_out(place, episode, t, times, episodes, "next_step", 2, by_caller=False, offset=7) == UNKNOWN


def test_what_comes_before_the_first_seed_is_left_out() -> None:
    unseeded = {"seed": None, "seed_episode": None, "replay": "none"}
    first = [an_episode(place, place, 5, 2, "aborted", **unseeded) for place in (0, 1)]
    then = [an_episode(place, place + 2, 25, 2, "aborted", seed_episode=place + 2) for place in (0, 1)]
    assert since_seeded(first + then) == then
    assert since_seeded([*first, then[0]]) == PARTLY
    later = [an_episode(place, place + 4, 45, 2, "aborted", **unseeded) for place in (0, 1)]
    assert since_seeded(first + then + later) == TOO_LARGE
