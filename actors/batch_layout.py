"""Which step of a native batch each recorded row was, and where its caller reset it.

Rules:
1. Episodes that began at one moment were reset together. The caller did it where one of them is the first of its
   sub-environment, was given a seed or options, or follows an episode that was broken off, and always under DISABLED.
2. Otherwise the environment did it: under SAME_STEP in the step of the end, under NEXT_STEP in the step after it, which
   gives no row. Where that step gave no row to the others either, before the next one the caller reset.
3. Only where all episodes ended in one step under NEXT_STEP does nothing say who reset. `lay_out` is told what to
   believe, and a replay tries both.
4. Rows of one step have one time, and a step has a row of each sub-environment that was not being reset. Where that
   does not hold, steps were taken of which there are no rows, and their actions are unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rolltape.schema.info_json import decode_info

UNRECORDED = (
    "steps were taken in between that are not recorded (after an end that was not reset at once, or after a step that "
    "was refused), and their actions with them"
)
PARTLY = "its first reset with a seed was of some sub-environments only, and the state of the others is unknown"
UNKNOWN = "an episode that its caller reset is open or lost, and how it was reset is unknown"
MISSING = "some of its steps are missing"
TOO_LARGE = "it was reset with a seed that is too large to be kept"


@dataclass(frozen=True, slots=True)
class BatchReset:
    """A reset by the caller.

    Attributes:
        seed: one for all, an array of one each, or None.
        options: without the mask; None: none were given.
        mask: the sub-environments that were reset, bool; None: all.
    """

    seed: Any
    options: dict[str, Any] | None
    mask: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A batch as it was stepped.

    Attributes:
        slots: by row, the step of the batch in which it was made.
        resets: by step, what the caller reset before it, in order.
    """

    slots: np.ndarray
    resets: dict[int, list[BatchReset]]


def is_usual(episodes: list[dict[str, Any]], mode: str) -> bool:
    """Whether a batch was reset once, with a seed, and from then on reset itself; `slots_of` lays that out."""
    last = {row["sub_env"]: row["episode"] for row in episodes}
    seeded = {(row["sub_env"], row["seed_episode"]) for row in episodes}
    if mode == "disabled" or len({row["seed"] for row in episodes}) != 1 or len(seeded) != len(last):
        return False
    return all(row["status"] != "aborted" or row["episode"] == last[row["sub_env"]] for row in episodes)


def slots_of(place: np.ndarray, episode: np.ndarray, resets: int) -> np.ndarray:
    """The step of the batch in which each row was made; rows are sorted by sub-environment, episode and t.

    `resets`: steps that a reset takes, 0 or 1.
    """
    if not len(place):
        return place
    new_place = np.diff(place, prepend=-1) != 0
    new_episode = (np.diff(episode, prepend=-1) != 0) & ~new_place
    running = np.arange(len(place)) + resets * np.cumsum(new_episode)
    return running - np.maximum.accumulate(np.where(new_place, running, 0))


def since_seeded(episodes: list[dict[str, Any]]) -> list[dict[str, Any]] | str:
    """The episodes from the first seeded reset on, or why they cannot be replayed."""
    if any(row["began"] is None for row in episodes):
        return "it was reset in between, and when is not recorded"
    n = len({row["sub_env"] for row in episodes})
    seeded = [row for row in episodes if row["replay"] == "batch"]
    began = min(row["began"] for row in seeded)
    kept = [row for row in episodes if row["began"] >= began]
    if len([row for row in kept if row["began"] == began]) != n:
        return PARTLY
    return kept if len(kept) == len(seeded) else TOO_LARGE


def began_before(sub_env: np.ndarray, episode: np.ndarray, episodes: list[dict[str, Any]]) -> np.ndarray:
    """By row, whether it lies before the first reset of these episodes."""
    first = {}
    for row in episodes:
        first[row["sub_env"]] = min(row["episode"], first.get(row["sub_env"], row["episode"]))
    places = max(max(first), int(sub_env.max(initial=0))) + 1
    return episode < np.array([first.get(n, 0) for n in range(places)])[sub_env]


def lacks_steps(episode: np.ndarray, t: np.ndarray, episodes: list[dict[str, Any]]) -> bool:
    """Whether an episode has a hole, or one that ended has not all its steps; rows are sorted by episode and t."""
    firsts = np.flatnonzero(np.diff(episode, prepend=-1))
    lengths = np.diff(firsts, append=len(episode))
    if (t != np.arange(len(t)) - np.repeat(firsts, lengths)).any():
        return True
    found = dict(zip(episode[firsts].tolist(), lengths.tolist(), strict=True))
    return any(found.get(row["episode"], 0) != row["length"] for row in episodes)


