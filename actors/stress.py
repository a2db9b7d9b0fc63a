"""A recorded run as a load: its rows go once more through producers, hub and writer, at a chosen rate.

Rules:
1. Each recorded producer is played back by a producer of its own; players share them, one process each.
2. All players follow one clock: a row recorded s seconds after the first is due s / times seconds after the start. What
   cannot be sent then is late, not left out: nothing is skipped.
3. The new run is a recording like any other, with the rows of the old one; it says in `run.json` where they come from.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq

from rolltape.schema.config import RecordConfig
from rolltape.schema.config_resources import ResourcesConfig
from rolltape.schema.errors import ConfigError, LakeNotFound
from rolltape.schema.messages import ProducerKey
from rolltape.schema.spaces import space_from_descriptor
from rolltape.storage.part_files import part_errors
from rolltape.storage.room import check_room

from .end_summary import EndSummary
from .on_ray import cluster, launch, remote
from .player import Played, Player, PlayOrder
from .progress import RateMeter, Watcher, progress_of, watching
from .recording import Recording
from .run_description import EnvDescription
from .synthetic import ENV_ID

if TYPE_CHECKING:
    from rolltape.storage.equality import RowDifference
    from rolltape.storage.runs import Run

    from .replayed import Replayed

POLL_S: Final = 0.25
_RATE = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)(?P<unit>x|/s)?")


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast rows are sent: so many times the recorded pace, so many steps a second, or with neither unlimited."""

    times: float | None = None
    steps_per_s: float | None = None

    @classmethod
    def parse(cls, text: str) -> Rate:
        """`0.25x`, `2000/s` (or `2000`), `unlimited`. Raises ConfigError."""
        if text.strip().lower() == "unlimited":
            return cls()
        match = _RATE.fullmatch(text.strip().lower())
        number = float(match["number"]) if match else 0.0
        if match is None or number <= 0:
            raise ConfigError(
                f"rate: expected a multiple of the recorded pace such as 0.25x, steps a second such as 2000/s, or "
                f"unlimited (got {text!r})."
            )
        return cls(times=number) if match["unit"] == "x" else cls(steps_per_s=number)

    def __str__(self) -> str:
        if self.times is not None:
            return f"{self.times:g}x"
        return "unlimited" if self.steps_per_s is None else f"{self.steps_per_s:g}/s"


@dataclass(frozen=True, slots=True)
class StressReport:
    """What came of a load.

    Attributes:
        source: id of the run that was played back; of the synthetic environment, its id.
        summary: how the new run ended; lag, waits and bytes in flight are there.
        asked_per_s: steps a second that were asked for; None: unlimited.
        reached_per_s: steps a second that were sent, until the last of them.
        times: the same as a multiple of the recorded pace; None where there is none.
        late_s: how far behind its time a row was sent at most; None without a rate.
        difference: the first row that is not what was played back; None where all are the same. Of the synthetic
            environment, the first episode that does not replay.
        checked: whether that was looked for.
    """

    source: str
    summary: EndSummary
    asked_per_s: float | None
    reached_per_s: float
    times: float | None
    late_s: float | None
    difference: RowDifference | Replayed | None = None
    checked: bool = False

    def __str__(self) -> str:
        s = self.summary
        asked = "unlimited" if self.asked_per_s is None else f"{self.asked_per_s:,.0f} steps/s"
        times = "" if self.times is None else f" ({self.times:.3g} times the recorded pace)"
        late = "" if self.late_s is None else f", late {self.late_s:.2f} s at most"
        same = "" if not self.checked else f", rows {'equal' if self.difference is None else 'differ'}"
        return (
            f"{s.steps:,} steps of {self.source} into run {s.run_id}: asked {asked}, reached "
            f"{self.reached_per_s:,.0f} steps/s{times}{late}; durable after {s.lag_high_s:.2f} s at most, waited "
            f"{s.waited_s:.1f} s, in flight {s.inflight_high_bytes / 2**20:.1f} MiB at most{same}"
        )


def stress(
    run: Run,
    lake: str | Path,
    *,
    rate: Rate | str = "unlimited",
    players: int | None = None,
    check: bool = True,
    progress: bool | Watcher | None = None,
    **config: Any,
) -> StressReport:
    """Feed a recorded run through the whole pipeline once more, into another lake.

    Args:
        run: what is played back.
        lake: the folder that it is recorded into; not the lake that it lies in.
        rate: see `Rate.parse`.
        players: processes that send; None: one for each recorded producer, at most one a CPU but one.
        check: compare every row of the new run with the recorded one.
        progress: True, False, None (where stderr is a terminal), or a function that is called four times a second.
        **config: further fields of `RecordConfig` for the new run, such as `commit={"max_age_s": 0.3}`.

    Raises:
        ConfigError: a value that is not allowed, or `lake` is the run's own.
        LakeNotFound: the run has no steps.
        LakeNotWritable, DiskFull, ClusterError, RunFailed: as when recording.
    """
    rate = Rate.parse(rate) if isinstance(rate, str) else rate
    target = Path(lake).expanduser().resolve()
    if target == run.lake.path.resolve():
        raise ConfigError(f"lake: {target} holds the run that is played back; give another folder.")
    if players is not None and players < 1:
        raise ConfigError(f"players: must be at least 1 (got {players}).")
    keys, first_us, span_s, steps = _extent(run)
    pace = steps / span_s if span_s else None
    times = rate.times if rate.steps_per_s is None else rate.steps_per_s / pace if pace else None
    settings = _settings(run, config)
    check_room(target)
    cluster.ensure_ray()
    n = min(len(keys), players or max(1, (os.cpu_count() or 2) - 1))
    cluster.check_resources(n, ResourcesConfig(cpus_per_worker=0))
    observation, action = (space_from_descriptor(run.info["spaces"][name]) for name in ("observation", "action"))
    recording = Recording.open(target, _description(run, rate), observation, action, settings)
    orders = [
        PlayOrder(
            str(run.path),
            str(recording.folder.path),
            tuple(keys[place::n]),
            settings,
            recording.hub_actor,
            recording.writer,
            first_us,
            times,
        )
        for place in range(n)
    ]
    played, summary = _play(recording, orders, run.env_id or "", steps, progress)
    seconds = max(one.seconds for one in played)
    reached = sum(one.steps for one in played) / seconds if seconds else 0.0
    difference = None
    if check:
        from rolltape.storage.equality import first_difference
        from rolltape.storage.lake import open_lake

        with open_lake(target) as into:
            difference = first_difference(run, into.run(recording.run_id))
    return StressReport(
        run.run_id,
        summary,
        None if times is None or pace is None else times * pace,
        reached,
        reached / pace if pace else None,
        None if times is None else max(one.late_s for one in played),
        difference,
        check,
    )


