"""What must hold of every recording, whatever happened while it was made."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .readback import Found


def check_recording(found: Found, *, num_envs: int | None = None) -> None:
    """No row twice, no hole in an episode, nothing that contradicts itself.

    `num_envs` None: a native batch, whose episodes share one seed.
    """
    fragments = Counter(found.fragments)
    assert not [f for f, n in fragments.items() if n > 1], "fragments committed twice"
    _check_watermarks(found, set(fragments))
    _check_steps(found)
    _check_seeds(found, unique=num_envs is not None)


def check_end(found: Found, summary: Any) -> dict[str, Any]:
    """Produced is durable plus declared lost, in `end.json` and in the pages; returns `end.json`."""
    end = json.loads((found.run / "end.json").read_text())
    steps = len(found.column("steps", "t"))
    assert end["steps"] == steps == summary.steps
    assert end["episodes"] == len(found.column("episodes", "episode")) == summary.episodes
    produced = pages(found.run)
    lost = 0
    for key, mark in end["reconciled"].items():
        assert mark["produced"] == mark["durable"] + mark["lost"], (key, mark)
        producer, incarnation = map(int, key[1:].split("."))
        assert mark["produced"] == produced[producer, incarnation]["steps"]
        assert mark["durable"] == found.watermarks.get((producer, incarnation), {"steps": 0})["steps"]
        lost += mark["lost"]
    assert sum(page["steps"] for page in produced.values()) == steps + lost
    assert end["lost_steps"] == lost
    in_ledger = [n for n, name in zip(found.column("ledger", "rows"), found.column("ledger", "table_name"), strict=True)
                 if name == "steps"]  # fmt: skip
    assert sum(in_ledger) == lost, "the ledger is not the sum of what was lost"
    statuses = Counter(found.column("episodes", "status"))
    assert end["lost_episodes"] == statuses["lost"]
    return end


def pages(run: Path) -> dict[tuple[int, int], dict[str, int]]:
    """What each producer's page says: sequence, steps, episodes."""
    result = {}
    for path in (run / "producers").glob("p*.page"):
        words = np.fromfile(path, dtype="<i8")
        result[int(words[1]), int(words[2])] = dict(
            zip(("sequence", "steps", "episodes"), map(int, words[4:7]), strict=True)
        )
    return result


def _check_watermarks(found: Found, fragments: set[tuple[int, int, int]]) -> None:
    """Fragments of each key are 1 to its watermark, without holes, and rows are what the watermarks say."""
    by_key: dict[tuple[int, int], set[int]] = {}
    for producer, incarnation, sequence in fragments:
        by_key.setdefault((producer, incarnation), set()).add(sequence)
    assert by_key.keys() == found.watermarks.keys()
    for key, sequences in by_key.items():
        assert sequences == set(range(1, found.watermarks[key]["sequence"] + 1)), f"p{key[0]}.{key[1]} has holes"
    for table in ("steps", "episodes"):
        rows = Counter(zip(found.column(table, "worker"), found.column(table, "incarnation"), strict=True))
        assert rows == Counter({k: mark[table] for k, mark in found.watermarks.items() if mark[table]}), table


def _check_steps(found: Found) -> None:
    """t runs from 0 without holes; a completed episode has all its steps, and says what they say."""
    if "steps" not in found.tables:
        return
    names = ("sub_env", "episode", "t", "reward", "terminated", "truncated")
    sub_env, episode, t, reward, terminated, truncated = (found.tables["steps"].column(n).to_numpy() for n in names)
    order = np.lexsort((t, episode))
    episode, t, reward, sub_env = episode[order], t[order], reward[order], sub_env[order]
    ends = (terminated | truncated)[order]
    first = np.flatnonzero(np.r_[True, episode[1:] != episode[:-1]])
    length = np.diff(np.r_[first, len(episode)])
    assert (t == np.arange(len(t)) - np.repeat(first, length)).all(), "a step is missing or there twice"
    steps = {int(e): (int(f), int(n)) for e, f, n in zip(episode[first], first, length, strict=True)}
    rows = found.rows("episodes")
    known = Counter(row["episode"] for row in rows)
    assert not [e for e, n in known.items() if n > 1], "an episode has two rows"
    end = found.run / "end.json"
    ended_well = end.exists() and json.loads(end.read_text())["status"] != "failed"
    assert set(steps) <= set(known) or not ended_well, "steps without an episode's row"
    for row in rows:
        at, n = steps.get(row["episode"], (0, 0))
        assert (sub_env[at : at + n] == row["sub_env"]).all()
        if row["status"] == "lost":
            assert row["length"] is None or row["length"] >= n
            assert not ends[at : at + n].any(), row
            assert row["return"] is None
            continue
        assert n == row["length"], row
        assert row["terminated"] == (n > 0 and bool(terminated[order][at + n - 1])), row
        assert row["truncated"] == (n > 0 and bool(truncated[order][at + n - 1])), row
        assert (row["status"] == "completed") == (row["terminated"] or row["truncated"]), row
        assert not ends[at : max(at, at + n - 1)].any(), "steps after an episode's end"
        total = 0.0
        for value in reward[at : at + n].tolist():
            total += value
        assert row["return"] == total, row


def _check_seeds(found: Found, *, unique: bool) -> None:
    rows = [row for row in found.rows("episodes") if row["seed"] is not None]
    if unique:
        seeds = Counter(row["seed"] for row in rows if row["seed_episode"] == row["episode"])
        assert not [s for s, n in seeds.items() if n > 1], "a seed was used twice"
