"""Replay of native vector environments: one random state for all sub-environments, so that only whole batches replay.

Rules:
1. A batch is stepped swiftly first. Only where that does not give the same is it stepped carefully, twice.
2. Where the two differ from each other in an info key alone, that is left out and named: a clock.
3. What else they differ in is not deterministic; where they agree, it diverged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from rolltape.schema.space_codec import SpaceCodec
from rolltape.storage.run_info import leaves_out

from .batch_layout import is_usual, since_seeded
from .careful_batch import CarefulBatch, Found
from .recorded_batch import RecordedBatch
from .recorded_rows import episodes_in_order
from .remaking import vector_wrappers
from .replayed import Replayed
from .stepping import EnvRecipe
from .swift_batch import SwiftBatch

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

COLUMNS: Final = (
    "sub_env", "episode", "length", "status", "seed", "seed_episode", "replay", "options", "reset_info", "start_time",
    "worker", "incarnation",
)  # fmt: skip


def replay_batches(
    run: Run, wanted: list[dict[str, Any]], recipe: EnvRecipe, uncompared: set[str]
) -> Iterator[list[Replayed]]:
    """Replay the batches to which the wanted episodes belong; the verdicts on the wanted ones.

    `uncompared` gets the info keys that no two replays repeat.
    """
    for worker, incarnation in dict.fromkeys((row["worker"], row["incarnation"]) for row in wanted):
        mine = {r["episode"] for r in wanted if (r["worker"], r["incarnation"]) == (worker, incarnation)}
        rows = episodes_of_producer(run, worker, incarnation)
        found = _replay(run, worker, incarnation, rows, recipe, uncompared)
        yield [result for result in found if result.episode in mine]


def episodes_of_producer(run: Run, worker: int, incarnation: int) -> list[dict[str, Any]]:
    """The rows of a producer's episodes, but for lost ones; `began` is their `start_time` in µs."""
    found = episodes_in_order(run, COLUMNS)
    found = found.append_column("began", found["start_time"].cast(pa.int64()))
    mine = (pc.field("worker") == worker) & (pc.field("incarnation") == incarnation) & (pc.field("status") != "lost")
    return found.filter(mine).drop_columns(["start_time", "worker", "incarnation"]).to_pylist()


def _replay(
    run: Run, worker: int, incarnation: int, rows: list[dict[str, Any]], recipe: EnvRecipe, uncompared: set[str]
) -> Iterator[Replayed]:
    reason = _unreplayable(run)
    kept = reason or (rows if is_usual(rows, run.info["env"]["autoreset"]) else since_seeded(rows))
    batch = kept if isinstance(kept, str) else RecordedBatch(run, worker, incarnation, kept, recipe, uncompared)
    reason = batch if isinstance(batch, str) else batch.reason
    if isinstance(batch, str) or isinstance(kept, str) or reason:
        for row in rows:
            yield Replayed(row["episode"], "not replayable", row["status"], reason=reason)
        return
    bad, steady = _differences(batch, uncompared, bool(vector_wrappers(run)))
    for row in kept:
        episode, status, length = row["episode"], row["status"], row["length"]
        first = bad.get(row["sub_env"] - batch.offset)
        if first is None or episode < first[0]:
            yield Replayed(episode, "exact", status, length)
        elif episode > first[0]:
            yield Replayed(episode, "not replayable", status, reason="an episode before it in its batch differs")
        elif steady:
            yield Replayed(episode, "diverged", status, first[1].t + 1, "", first[1])
        else:
            reason = "two replays with the same seed and actions differ: the environment is not deterministic"
            yield Replayed(episode, "nondeterministic", status, first[1].t + 1, reason, first[1])


def _differences(batch: RecordedBatch, uncompared: set[str], wrapped: bool) -> tuple[Found, bool]:
    """What differs, and whether a second replay says the same. `wrapped`: recorded above vector wrappers."""
    swift, careful = SwiftBatch(batch), CarefulBatch(batch)
    while True:
        if swift.is_same() or _is_same_by_the_caller(batch, swift):
            return {}, True
        bad, again = careful.step_through(), careful.step_through()
        brought = {d.field for _, d in bad.values() if wrapped and d.replayed is None}
        unsteady = set() if _first(bad) == _first(again) else {d.field for f in (bad, again) for _, d in f.values()}
        keys = {name.partition("info.")[2] for name in brought | unsteady} - {"", *uncompared}
        if not keys:
            return bad, not unsteady
        uncompared |= keys


def _is_same_by_the_caller(batch: RecordedBatch, swift: SwiftBatch) -> bool:
    """Whether it is the same with resets by the caller where all episodes ended in one step; laid out so then."""
    layout, before = batch.laid_out_by_the_caller(), batch.layout
    if layout is None:
        return False
    batch.take(layout)
    if swift.is_same():
        return True
    batch.take(before)
    return False


def _first(bad: Found) -> list[tuple[int, int, str]]:
    return [(place, episode, str(divergence)) for place, (episode, divergence) in sorted(bad.items())]


def _unreplayable(run: Run) -> str:
    if leaves_out(run.info):
        return "steps of its batch were left out on purpose when it was recorded (keep_last or sample)"
    if not all(SpaceCodec(space).is_fixed for space in run.info["spaces"].values()):
        return "its batch has spaces of no fixed size"
    return ""
