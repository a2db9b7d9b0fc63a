"""`rolltape tune`: what a few sizes of fragments and commits cost on this machine with one environment, measured by
recordings that are thrown away.

Rules:
1. Every candidate is recorded by a fleet of one worker, for about as long, several times, in turns: what else the
   machine does at a moment meets all of them.
2. Cost is processor time a step, of the worker and of the writer, less that of stepping alone; the best round counts.
   Wall time is told and not chosen by: a busy machine changes it most.
3. A candidate is taken when it costs `WORTH` less than what is configured, producers hardly stand still, and its
   commits take no longer than `FLUSH_S`. Otherwise what is configured stays, and the evidence says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from rolltape.schema.config_base import MIB
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError
from rolltape.storage.configuration import configured_by

from .fleet import Fleet
from .policies import load_policy
from .stepping import EnvRecipe, SubEnvironments, make_sub_environments, spaces_of, uses_native

WORTH: Final = 0.05
FLUSH_S: Final = 2.0
WAITS: Final = 0.05
FRAGMENTS: Final = (4 * MIB, 8 * MIB, 32 * MIB)
COMMITS: Final = (32 * MIB, 128 * MIB)
LEAST_SAMPLES: Final = 3
MOST_TIMES: Final = 4
"""How often a recording goes on where there are too few samples."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes at which fragments are closed and commits are made."""

    fragment: int
    commit: int


@dataclass(frozen=True, slots=True)
class Tried:
    """One recording with some sizes.

    Attributes:
        steps_per_s: by wall time, with the final drain.
        worker_us, writer_us: microseconds of processor time a step.
        queue_depth: most fragments of the worker that were not durable.
        flush_s, flush_high_s: median and greatest time of a commit.
        waited: share of the time that the worker stood still for room.
        bytes_per_step: on disk.
        memory_mib: most resident memory of the worker.
    """

    sizes: Sizes
    steps: int
    steps_per_s: float
    worker_us: float
    writer_us: float
    queue_depth: int
    flush_s: float
    flush_high_s: float
    waited: float
    bytes_per_step: float
    memory_mib: int

    @property
    def cost_us(self) -> float:
        """Processor time a step, the stepping included."""
        return self.worker_us + self.writer_us

    @property
    def healthy(self) -> bool:
        """Whether rule 3 lets it be taken."""
        return self.waited <= WAITS and self.flush_s <= FLUSH_S


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came out.

    Attributes:
        bare_us: microseconds of processor time that a step costs without recording.
        bare_steps_per_s: by wall time.
        tried: the best round of each candidate; what is configured is the first.
        best: the one that is taken.
    """

    env_id: str
    num_envs: int
    bare_us: float
    bare_steps_per_s: float
    tried: tuple[Tried, ...]
    best: Tried

    @property
    def configured(self) -> Tried:
        """The candidate that is configured."""
        return self.tried[0]

    @property
    def changes(self) -> bool:
        """Whether another candidate than the configured one is taken."""
        return self.best.sizes != self.configured.sizes

    @property
    def why(self) -> str:
        """One sentence."""
        now, best = self.configured, self.best
        if not self.changes:
            return (
                f"what is configured costs {_us(now.cost_us)} us of processor time a step, {_us(self.bare_us)} of them "
                f"without recording; no other size saved {WORTH:.0%}"
            )
        return (
            f"{_us(best.cost_us)} us of processor time a step against {_us(now.cost_us)} with what was configured, "
            f"{_us(self.bare_us)} of them without recording"
        )

    def settings(self) -> dict[str, Any]:
        """The settings of the preset, nested as the tree is; empty where nothing is better."""
        if not self.changes:
            return {}
        sizes = self.best.sizes
        return {"durable": {"fragment": {"max_bytes": sizes.fragment}, "commit": {"max_bytes": sizes.commit}}}

    def rows(self) -> Iterator[dict[str, Any]]:
        """The candidates as plain values."""
        for one in self.tried:
            row = asdict(one)
            sizes = row.pop("sizes")
            yield {
                "fragment_bytes": sizes["fragment"],
                "commit_bytes": sizes["commit"],
                **{name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()},
            }


def tune(
    env: str,
    settings: Resolved,
    folder: Path,
    *,
    num_envs: int,
    seconds: float,
    rounds: int,
    env_kwargs: dict[str, Any] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Measure; takes about `candidates x rounds x (seconds + 5 s)`.

    Args:
        env: as `Fleet` takes it.
        settings: what is configured now.
        folder: an empty folder on the disk that recordings go to.
        num_envs: sub-environments of the one worker.
        seconds: about how long each recording steps; the samples come once a second.
        rounds: how often each candidate is recorded.
        tell: is told what is done.

    Raises:
        ConfigError: too short to be measured, and what `Fleet` raises.
    """
    durable = settings.config.durable
    now = Sizes(durable.fragment.max_bytes, durable.commit.max_bytes)
    kwargs = dict(env_kwargs or {})
    if durable.frames.policy == "render":
        kwargs.setdefault("render_mode", "rgb_array")
    sub = bare_environments(env, kwargs, num_envs)  # refused before anything is announced
    tell(f"stepping {num_envs} {env} without recording")
    bare_us, bare_rate = step_bare(sub, seconds)
    steps = max(num_envs * 10, int(bare_rate * seconds * 0.7))
    found: dict[Sizes, list[Tried]] = {sizes: [] for sizes in candidates(now)}
    for number in range(rounds):
        order = list(found) if number % 2 == 0 else list(found)[::-1]
        for sizes in order:
            tell(
                f"round {number + 1} of {rounds}: fragments of {sizes.fragment / MIB:g} MiB, commits of "
                f"{sizes.commit / MIB:g} MiB"
            )
            lake = folder / f"{number}-{sizes.fragment}-{sizes.commit}"
            found[sizes].append(_record(env, kwargs, settings, sizes, num_envs, steps, lake))
    tried = [best_round(rows) for rows in found.values()]
    return Tuned(env, num_envs, bare_us, bare_rate, tuple(tried), chosen(tried))


