"""What plain Gymnasium gives for recorded seeds and actions, compared with a recording bit for bit.

Nothing of `rolltape.actors` is used: environments are made and stepped here, values are decoded with the codec of the
spaces, and rows come from `readback`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa

from rolltape.schema.info_json import decode_info
from rolltape.schema.spaces import SpaceCodec
from tests.sameness import assert_same

from .readback import Found

Make = Callable[[], gym.Env[Any, Any]]


@dataclass
class Story:
    """One episode: `observations` (or `pictures`) has one more than `actions`."""

    row: dict[str, Any]
    actions: list[Any] = field(default_factory=list)
    observations: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    ends: list[tuple[bool, bool]] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)


def stories(found: Found) -> dict[int, Story]:
    """Every episode of a run that has a row, by its number."""
    run = json.loads((found.run / "run.json").read_text())
    codecs = {name: SpaceCodec(run["spaces"][name]) for name in ("observation", "action")}
    result = {row["episode"]: Story(row) for row in found.rows("episodes")}
    if "steps" in found.tables:
        steps = found.tables["steps"].sort_by([("episode", "ascending"), ("t", "ascending")])
        columns = {name: steps.column(name).to_pylist() for name in ("episode", "reward", "terminated", "truncated")}
        actions = codecs["action"].decode(steps.column("action"))
        seen = codecs["observation"].decode(steps.column("observation")) if _has(steps, "observation") else None
        typed = steps.column("info").to_pylist() if _has(steps, "info") else [None] * len(steps)
        texts = steps.column("info_json").to_pylist()
        for i, episode in enumerate(columns["episode"]):
            story = result[episode]
            story.actions.append(actions[i])
            story.rewards.append(columns["reward"][i])
            story.ends.append((columns["terminated"][i], columns["truncated"][i]))
            kept = {k: v for k, v in (typed[i] or {}).items() if v is not None}
            story.infos.append(kept | decode_info(texts[i]))
            if seen is not None:
                story.observations.append(seen[i])
    if "episodes" in found.tables and _has(found.tables["episodes"], "final_observation"):
        episodes = found.tables["episodes"]
        last = codecs["observation"].decode(episodes.column("final_observation"))
        for episode, value in zip(episodes.column("episode").to_pylist(), last, strict=True):
            result[episode].observations.append(value)
    for row in found.rows("frames"):
        result[row["episode"]].pictures.setdefault(row["kind"], {})[row["t"]] = picture(row["format"], row["data"])
    return result


def _has(table: pa.Table, column: str) -> bool:
    return column in table.column_names


def picture(form: str, data: bytes) -> np.ndarray:
    """A picture from its bytes and its format, `uint8[210,160,3]`."""
    dtype, _, shape = form.rstrip("]").partition("[")
    return np.frombuffer(data, dtype).reshape([int(n) for n in shape.split(",")])


def check_alone(story: Story, env: gym.Env[Any, Any], *, render_every: int = 0, numbers: bool = False) -> None:
    """Play an episode again in a plain environment from its own seed and compare everything.

    Args:
        env: a plain environment, as the recorded one was made.
        render_every: also compare renders, taken every so many steps.
        numbers: infos went through a vector environment, which makes arrays of them: only values are compared.
    """
    row = story.row
    options = decode_info(row["options"]) or None
    observation, info = env.reset(seed=row["seed"], options=options)
    assert (row["replay"], row["seed_episode"]) == ("alone", row["episode"])
    assert_infos(decode_info(row["reset_info"]), info, numbers=numbers)
    compare(story, env, observation, render_every=render_every, numbers=numbers)


def compare(
    story: Story, env: gym.Env[Any, Any], observation: Any, *, render_every: int = 0, numbers: bool = False
) -> None:
    """Compare an episode with a plain environment that has just been reset and returned `observation`."""
    row, total, ends = story.row, 0.0, (False, False)
    images = "observation" in story.pictures
    seen = story.pictures["observation"] if images else story.observations
    at = f"episode {row['episode']}"
    if story.observations or images:
        assert_same(seen[0], _typed(seen[0], observation), f"{at} t 0")
    renders = {0: env.render()} if render_every else {}
    for t, action in enumerate(story.actions):
        observation, reward, terminated, truncated, info = env.step(action)
        ends = bool(terminated), bool(truncated)
        assert_same(np.float64(story.rewards[t]), np.float64(reward), f"{at} reward {t}")
        assert story.ends[t] == ends, f"{at} t {t}"
        assert_infos(story.infos[t], info, numbers=numbers)
        if story.observations or images:
            assert_same(seen[t + 1], _typed(seen[t + 1], observation), f"{at} observation {t + 1}")
        if render_every and ((t + 1) % render_every == 0 or any(ends)):
            renders[t + 1] = env.render()
        total += float(reward)
        assert not any(ends) or t == len(story.actions) - 1, f"{at} goes on after its end"
    assert (row["length"], row["return"]) == (len(story.actions), total)
    assert (row["terminated"], row["truncated"]) == ends
    assert row["status"] == ("completed" if any(ends) else "aborted")
    if images:
        assert sorted(seen) == list(range(len(story.actions) + 1))
    if render_every:
        kept = story.pictures["render"]
        assert sorted(kept) == sorted(renders)
        for t, shown in renders.items():
            assert_same(kept[t], np.asarray(shown), f"{at} render {t}")


def _typed(found: Any, expected: Any) -> Any:
    """Some environments return Python's int for a Discrete space, whose values are int64."""
    return found.dtype.type(expected) if isinstance(found, np.generic) and type(expected) is int else expected


