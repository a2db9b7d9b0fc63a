"""Settling the accounts of a run that ended without doing so: its losses are declared, and its end is written.

Rules:
1. Only a run that nobody writes any more is settled: a new writer of slot 0 fences whatever might still wake up.
2. What a page counts beyond the watermark, and nobody declared, is lost. Where the page is lost, or the machine was
   started again since (a page is not synced), the number is unknown.
3. An episode that a page began and that has no row gets one with status `lost`, unless rows of episodes are gone: then
   nobody can say which these were.
4. Rows and episodes become durable in one commit, by the rules of every other; twice is once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import pyarrow as pa

from rolltape.schema.config import CommitConfig
from rolltape.schema.errors import StorageError
from rolltape.schema.messages import FragmentHeader, ProducerKey, Watermark

from .commits import CommitLog
from .files import FileOps
from .layout import RunFolder, list_parts
from .ledger import OURS, Account, Loss, accounts, ledger_batch, read_losses, read_pages
from .lost_episodes import LostEpisode, lost_episodes, lost_rows
from .markers import merged
from .pages import LastWords
from .part_files import open_part
from .run_info import durability_of
from .summaries import is_alive, newest_markers


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What is still to be declared of a run, and its accounts as they are before."""

    losses: tuple[Loss, ...] = ()
    episodes: tuple[LostEpisode, ...] = ()
    accounts: tuple[Account, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.losses or self.episodes)


def outstanding(
    run: RunFolder,
    info: Mapping[str, Any],
    watermarks: Mapping[ProducerKey, Watermark],
    *,
    cause: str,
    produced: Mapping[ProducerKey, int] | None = None,
    only: Collection[ProducerKey] | None = None,
    now_us: int | None = None,
) -> Outstanding:
    """What nobody declared yet. Everything received must be committed, and nobody may produce any more.

    Args:
        run: the run.
        info: the content of its `run.json`.
        watermarks: what is durable.
        cause: the cause of these losses.
        produced: what the end of the run noted as produced, for lives whose page is not there any more.
        only: these lives, the others are not over; None: all.
        now_us: UTC time of the declaration in microseconds; None: now.

    Raises CorruptRecording where a part of the ledger or of the episodes cannot be read.
    """
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    pages = read_pages(run)
    declared = read_losses(run)
    books = tuple(accounts(pages, watermarks, declared, produced))
    unsynced = _started_since(watermarks, run)
    losses: list[Loss] = []
    episodes_gone = any(loss.table == "episodes" and loss.stage == "gone" for loss in declared)
    episodes = [] if episodes_gone else lost_episodes(run, info, pages, watermarks)
    if only is not None:
        episodes = [episode for episode in episodes if episode.of in only]
    for account in books:
        if only is not None and account.key not in only:
            continue
        missing = account.undeclared
        mine = sum(1 for episode in episodes if episode.of == account.key)
        if missing == 0 and not mine:
            continue
        if missing is not None and unsynced and account.key in pages:
            missing = None
        losses += losses_of_life(
            account.key,
            missing,
            watermarks.get(account.key, Watermark()),
            pages.get(account.key),
            mine,
            kinds=kinds_of(info),
            cause=cause,
            first_time_us=last_time_us(run, account.key),
            now_us=now_us,
        )
    return Outstanding(tuple(losses), tuple(episodes), books)


def losses_of_life(
    key: ProducerKey,
    steps: int | None,
    mark: Watermark,
    page: LastWords | None,
    episodes: int,
    *,
    kinds: int,
    cause: str,
    first_time_us: int | None,
    now_us: int,
) -> list[Loss]:
    """What is to be declared of one life: its steps, and the pictures that went with them.

    Args:
        key: whose.
        steps: produced and not durable; None: unknown.
        mark: what is durable.
        page: its page; None: lost.
        episodes: how many of its episodes are lost.
        kinds: how many pictures a step may have.
        cause: the cause.
        first_time_us, now_us: between which the rows were made.
    """
    if steps == 0 and not (episodes and kinds):
        return []
    last = page.sequence if page is not None and page.sequence > mark.sequence else None
    common: dict[str, Any] = {
        "cause": cause,
        "of": key,
        "first_fragment": mark.sequence + 1,
        "last_fragment": last,
        "first_step": mark.steps,
        "last_step": None if steps is None else mark.steps + steps,
        "first_time_us": first_time_us,
        "last_time_us": now_us,
        "declared_us": now_us,
    }
    found = [] if steps == 0 else [Loss("steps", rows=steps, **common)]
    if kinds:  # an episode has one picture more than steps
        found.append(Loss("frames", at_most=None if steps is None else kinds * (steps + episodes), **common))
    return found


