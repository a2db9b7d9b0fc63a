"""Small lakes for tests: written by the real commit log from numbered fragments, without Ray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa

from rolltape.schema.columns import table_schema
from rolltape.schema.config import CommitConfig
from rolltape.schema.messages import FragmentHeader, ProducerKey
from rolltape.schema.spaces import SpaceCodec, describe_space
from rolltape.storage.commits import CommitLog
from rolltape.storage.frames import picture_layout, to_rows
from rolltape.storage.layout import RunFolder
from rolltape.storage.run_info import create_run, write_end_info

from .fragments import Fragment, Producer, batch

QUICK = CommitConfig(durability="process")
NOISE = np.random.default_rng(1)


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


def record_values(
    lake: Path,
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
    episodes: Iterable[tuple[list[Any], list[Any]]],
    number: int = 0,
) -> RunFolder:
    """A run of one sub-environment with one commit an episode: lists of T + 1 observations and T actions."""
    observation, action = SpaceCodec(observation_space), SpaceCodec(action_space)
    spaces = {"observation": observation.descriptor, "action": action.descriptor}
    run = new_run(lake, number, spaces=spaces, episode_stride=1)
    fields = {"observation": observation.field("observation"), "action": action.field("action")}
    log = CommitLog.open(run, 0, QUICK)
    steps_total = 0
    for episode, (seen, done) in enumerate(episodes):
        length = len(done)
        steps_total += length
        keys = {
            "run_id": run.run_id,
            "agent_id": "agent_0",
            "worker": 0,
            "incarnation": 0,
            "fragment": episode + 1,
            "sub_env": 0,
            "episode": episode,
        }
        batches = {
            "steps": batch(
                table_schema("steps", **fields),
                length,
                keys
                | {
                    "t": np.arange(length, dtype=np.int32),
                    "observation": observation.encode(seen[:-1]),
                    "action": action.encode(done),
                    "reward": 0.5,
                },
            ),
            "episodes": batch(
                table_schema("episodes", **fields),
                1,
                keys
                | {
                    "env_id": "Test-v0",
                    "status": "completed",
                    "length": length,
                    "return": length / 2,
                    "final_observation": observation.encode(seen[-1:]),
                },
            ),
        }
        key = ProducerKey(0, 0)
        header = FragmentHeader(key, episode + 1, length, 1, steps_total, episode + 1, 1, 1, 1)
        commit(log, [Fragment(header, batches)])
    return run


def pictures(*lengths: int, shape: tuple[int, ...] = (32, 24, 3)) -> dict[int, np.ndarray]:
    """Noise for episodes of so many pictures, by episode: uint8[length, *shape]."""
    return {e: NOISE.integers(0, 255, (length, *shape), dtype=np.uint8) for e, length in enumerate(lengths)}


def record_frames(
    lake: Path,
    pictures: Mapping[int, np.ndarray],
    *,
    kind: str = "observation",
    frames_a_commit: int = 1000,
    number: int = 0,
) -> RunFolder:
    """A run of pictures only: those of episode e are `pictures[e]`, (length + 1, *shape)."""
    layout = picture_layout("uint8", next(iter(pictures.values())).shape[1:])
    layouts = {kind: layout.describe()} if layout.describe() else {}
    run = new_run(lake, number, frames={"policy": kind, "layouts": layouts}, episode_stride=2)
    log = CommitLog.open(run, 0, QUICK)
    longest = max(map(len, pictures.values()))
    for sequence, first in enumerate(range(0, longest, frames_a_commit), start=1):
        pieces = []
        for episode, all_of_it in sorted(pictures.items(), key=lambda item: item[0] % 2):
            shown = all_of_it[first : first + frames_a_commit]
            t = np.arange(first, first + len(shown), dtype=np.int32)
            if len(shown):
                values = {
                    "run_id": run.run_id,
                    "agent_id": "agent_0",
                    "worker": 0,
                    "incarnation": 0,
                    "fragment": sequence,
                    "sub_env": episode % 2,
                    "episode": episode,
                    "t": t,
                    "kind": kind,
                    "format": layout.format,
                    "data": to_rows(layout, shown),
                }
                pieces.append(batch(table_schema("frames"), len(shown), values))
        frames = pa.Table.from_batches(pieces).unify_dictionaries().combine_chunks().to_batches()[0]
        commit(log, [Fragment(FragmentHeader(ProducerKey(0, 0), sequence, 0, 0, 0, 0, 1, 1, 1), {"frames": frames})])
    return run
