"""What a producer that died leaves to its successor: which episodes are lost, and how many steps.

The page says what was produced, the writer's watermark what is durable. The difference is lost, and it is said so:
open episodes and those that ended without becoming durable get a row with status `lost`, the steps a row in the ledger.

1. These rows are in the successor's first fragment. A successor that dies before that is durable leaves them, unsaid,
   to its own successor, with what it lost itself.
2. Without a page and without anything durable it never began: nothing is lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.schema.run_schema import RunSchema
from rolltape.storage import ledger
from rolltape.storage.layout import RunFolder, list_parts
from rolltape.storage.ledger import Loss
from rolltape.storage.lost_episodes import INDEX_BLOCK
from rolltape.storage.pages import LastWords, page_path, read_page
from rolltape.storage.run_info import read_run_info
from rolltape.storage.settlement import kinds_of, last_time_us, losses_of_life

from .episode_rows import REPLAYS, STATUSES, EpisodeRows


@dataclass(frozen=True, slots=True)
class Obituary:
    """What the successor of a producer has to know and to say.

    Attributes:
        key: who died.
        first_index: the episode index with which each sub-environment goes on.
        lost_steps: produced and not durable; None where the page was lost: unknown.
        durable_steps: what is durable of it.
        lost_episodes: their sub-environments, numbers and lengths (-1: unknown).
        produced_steps: produced by it; the durable ones where that is unknown.
        durable_completed: episodes that it completed and that are durable.
        unsaid: obituaries of its predecessors that did not become durable, the oldest first.
        losses: what the ledger has to say of it.
    """

    key: ProducerKey
    first_index: list[int]
    lost_steps: int | None
    durable_steps: int
    lost_episodes: list[tuple[int, int, int]]
    produced_steps: int
    durable_completed: int
    unsaid: tuple[Obituary, ...] = ()
    losses: tuple[Loss, ...] = ()

    @property
    def all(self) -> tuple[Obituary, ...]:
        """What its successor has to say: the unsaid ones and this."""
        return (*self.unsaid, self)


def write_obituary(
    folder: RunFolder,
    key: ProducerKey,
    mark: Watermark,
    offset: int,
    num_envs: int,
    stride: int,
    predecessor: Obituary | None = None,
) -> Obituary:
    """Compare a dead producer's page with what is durable of it. Everything received must be committed before.

    `predecessor` is the obituary that the dead one had to say itself; None for a first life.
    """
    durable, completed = _durable_episodes(folder, key, offset, num_envs, stride)
    unsaid = predecessor.all if predecessor is not None and mark.sequence == 0 else ()
    begun = predecessor.first_index if predecessor is not None else [0] * num_envs
    page: LastWords | None = read_page(page_path(folder.producers, key))
    kinds = kinds_of(read_run_info(folder))

    def losses(steps: int | None, episodes: int) -> tuple[Loss, ...]:
        if steps == 0 and not (episodes and kinds):
            return ()
        since, now_us = last_time_us(folder, key), time.time_ns() // 1000
        return tuple(
            losses_of_life(
                key, steps, mark, page, episodes, kinds=kinds, cause="killed", first_time_us=since, now_us=now_us
            )
        )

    if page is None and mark.sequence == 0:
        return Obituary(key, begun, 0, 0, [], 0, 0, unsaid)
    if page is None:
        # An episode of which no row is durable may have durable steps: its number is taken, too.
        used = np.maximum(durable, begun)
        first = [int((k // INDEX_BLOCK + 1) * INDEX_BLOCK) for k in used]
        return Obituary(key, first, None, mark.steps, [], mark.steps, completed, unsaid, losses(None, 0))
    lost: list[tuple[int, int, int]] = []
    for place in range(num_envs):
        newest, steps = int(page.episode_index[place]), int(page.episode_steps[place])
        for k in range(max(int(durable[place]) + 1, begun[place]), newest + 1):
            is_open = k == newest and steps >= 0
            lost.append((offset + place, offset + place + stride * k, steps if is_open else -1))
    first = [max(int(a), int(b)) + 1 for a, b in zip(page.episode_index, durable, strict=True)]
    steps = page.steps - mark.steps - _declared(folder, key)
    said = losses(steps, len(lost))
    return Obituary(key, first, steps, mark.steps, lost, page.steps, completed, unsaid, said)


def add_lost_episodes(rows: EpisodeRows, obituary: Obituary) -> None:
    """Put the lost episodes among the successor's rows."""
    lost = [episode for one in obituary.all for episode in one.lost_episodes]
    n = len(lost)
    if not n:
        return
    sub_env, episode, length = (np.array(column, np.int64) for column in zip(*lost, strict=True))
    no, now = np.zeros(n, bool), np.full(n, time.time_ns() // 1000)
    rows.extend(
        n,
        sub_env=sub_env,
        episode=episode,
        status=np.full(n, STATUSES.index("lost"), np.int8),
        length=length,
        episode_return=np.zeros(n),
        terminated=no,
        truncated=no,
        seed=np.zeros(n, np.int64),
        seed_episode=np.full(n, -1, np.int64),
        replay=np.full(n, REPLAYS.index("none"), np.int8),
        options=None,
        reset_info=None,
        start_us=now,
        end_us=now,
        final_observation=None,
    )


def ledger_batch(schema: RunSchema, obituary: Obituary, key: ProducerKey, fragment: int) -> pa.RecordBatch | None:
    """The ledger rows of each who lost something; None where nothing was lost."""
    losses = [loss for one in obituary.all for loss in one.losses]
    return ledger.ledger_batch(losses, schema.run_id, key, fragment) if losses else None


def _declared(folder: RunFolder, key: ProducerKey) -> int:
    """Steps of `key` that were declared lost before: a run that crashed was settled, and then resumed."""
    said = (loss for loss in ledger.read_losses(folder) if loss.of == key and loss.table == "steps")
    return sum(loss.rows or 0 for loss in said if loss.stage == "lost")


def _durable_episodes(
    folder: RunFolder, key: ProducerKey, offset: int, num_envs: int, stride: int
) -> tuple[np.ndarray, int]:
    """The last durable episode index of each sub-environment (-1: none), and how many `key` completed."""
    last, completed = np.full(num_envs, -1, np.int64), 0
    names = ["sub_env", "episode", "worker", "incarnation", "status"]
    for path in list_parts(folder, "episodes"):
        table = pq.read_table(path, columns=names)
        place = table["sub_env"].to_numpy() - offset
        mine = (place >= 0) & (place < num_envs)
        np.maximum.at(last, place[mine], table["episode"].to_numpy()[mine] // stride)
        own = (table["worker"].to_numpy() == key.producer) & (table["incarnation"].to_numpy() == key.incarnation)
        completed += int(np.count_nonzero(own & (table["status"].cast("string").to_numpy() == "completed")))
    return last, completed
