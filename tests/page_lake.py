"""A small lake that has one of everything the page shows: pictures, grids, graphs, gaps, a crash; written without Ray."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa

from rolltape.schema.columns import table_schema
from rolltape.schema.config_provenance import Origin, Resolved, leaves
from rolltape.schema.config_tree import Config
from rolltape.schema.errors import LakeNotFound
from rolltape.schema.messages import FragmentHeader, ProducerKey
from rolltape.schema.render_payload import GraphEdge, GraphNode, GraphPayload, GridItem, GridPayload, RenderPayload
from rolltape.schema.spaces import SpaceCodec
from rolltape.storage.commits import CommitLog
from rolltape.storage.frames import picture_layout, to_rows
from rolltape.storage.lake import Lake, open_lake
from rolltape.storage.run_info import write_end_info

from .fragments import TIME_0_US, Fragment, batch
from .lakes import QUICK, commit, new_run, run_id

PICTURES, GRID, GRAPH, GAPS = (run_id(number) for number in range(4))
LENGTH = 40
SHAPE = (48, 36, 3)
DEAD = {"name": socket.gethostname(), "pid": 2**30}
"""Where a run was made whose process is gone: no process has such a number."""


def picture(episode: int, t: int) -> np.ndarray:
    """The recorded picture: noise, so that a wrong pixel cannot look right."""
    return np.random.default_rng([episode, t]).integers(0, 256, SHAPE, dtype=np.uint8)


def page_lake(path: Path) -> Lake:
    """Write it, and open it with a renderer that knows the look of two of its runs."""
    _run(path, 0, "Noise-v0", frames="observation", adapter="generic", kinds=["rgb"])
    _run(path, 1, "Walk-v0", adapter="walk", kinds=["grid"])
    _run(path, 2, "Tree-v0", adapter="tree", kinds=["graph"])
    _run(path, 3, "Torn-v0", adapter="generic", kinds=[], gap=(10, 19), end=False)
    return open_lake(path, threads=2, renderer=Looks())


class Looks:
    """Stands for what draws: a grid whose agent walks, a graph whose agent goes down."""

    def pictures(self, run: Any, episode: int, kind: str | None) -> int:
        raise LakeNotFound("no pictures here")

    def picture(self, run: Any, episode: int, t: int, kind: str | None) -> np.ndarray:
        raise LakeNotFound("no pictures here")

    def payload(self, run: Any, episode: int, t: int) -> RenderPayload | None:
        if run.run_id == GRID:
            agent = GridItem(name="agent", row=0, column=t % 4, facing="right")
            cells = ((0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 2))
            return GridPayload(rows=3, columns=4, tiles=("ice", "hole navy", "goal gold"), cells=cells, items=(agent,))
        if run.run_id == GRAPH:
            nodes = tuple(GraphNode(id=n, role="agent" if i == t % 3 else "") for i, n in enumerate("abc"))
            return GraphPayload(
                nodes=nodes, edges=(GraphEdge(source="a", target="b"), GraphEdge(source="b", target="c"))
            )
        return None

    def close(self) -> None:
        return


def _run(
    path: Path,
    number: int,
    env_id: str,
    *,
    adapter: str,
    kinds: list[str],
    frames: str = "none",
    gap: tuple[int, int] | None = None,
    end: bool = True,
) -> None:
    config = Config()
    resolved = Resolved(config, {key: Origin() for key, _ in leaves(config)})
    actions = ["left", "right"]
    run = new_run(
        path,
        number,
        env_id=env_id,
        frames={"policy": frames, "layouts": {}},
        episode_stride=2,
        adapter={"name": adapter, "action_names": actions, "render": {"kinds": dict.fromkeys(kinds, 1)}},
        env={"env_id": env_id, "num_envs": 2, "autoreset": "next_step", "metadata": {"render_fps": 20}},
        settings={"values": resolved.table(), "evidence": {}},
        host=DEAD,
    )
    observation = SpaceCodec(gym.spaces.Box(-1, 1, (3,), np.float32))
    action = SpaceCodec(gym.spaces.Discrete(2))
    fields = {"action": action.field("action")}
    if frames == "none":
        fields["observation"] = observation.field("observation")
    log = CommitLog.open(run, 0, QUICK)
    steps_so_far = 0
    for episode in range(6):
        keys = {
            **{"run_id": run.run_id, "agent_id": "agent_0", "worker": 0, "incarnation": 0, "fragment": episode + 1},
            **{"sub_env": episode % 2, "episode": episode},
        }
        t = np.arange(LENGTH, dtype=np.int32)
        if gap is not None and episode == 0:
            t = t[(t < gap[0]) | (t > gap[1])]
        reward = np.where(t % 13 == 12, 5.0 + episode, 0.0)
        start = TIME_0_US + (number * 100 + episode) * 1_000_000
        seen = np.random.default_rng(episode).uniform(-1, 1, (LENGTH, 3)).astype(np.float32)[t]
        steps = keys | {
            "t": t,
            "time": start + 1000 * t.astype(np.int64),
            "action": action.encode(list((t % 2).astype(np.int64))),
            "reward": reward,
            "terminated": t == LENGTH - 1,
            "truncated": False,
        }
        if frames == "none":
            steps["observation"] = observation.encode(seen)
        ended = keys | {
            **{"env_id": env_id, "status": "completed" if episode < 5 else "aborted", "length": LENGTH},
            **{"return": float(reward.sum()), "terminated": episode < 5, "truncated": False, "seed": 2**60 + episode},
            **{"replay": "alone", "start_time": start, "end_time": start + 40_000},
        }
        batches = {
            "steps": batch(table_schema("steps", **fields), len(t), steps),
            "episodes": batch(table_schema("episodes"), 1, ended),
        }
        if frames != "none":
            shown = np.stack([picture(episode, i) for i in range(LENGTH + 1)])
            layout = picture_layout("uint8", SHAPE)
            rows = keys | {
                "t": np.arange(LENGTH + 1, dtype=np.int32),
                "kind": frames,
                "format": layout.format,
                "data": to_rows(layout, shown),
            }
            table = pa.Table.from_batches([batch(table_schema("frames"), LENGTH + 1, rows)])
            batches["frames"] = table.unify_dictionaries().combine_chunks().to_batches()[0]
        steps_so_far += len(t)
        header = FragmentHeader(ProducerKey(0, 0), episode + 1, len(t), 1, steps_so_far, episode + 1, 1, 1, 1)
        commit(log, [Fragment(header, batches)])
    if end:
        write_end_info(run, {"run_id": run.run_id, "status": "completed", "seconds": 1.5, "mean_return": 15.0})