def assert_infos(found: dict[str, Any], expected: dict[str, Any], *, numbers: bool = False) -> None:
    """Infos have the same keys and values; a column or JSON keeps Python's numbers, not their NumPy types."""
    assert set(found) == set(map(str, expected)), f"{found} is not {expected}"
    for key, value in expected.items():
        assert _same_info(found[str(key)], value), f"info {key}: {found[str(key)]!r} is not {value!r}"


def _same_info(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return set(found) == set(expected) and all(_same_info(found[k], v) for k, v in expected.items())
    if isinstance(expected, np.ndarray):
        return np.array_equal(np.asarray(found, expected.dtype), expected, equal_nan=expected.dtype.kind == "f")
    if isinstance(expected, np.generic):
        return np.array_equal(np.asarray(found, expected.dtype), expected, equal_nan=expected.dtype.kind == "f")
    return type(found) is type(expected) and found == expected


@dataclass
class BatchRows:
    """The steps of a native vector environment, rebuilt from the rows of its sub-environments.

    Attributes:
        actions: (steps, sub-environments), 0 where a sub-environment was reset by the step.
        where: where[step][place] is the (episode, t) of the row, None where that step was a reset.
    """

    actions: np.ndarray
    where: list[list[tuple[int, int] | None]]


def batch_rows(all_stories: dict[int, Story], places: Sequence[int]) -> BatchRows:
    """Rebuild the calls of `step` that a NEXT_STEP batch got: between two episodes lies a step that only resets."""
    lines: list[list[tuple[int, int] | None]] = []
    for place in places:
        line: list[tuple[int, int] | None] = []
        for number, story in sorted((n, s) for n, s in all_stories.items() if s.row["sub_env"] == place):
            line += [None] if line else []
            line += [(number, t) for t in range(len(story.actions))]
        lines.append(line)
    steps = max(map(len, lines))
    actions = np.zeros((steps, len(places)), np.int64)
    where: list[list[tuple[int, int] | None]] = []
    for step in range(steps):
        row = [line[step] if step < len(line) else None for line in lines]
        where.append(row)
        for place, cell in enumerate(row):
            if cell is not None:
                actions[step, place] = all_stories[cell[0]].actions[cell[1]]
    return BatchRows(actions, where)


def check_batch(all_stories: dict[int, Story], places: Sequence[int], env: Any) -> None:
    """Replay a native batch from its seed and compare every row with what the batch gives."""
    mine = {n: s for n, s in all_stories.items() if s.row["sub_env"] in places}
    rows = batch_rows(mine, places)
    seed = {story.row["seed"] for story in mine.values()}
    assert len(seed) == 1, "a batch has one seed"
    assert {story.row["replay"] for story in mine.values()} == {"batch"}
    before, _ = env.reset(seed=seed.pop())
    totals: dict[int, float] = {}
    for actions, where in zip(rows.actions, rows.where, strict=True):
        before = np.array(before)
        after, rewards, terminated, truncated, infos = env.step(actions)
        assert infos == {}
        for place, cell in enumerate(where):
            if cell is None:
                continue
            number, t = cell
            story = mine[number]
            assert_same(story.observations[t], before[place], f"episode {number} observation {t}")
            assert_same(np.float64(story.rewards[t]), np.float64(rewards[place]), f"episode {number} reward {t}")
            ends = bool(terminated[place]), bool(truncated[place])
            assert story.ends[t] == ends
            totals[number] = totals.get(number, 0.0) + float(rewards[place])
            if t + 1 == len(story.actions):
                assert_same(story.observations[t + 1], after[place], f"episode {number} final observation")
                assert (story.row["return"], story.row["length"]) == (totals[number], t + 1)
                assert (story.row["terminated"], story.row["truncated"]) == ends
        before = after