def lay_out(
    place: np.ndarray,
    episode: np.ndarray,
    t: np.ndarray,
    times: np.ndarray,
    episodes: list[dict[str, Any]],
    mode: str,
    n: int,
    *,
    by_caller: bool,
    offset: int = 0,
) -> Layout | str:
    """Lay out a batch that was reset more than once, or say why that cannot be.

    Args:
        place: by row, the place of its sub-environment; rows are sorted by place, episode and t.
        episode: by row.
        t: by row.
        times: by row, when it was recorded, in µs.
        episodes: those that ended, with `began` in µs.
        mode: of autoreset.
        n: sub-environments.
        by_caller: what is believed where all episodes ended in one step (rule 3).
        offset: the sub-environment at place 0.
    """
    if lacks_steps(episode, t, episodes):
        return MISSING
    if not len(episode):
        return Layout(place, {})
    firsts = np.flatnonzero(np.diff(episode, prepend=-1))
    lengths = dict(zip(episode[firsts].tolist(), np.diff(firsts, append=len(episode)).tolist(), strict=True))
    lasts = np.append(firsts[1:], len(episode)) - 1
    last_times = dict(zip(episode[firsts].tolist(), times[lasts].tolist(), strict=True))
    moments: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(episodes, key=lambda row: (row["began"], row["sub_env"])):
        moments.setdefault(row["began"], []).append(row)
    seen = np.unique(times)
    at = [0] * n  # by place, its next step
    before: list[dict[str, Any] | None] = [None] * n  # by place, its last episode
    starts: dict[int, int] = {}
    gaps: list[int] = []
    resets: dict[int, list[BatchReset]] = {}

    def caller_did(began: int, rows: list[dict[str, Any]]) -> bool:
        past = [before[row["sub_env"] - offset] for row in rows]
        if mode == "disabled" or any(_is_told(row) for row in rows):
            return True
        if any(p is None or p["status"] == "aborted" for p in past):
            return True
        if mode == "same_step":
            return False
        ended = max(last_times[p["episode"]] for p in past if p is not None)
        if np.searchsorted(seen, began, "right") > np.searchsorted(seen, ended, "right"):
            return False
        return by_caller or len(rows) < n

    for began, rows in moments.items():
        places = [row["sub_env"] - offset for row in rows]
        if caller_did(began, rows):
            slot = at[places[0]]
            if any(at[p] != slot for p in places):
                return UNRECORDED
            resets.setdefault(slot, []).append(_reset_of(rows, places, n))
        elif mode == "next_step":
            gaps += [at[p] for p in places]
            for p in places:
                at[p] += 1
        for p, row in zip(places, rows, strict=True):
            starts[row["episode"]], before[p] = at[p], row
            at[p] += row["length"]

    for first in firsts.tolist():  # those that are open or lost, the last of their sub-environments
        p, number = int(place[first]), int(episode[first])
        if number in starts:
            continue
        past = before[p]
        if mode == "disabled" or past is None or past["status"] == "aborted":
            return UNKNOWN
        if mode == "next_step":
            gaps.append(at[p])
            at[p] += 1
        starts[number], before[p] = at[p], None
        at[p] += lengths[number]
    if mode == "next_step":  # reset, and nothing is known of what came then
        gaps += [at[p] for p in range(n) if (past := before[p]) is not None and past["status"] == "completed"]
    slots = np.repeat([starts[number] for number in episode[firsts].tolist()], np.diff(firsts, append=len(episode))) + t
    return Layout(slots, resets) if _fits(slots, times, gaps, n) else UNRECORDED


def _fits(slots: np.ndarray, times: np.ndarray, gaps: list[int], n: int) -> bool:
    """Rule 4."""
    if not len(slots):
        return True
    _, first, inverse = np.unique(slots, return_index=True, return_inverse=True)
    if (times != times[first][inverse]).any() or (np.diff(times[first]) < 0).any():
        return False
    rows = np.bincount(slots)
    return bool((rows + np.bincount(gaps, minlength=len(rows))[: len(rows)] == n).all())


def _is_told(row: dict[str, Any]) -> bool:
    return row["options"] is not None or row["seed_episode"] == row["episode"]


def _reset_of(rows: list[dict[str, Any]], places: list[int], n: int) -> BatchReset:
    seeds = [row["seed"] for row in rows if row["seed_episode"] == row["episode"]]
    seed = None
    if seeds:
        seed = seeds[0] if len(set(seeds)) == 1 else np.array(seeds)
    mask = None
    if len(places) < n:
        mask = np.zeros(n, bool)
        mask[places] = True
    return BatchReset(seed, decode_info(rows[0]["options"]) or None, mask)
