"""The progress line of a collecting fleet: steps, steps/s, episodes, return, in-flight bytes, losses, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from rolltape.schema.messages import RunCounts


@dataclass(frozen=True, slots=True)
class CollectProgress:
    """Where a collection stands. Rates are over the last seconds; bytes are unacknowledged bytes of all producers."""

    steps: int
    target_steps: int | None
    episodes: int
    target_episodes: int | None
    steps_per_s: float
    mean_return: float | None
    inflight_bytes: int
    lost_steps: int
    restarts: int


Watcher = Callable[[CollectProgress], None]


class RateMeter:
    """Steps a second over the last `window_s` seconds."""

    def __init__(self, window_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_s, self._clock = window_s, clock
        self._seen: list[tuple[float, int]] = []

    def rate(self, steps: int) -> float:
        """Note a count; the rate since the oldest count in the window."""
        now = self._clock()
        self._seen.append((now, steps))
        while len(self._seen) > 2 and now - self._seen[1][0] > self._window_s:
            self._seen.pop(0)
        then, before = self._seen[0]
        return (steps - before) / (now - then) if now > then else 0.0


def progress_of(
    counts: RunCounts,
    before: RunCounts,
    target_steps: int | None,
    target_episodes: int | None,
    rate: float,
    lost_steps: int,
    restarts: int,
) -> CollectProgress:
    """The progress since the counts `before`."""
    return CollectProgress(
        steps=counts.steps - before.steps,
        target_steps=target_steps,
        episodes=counts.episodes - before.episodes,
        target_episodes=target_episodes,
        steps_per_s=rate,
        mean_return=counts.return_sum / counts.episodes if counts.episodes else None,
        inflight_bytes=counts.inflight_bytes,
        lost_steps=lost_steps,
        restarts=restarts,
    )


class _Facts(ProgressColumn):
    def render(self, task: Task) -> Text:
        p: CollectProgress | None = task.fields.get("now")
        if p is None:
            return Text("starting")
        mean = "–" if p.mean_return is None else f"{p.mean_return:.1f}"
        text = Text(
            f"{p.steps:,} steps  {p.steps_per_s:,.0f}/s  {p.episodes:,} episodes  return {mean}  "
            f"in flight {p.inflight_bytes / 2**20:.1f} MiB  "
        )
        text.append(f"lost {p.lost_steps}", style="bold red" if p.lost_steps else "green")
        if p.restarts:
            text.append(f"  restarts {p.restarts}", style="yellow")
        return text


@contextmanager
def watching(progress: bool | Watcher | None, title: str) -> Iterator[Watcher]:
    """A function that shows where a collection stands.

    Args:
        progress: True shows a line on stderr, False nothing, None a line where stderr is a terminal; or a function
            that is called instead.
    """
    if callable(progress):
        yield progress
        return
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(20), _Facts(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def show(now: CollectProgress) -> None:
            if now.target_steps is not None:
                bar.update(task, total=now.target_steps, completed=now.steps, now=now)
            else:
                bar.update(task, total=now.target_episodes, completed=now.episodes, now=now)

        yield show
