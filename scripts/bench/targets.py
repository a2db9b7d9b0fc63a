"""What the figures must reach, in one table; the output says which do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .comparison import Comparison
from .results import Results


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one figure.

    Attributes:
        what: as a person says it.
        where: a workload that we record, or the name of a figure.
        bound: `at least` or `at most`.
        limit: in `unit`.
        read: of a workload, which figure of its comparison.
        best: what the best of the others reached when it was set.
    """

    what: str
    where: str
    bound: Literal["at least", "at most"]
    limit: float
    unit: str
    best: str
    read: Callable[[Comparison], float | None] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured; `value` None: not measured yet."""

    target: Target
    value: float | None

    @property
    def met(self) -> bool | None:
        """None: not measured yet."""
        if self.value is None:
            return None
        return self.value >= self.target.limit if self.target.bound == "at least" else self.value <= self.target.limit


def _ratio(c: Comparison) -> float:
    return c.total_ratio


def _added(c: Comparison) -> float:
    return c.added_us


def _rate(c: Comparison) -> float:
    return c.total_per_s


def _bytes(c: Comparison) -> float | None:
    return c.bytes_per_step


TARGETS = (
    Target("recorded / bare, drain included", "W1", "at least", 0.80, "", "0.69", _ratio),
    Target("processor time added by the producer", "W1", "at most", 3.0, "µs a step", "3.9", _added),
    Target("rows recorded, drain included", "W2-1024", "at least", 2.5e6, "rows/s", "1.6 M", _rate),
    Target("recorded / bare, drain included", "W3-1", "at least", 0.90, "", "0.81", _ratio),
    Target("processor time added by the producer", "W3-1", "at most", 80.0, "µs a step", "99", _added),
    Target("recorded / bare, drain included", "W3-8", "at least", 0.90, "", "", _ratio),
    Target("processor time added by the producer", "W3-8", "at most", 80.0, "µs a step", "", _added),
    Target("on disk", "W1", "at most", 16.0, "bytes a step", "15.9", _bytes),
    Target("on disk", "W2-8", "at most", 16.0, "bytes a step", "", _bytes),
    Target("on disk", "W2-1024", "at most", 16.0, "bytes a step", "17.4", _bytes),
    Target("Breakout, lossless as recorded", "bytes.Breakout", "at most", 130, "bytes a frame", "74 at half the speed"),
    Target("Seaquest, lossless as recorded", "bytes.Seaquest", "at most", 480, "bytes a frame", "974, lossy"),
    Target("CarRacing observation, lossless", "bytes.CarRacing", "at most", 950, "bytes a frame", "499, lossy"),
    Target("CartPole render, lossless", "bytes.CartPole", "at most", 650, "bytes a frame", "571, lossy"),
    Target("writer, Breakout frames", "writer.frames", "at least", 10_000, "frames/s a core", ""),
    Target("one frame of 10,000, open and warm", "reading.one_median", "at most", 6.0, "ms", ""),
    Target("frames in order", "reading.sequential", "at least", 15_000, "frames/s", ""),
    Target("producer's memory, writer at a tenth", "memory.drift", "at most", 16.0, "MiB drift", "grows"),
    Target("gateway's memory, 1,000 streams, 8 viewers", "gateway.drift", "at most", 16.0, "MiB drift", ""),
    Target("all files of the page, gzip", "page.weight", "at most", 150, "kB", ""),
    Target("10,000 episodes: rows of Runs are drawn", "page.runs", "at most", 1.0, "s", ""),
    Target("10,000 episodes: rows of Episodes are drawn", "page.episodes", "at most", 1.0, "s", ""),
    Target("64 tiles at 30 a second, taken to drawn, p95", "tiles.age", "at most", 60, "ms", "52 in a trial"),
    Target("64 tiles, pictures drawn a second of each", "tiles.rate", "at least", 28, "1/s", "29.5 in a trial"),
    Target("import rolltape", "import.seconds", "at most", 0.3, "s", ""),
)


def verdicts(results: Results) -> list[Verdict]:
    """All targets, with what the results say of them."""
    ours = {c.name: c for c in results.comparisons() if c.recorder == "rolltape"}
    figures = results.by_name()
    found: list[Verdict] = []
    for target in TARGETS:
        value: float | None = None
        if target.read is not None:
            value = target.read(ours[target.where]) if target.where in ours else None
        elif target.where in figures:
            value = figures[target.where].value
        found.append(Verdict(target, value))
    return found
