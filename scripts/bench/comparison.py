"""What alternating pairs say together: medians of rates, and the median of the pairs' own ratios.

A pair's two runs follow each other, so that slow changes of a noisy machine cancel in its ratio; that is why ratios are
taken in each pair first. Processor time is steadier than wall time; memory and lag are the worst of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from .orders import Outcome
from .pairs import Pair


@dataclass(frozen=True)
class Comparison:
    """One row of the table. None: it cannot be told, or there is none.

    Attributes:
        name, recorder: which workload, recorded by whom.
        pairs: how many pairs.
        rows: transitions a run.
        bare_s: median seconds that the bare loop stepped.
        bare_per_s: its transitions a second.
        step_per_s, step_ratio: recorded, while stepping.
        total_per_s, total_ratio: recorded, until everything was durable.
        ratio_low, ratio_high: the lowest and highest `total_ratio` of a pair.
        cpu_ratio: processor time of the bare process divided by that of the recording one: what the ratio would be
            where every process has a core for itself.
        added_us: processor time a transition that the recording process used more than the bare one, in microseconds.
        producer_cpu_s, writer_cpu_s, hub_cpu_s, other_cpu_s: seconds of processor time for a million transitions; the
            producer's as in `added_us`.
        bytes_per_step: on disk, everything.
        bytes_per_frame: of the files of frames.
        peak_bare_bytes, peak_bytes: most memory of a stepping process.
        inflight_high_bytes, lag_high_s, waited_s: the worst of all runs.
        noise_cores: processors that something else used, median over all runs.
        speed_beside: of a processor beside a busy one, median over all runs; below 1 they are threads of one core.
    """

    name: str
    recorder: str
    pairs: int
    rows: int
    bare_s: float
    bare_per_s: float
    step_per_s: float | None
    step_ratio: float | None
    total_per_s: float
    total_ratio: float
    ratio_low: float
    ratio_high: float
    cpu_ratio: float
    added_us: float
    producer_cpu_s: float
    writer_cpu_s: float
    hub_cpu_s: float
    other_cpu_s: float
    bytes_per_step: float | None
    bytes_per_frame: float | None
    peak_bare_bytes: int
    peak_bytes: int
    inflight_high_bytes: float | None
    lag_high_s: float | None
    waited_s: float | None
    noise_cores: float
    speed_beside: float | None

    @classmethod
    def of(cls, pairs: list[Pair]) -> Comparison:
        """From at least one pair of one workload and recorder."""
        bares, recordeds = [bare for bare, _ in pairs], [recorded for _, recorded in pairs]
        ratios = [_total_rate(recorded) / _total_rate(bare) for bare, recorded in pairs]
        added = [_cpu(recorded) - _cpu(bare) for bare, recorded in pairs]
        step_ratios = [a / b for bare, recorded in pairs if (a := _step_rate(recorded)) and (b := _step_rate(bare))]
        first = recordeds[0]
        return cls(
            name=first.name,
            recorder=first.recorder,
            pairs=len(pairs),
            rows=int(median(o.rows for o in recordeds)),
            bare_s=median(o.total_s for o in bares),
            bare_per_s=median(map(_total_rate, bares)),
            step_per_s=_median(map(_step_rate, recordeds)),
            step_ratio=_median(step_ratios),
            total_per_s=median(map(_total_rate, recordeds)),
            total_ratio=median(ratios),
            ratio_low=min(ratios),
            ratio_high=max(ratios),
            cpu_ratio=median(_cpu(bare) / _cpu(recorded) for bare, recorded in pairs),
            added_us=median(added) * 1e6,
            producer_cpu_s=median(added) * 1e6,
            writer_cpu_s=median(o.writer_cpu_s / o.rows for o in recordeds) * 1e6,
            hub_cpu_s=median(o.hub_cpu_s / o.rows for o in recordeds) * 1e6,
            other_cpu_s=median(o.other_cpu_s / o.rows for o in recordeds) * 1e6,
            bytes_per_step=_per(recordeds, lambda o: o.stored_bytes, lambda o: o.stored_rows),
            bytes_per_frame=_per(recordeds, lambda o: o.frame_bytes, lambda o: o.stored_frames),
            peak_bare_bytes=max(o.peak_rss_bytes for o in bares),
            peak_bytes=max(o.peak_rss_bytes for o in recordeds),
            inflight_high_bytes=_max(o.inflight_high_bytes for o in recordeds),
            lag_high_s=_max(o.lag_high_s for o in recordeds),
            waited_s=_max(o.waited_s for o in recordeds),
            noise_cores=median(o.noise_cores for pair in pairs for o in pair),
            speed_beside=_median(o.speed_beside for pair in pairs for o in pair),
        )


def _total_rate(outcome: Outcome) -> float:
    return outcome.rows / outcome.total_s


def _step_rate(outcome: Outcome) -> float | None:
    return outcome.rows / outcome.step_s if outcome.step_s else None


def _cpu(outcome: Outcome) -> float:
    return outcome.cpu_s / outcome.rows


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _max(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _per(
    outcomes: list[Outcome], amount: Callable[[Outcome], int | None], count: Callable[[Outcome], int | None]
) -> float | None:
    return _median(a / n if (a := amount(o)) and (n := count(o)) else None for o in outcomes)
