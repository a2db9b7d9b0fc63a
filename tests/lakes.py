"""Small lakes for tests: written by the real commit log from numbered fragments, without Ray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rolltape.schema.config import CommitConfig
from rolltape.schema.spaces import describe_space
from rolltape.storage.commits import CommitLog
from rolltape.storage.layout import RunFolder
from rolltape.storage.run_info import create_run, write_end_info

from .fragments import Fragment, Producer

QUICK = CommitConfig(durability="process")


def run_id(number: int) -> str:
    """Run ids in the order of their numbers; created a second after one another."""
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    value = (1_790_000_000_000 + 1000 * number) << 80 | number
    return "".join(digits[(value >> shift) & 31] for shift in range(125, -1, -5))


def new_run(lake: Path, number: int = 0, *, env_id: str = "Test-v0", **info: Any) -> RunFolder:
    """The folders and run.json of a run without data."""
    run = RunFolder.of(lake, run_id(number))
    spaces = {
        "observation": describe_space(gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)),
        "action": describe_space(gym.spaces.Discrete(2)),
    }
    create_run(
        run,
        {
            "run_id": run.run_id,
            "env_id": env_id,
            "spaces": spaces,
            "num_envs": 2,
            "workers": 1,
            "seed": 7,
            "episode_stride": 1000,
            "frames": {"policy": "none", "layouts": {}},
        }
        | info,
    )
    return run


def commit(log: CommitLog, fragments: Iterable[Fragment]) -> None:
    """One commit of these fragments."""
    for fragment in fragments:
        log.offer(fragment.header, fragment.batches)
    log.commit(log.take())


def record(
    lake: Path,
    number: int = 0,
    *,
    commits: int = 3,
    steps: int = 4,
    end: Mapping[str, Any] | None = None,
    env_id: str = "Test-v0",
    info: Mapping[str, Any] | None = None,
    **producer: Any,
) -> RunFolder:
    """A run of `commits` commits of one fragment with `steps` steps of each of 2 sub-environments, 3 an episode."""
    run = new_run(lake, number, env_id=env_id, **(info or {}))
    source = Producer(run_id=run.run_id, **producer)
    log = CommitLog.open(run, 0, QUICK)
    for _ in range(commits):
        commit(log, [source.fragment(steps)])
    if end is not None:
        write_end_info(run, end)
    return run