def kinds_of(info: Mapping[str, Any]) -> int:
    """How many pictures a step of the run may have."""
    frames = info.get("frames") or {}
    policy = frames.get("policy") if isinstance(frames, Mapping) else frames
    if policy == "observation":
        return 1
    return 1 + bool((frames.get("layouts") or {}).get("observation")) if policy == "render" else 0


def settlement_batches(
    run: RunFolder, info: Mapping[str, Any], due: Outstanding, key: ProducerKey, fragment: int, now_us: int
) -> dict[str, pa.RecordBatch]:
    """What `due` says as the batches of one fragment of `key`."""
    batches = {}
    if due.losses:
        batches["ledger"] = ledger_batch(due.losses, run.run_id, key, fragment)
    if due.episodes:
        batches["episodes"] = lost_rows(run, info, due.episodes, key, fragment, now_us)
    return batches


def settlement_header(key: ProducerKey, batches: Mapping[str, pa.RecordBatch], now_ns: int) -> FragmentHeader:
    """The header of the only fragment of a key that declares losses."""
    rows = batches["episodes"].num_rows if "episodes" in batches else 0
    nbytes = sum(batch.get_total_buffer_size() for batch in batches.values())
    return FragmentHeader(key, 1, 0, rows, 0, rows, nbytes, now_ns, now_ns)


def next_key(watermarks: Mapping[ProducerKey, Watermark]) -> ProducerKey:
    """The key under which the next losses are declared: each declaration is a life of its own."""
    lives = [key.incarnation for key in watermarks if key.producer == OURS]
    return ProducerKey(OURS, max(lives, default=-1) + 1)


def declare(
    run: RunFolder,
    info: Mapping[str, Any],
    due: Outstanding,
    *,
    files: FileOps | None = None,
    wall_ns: Callable[[], int] = time.time_ns,
) -> None:
    """Make `due` durable in one commit of a new writer of slot 0, which fences every one before it.

    Raises LakeNotWritable, DiskFull, StorageError.
    """
    config = CommitConfig(durability=durability_of(info))
    log = CommitLog.open(run, 0, config, files=files, wall_ns=wall_ns)
    try:
        key, now_ns = next_key(log.watermarks), wall_ns()
        batches = settlement_batches(run, info, due, key, 1, now_ns // 1000)
        log.offer(settlement_header(key, batches, now_ns), batches)
        log.commit(log.take())
    finally:
        log.close()


def is_settleable(run: RunFolder, info: Mapping[str, Any], end: Mapping[str, Any] | None) -> bool:
    """Whether the run is over, so that its losses are what they are."""
    return end is not None or not is_alive(run, info)


def durable_of(run: RunFolder) -> dict[ProducerKey, Watermark]:
    """What is durable, as the newest readable markers say."""
    return merged(marker.watermarks for marker in newest_markers(run))


def last_time_us(run: RunFolder, key: ProducerKey) -> int | None:
    """UTC microseconds of the newest durable step of `key`; None where there is none or it cannot be read."""
    for path in reversed(list_parts(run, "steps")):
        try:
            with open_part(str(path)) as file:
                table = file.read(columns=["worker", "incarnation", "time"])
        except (StorageError, OSError, pa.ArrowException):
            continue  # compacted, or damaged: an older time is a bound as well
        mine = (table["worker"].to_numpy() == key.producer) & (table["incarnation"].to_numpy() == key.incarnation)
        times = table["time"].cast(pa.int64()).filter(pa.array(mine)).drop_null()  # version 0 may say no times
        if len(times):
            return int(times.to_numpy().max())
    return None


def _started_since(watermarks: Mapping[ProducerKey, Watermark], run: RunFolder) -> bool:
    """Whether this machine was started after the run's last commit: its pages may be older than what happened."""
    newest = max((marker.time_ns for marker in newest_markers(run)), default=0)
    return bool(watermarks) and newest > 0 and psutil.boot_time() > newest / 1e9