def stress_synthetic(
    lake: str | Path,
    *,
    rate: Rate | str = "unlimited",
    num_envs: int = 8,
    num_workers: int | None = None,
    steps: int = 100_000,
    env_kwargs: dict[str, Any] | None = None,
    check: bool = True,
    progress: bool | Watcher | None = None,
    **config: Any,
) -> StressReport:
    """Record the synthetic environment (`rolltape.actors.synthetic`) at a chosen rate.

    Args:
        lake: the folder that it is recorded into.
        rate: steps a second of all sub-environments together, or unlimited.
        num_envs, num_workers: as a Fleet has them.
        steps: how many.
        env_kwargs: sizes, see `Synthetic`.
        check: replay every episode and compare.
        progress, config: as for `stress`.

    Raises:
        ConfigError: a value that is not allowed; a multiple of the recorded pace, which there is none of.
        LakeNotWritable, DiskFull, ClusterError, RunFailed: as when recording.
    """
    from .fleet import Fleet
    from .replay import replay

    rate = Rate.parse(rate) if isinstance(rate, str) else rate
    if rate.times is not None:
        raise ConfigError(f"rate: the synthetic environment has no recorded pace; give steps a second (got {rate}).")
    kwargs = dict(env_kwargs or {})
    if rate.steps_per_s is not None:
        kwargs["step_rate"] = rate.steps_per_s / num_envs
    fleet = Fleet(ENV_ID, num_envs, lake, num_workers=num_workers, env_kwargs=kwargs, **config)
    with fleet:
        run = fleet.collect(steps=steps, progress=progress)
        summary = fleet.close()
    difference = replay(run).divergence if check else None
    _, _, seconds, stepped = _extent(run)
    reached = stepped / seconds if seconds else 0.0
    return StressReport(ENV_ID, summary, rate.steps_per_s, reached, None, None, difference, check)


def _play(
    recording: Recording, orders: list[PlayOrder], title: str, steps: int, progress: bool | Watcher | None
) -> tuple[list[Played], EndSummary]:
    actors: list[Any] = []
    try:
        actors += [launch.start_env_worker(Player, order, cpus=0) for order in orders]
        for call in [actor.ready.remote() for actor in actors]:
            remote.result(call)
        recording.begin()
        before, meter, played = recording.counts(), RateMeter(), []
        calls = [actor.play.remote(time.time()) for actor in actors]
        with watching(progress, title) as show:
            while calls:
                for call in remote.ready(calls, POLL_S):
                    calls.remove(call)
                    played.append(remote.result(call))
                counts = recording.counts()
                show(progress_of(counts, before, steps, None, meter.rate(counts.steps), 0, 0))
        summary = recording.finish()
    except BaseException as error:
        if recording.summary is None:
            recording.abandon(str(error) or type(error).__name__)
        raise
    finally:
        for actor in actors:
            launch.kill(actor)
    return played, summary


def _extent(run: Run) -> tuple[list[ProducerKey], int, float, int]:
    """The producers of a run, the UTC microseconds of its first step, seconds until its last, and its steps."""
    keys: set[ProducerKey] = set()
    first, last, steps = None, None, 0
    for table in ("steps", "episodes", "ledger"):
        for part in run.parts(table):
            names = ["worker", "incarnation", *(["time"] if table == "steps" else [])]
            with part_errors(str(part)):
                rows = pq.read_table(part, columns=names)
            found = rows.group_by(["worker", "incarnation"]).aggregate([])
            keys |= {ProducerKey(*key) for key in zip(*(found[n].to_pylist() for n in names[:2]), strict=True)}
            if table == "steps" and len(rows):
                times = rows["time"].cast("int64").to_numpy()
                first = int(times.min()) if first is None else min(first, int(times.min()))
                last = int(times.max()) if last is None else max(last, int(times.max()))
                steps += len(rows)
    if first is None or last is None:
        raise LakeNotFound(f"Run {run.run_id} has no steps: there is nothing to play back.")
    return sorted(keys), first, (last - first) / 1e6, steps


def _settings(run: Run, config: dict[str, Any]) -> RecordConfig:
    frames = run.info.get("frames") or {}
    kept = {"policy": frames.get("policy", "auto"), "every": frames.get("every", 1)}
    return RecordConfig.of(frames=kept, seed=run.info.get("seed", 0), **config)


def _description(run: Run, rate: Rate) -> EnvDescription:
    known = {name: value for name, value in run.info["env"].items() if name in EnvDescription.__dataclass_fields__}
    source = {"run_id": run.run_id, "lake": str(run.lake.path), "rate": str(rate)}
    return EnvDescription(**{**known, "metadata": {**(known.get("metadata") or {}), "stress": source}})
