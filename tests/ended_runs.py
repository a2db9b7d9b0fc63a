"""Runs that have ended: well, or because their driver died."""

from __future__ import annotations

import socket
from pathlib import Path

from rolltape.actors.page import EPISODES, SEQUENCE, STEPS, ProducerPage, page_path
from rolltape.storage.commits import CommitLog
from rolltape.storage.layout import RunFolder
from rolltape.storage.run_info import write_end_info
from tests.fragments import Producer
from tests.lakes import QUICK, commit, new_run

NOBODY = 1 << 30
"""A process number that no process has."""


def crashed(lake: Path, *, lost_steps: int = 2, frames: str = "none", page: bool = True) -> RunFolder:
    """A run of 3 fragments of 4 steps of each of 2 sub-environments; each took `lost_steps` more, unsent."""
    host = {"name": socket.gethostname(), "pid": NOBODY}
    run = new_run(lake, frames={"policy": frames, "layouts": {}}, env={"kind": "fleet"}, host=host)
    source = Producer(run_id=run.run_id)
    log = CommitLog.open(run, 0, QUICK)
    for _ in range(3):
        commit(log, [source.fragment(4)])
    if page:
        write_page(run, source, lost_steps)
    return run


def write_page(run: RunFolder, source: Producer, lost_steps: int) -> None:
    """What a producer counted that took `lost_steps` more steps of each sub-environment than it sent."""
    words = ProducerPage(page_path(run.producers, source.key), source.key, source.num_envs)
    taken = source.steps // source.num_envs + lost_steps
    words.words[SEQUENCE], words.words[EPISODES] = source.sequence, source.episodes
    words.words[STEPS] = taken * source.num_envs
    words.episode_index[:] = (taken - 1) // source.length
    words.episode_steps[:] = (taken - 1) % source.length + 1 if taken % source.length else -1


def ended(lake: Path, number: int = 0, *, commits: int = 3) -> RunFolder:
    """A run that ended well, whole."""
    run = new_run(lake, number, host={"name": socket.gethostname(), "pid": NOBODY})
    source = Producer(run_id=run.run_id)
    log = CommitLog.open(run, 0, QUICK)
    for _ in range(commits):
        commit(log, [source.fragment(3)])
    log.close()
    write_page(run, source, 0)
    counts = {"produced": source.steps, "durable": source.steps, "lost": 0}
    end = {"status": "completed", "steps": source.steps, "episodes": source.episodes, "reconciled": {"p0.0": counts}}
    write_end_info(run, end)
    return run