def candidates(now: Sizes) -> list[Sizes]:
    """What is tried: what is configured first, then the others; no fragment larger than a commit."""
    others = [Sizes(fragment, commit) for fragment in FRAGMENTS for commit in COMMITS if fragment <= commit]
    return [now, *(sizes for sizes in others if sizes != now)]


def best_round(rows: Sequence[Tried]) -> Tried:
    """The round of a candidate that cost least, with the worst queue and flush latency of all rounds."""
    best = min(rows, key=lambda row: row.cost_us)
    return replace(
        best,
        queue_depth=max(row.queue_depth for row in rows),
        flush_high_s=max(row.flush_high_s for row in rows),
    )


def chosen(tried: Sequence[Tried]) -> Tried:
    """The candidate that rule 3 takes; the first is what is configured."""
    now = tried[0]
    healthy = [one for one in tried if one.healthy]
    if not healthy:
        return now
    best = min(healthy, key=lambda one: one.cost_us)
    return best if not now.healthy or best.cost_us < (1 - WORTH) * now.cost_us else now


def bare_environments(env: str, kwargs: dict[str, Any], num_envs: int) -> SubEnvironments:
    """What is stepped without recording. Raises as `Fleet` where it cannot be made."""
    recipe = EnvRecipe(env, kwargs)
    _, _, probe = spaces_of(recipe)
    native = uses_native(recipe, probe)
    probe.close()
    return make_sub_environments(recipe, native, num_envs, run_seed=0, sub_env_offset=0, first_index=[0] * num_envs)


def step_bare(sub: SubEnvironments, seconds: float) -> tuple[float, float]:
    """Microseconds of processor time a step, and steps a second, with random actions and no recording; closes `sub`."""
    num_envs = sub.env.num_envs
    act = load_policy("random", sub.env.single_observation_space, sub.env.single_action_space, num_envs, 0)
    observations, _ = sub.env.reset(seed=sub.batch_seed)
    steps, cpu_s, at = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - at < seconds:
        observations, *_ = sub.env.step(act(observations))
        steps += num_envs
    cpu_s, passed = time.process_time() - cpu_s, time.perf_counter() - at
    sub.env.close()
    return cpu_s / steps * 1e6, steps / passed


def _record(
    env: str, kwargs: dict[str, Any], settings: Resolved, sizes: Sizes, num_envs: int, steps: int, lake: Path
) -> Tried:
    durable = settings.config.durable
    resolved = configured_by(
        "tune",
        env,
        lake=lake,
        keys={"fleet.num_envs": num_envs, "fleet.num_workers": 1},
        preset="none",
        **durable.model_dump(exclude={"fragment", "commit", "seed"}),
        fragment=durable.fragment.model_dump() | {"max_bytes": sizes.fragment},
        commit=durable.commit.model_dump() | {"max_bytes": sizes.commit},
        logging={"level": "warning", "record_level": "warning"},
    )
    with Fleet(env, env_kwargs=kwargs, settings=resolved) as fleet:
        began = time.perf_counter()
        for _ in range(MOST_TIMES):
            run = fleet.collect(steps=steps, progress=False)
            if min(map(len, _stepping(run.metrics().to_dicts()))) >= LEAST_SAMPLES:
                break  # on a machine that is busy the samples come late
        seconds = time.perf_counter() - began
    summary = fleet.summary
    assert summary is not None  # it has been closed
    return tried_of(sizes, run.metrics().to_dicts(), summary.steps, seconds, summary.waited_s, summary.bytes_per_step)


def tried_of(
    sizes: Sizes, samples: Sequence[dict[str, Any]], steps: int, seconds: float, waited_s: float, bytes_per_step: float
) -> Tried:
    """What the samples of a recording say. Raises ConfigError where there are too few."""
    workers, writers = _stepping(samples)
    if min(len(workers), len(writers)) < LEAST_SAMPLES:
        raise ConfigError(
            f"--seconds: the recording was over after {len(workers)} samples of its worker and {len(writers)} of its "
            f"writer, {LEAST_SAMPLES} of each are needed; measure longer."
        )
    flushes = [row["flush_s"] for row in writers if row["flush_s"]]
    return Tried(
        sizes=sizes,
        steps=steps,
        steps_per_s=steps / seconds,
        worker_us=_cost_us(workers),
        writer_us=_cost_us(writers),
        queue_depth=max(row["queue_depth"] or 0 for row in workers),
        flush_s=median(flushes) if flushes else 0.0,
        flush_high_s=max(flushes, default=0.0),
        waited=waited_s / seconds,
        bytes_per_step=bytes_per_step,
        memory_mib=max(row["memory_bytes"] or 0 for row in workers) // MIB,
    )


def _stepping(samples: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The samples of the worker and those of the writer, from their first steps on."""
    workers = [row for row in samples if row["source"] == "producer" and row["steps"]]
    return workers, [row for row in samples if row["source"] == "writer" and row["steps"]]


def _us(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cost_us(rows: Sequence[dict[str, Any]]) -> float:
    """Microseconds of processor time a step between the first sample and the last."""
    ordered = sorted(rows, key=lambda row: row["time"])
    steps = ordered[-1]["steps"] - ordered[0]["steps"]
    if steps <= 0:
        raise ConfigError("--seconds: no step was taken between two samples; measure longer, or fewer --envs.")
    return (ordered[-1]["cpu_s"] - ordered[0]["cpu_s"]) / steps * 1e6
