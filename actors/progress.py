"""The progress line of a collecting fleet: steps, steps/s, episodes, return, in-flight bytes, losses, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
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

LINE_EVERY_S = 10.0


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


def line_of(p: CollectProgress) -> str:
    """The facts of a progress line, what matters most first: a narrow terminal cuts the end."""
    mean = "–" if p.mean_return is None else f"{p.mean_return:.4g}"
    lost = f"lost {p.lost_steps:,}" + (f", restarts {p.restarts}" if p.restarts else "")
    facts = [
        f"{p.steps:,} steps",
        f"{p.steps_per_s:,.0f}/s",
        f"{p.episodes:,} episodes",
        f"return {mean}",
        f"in flight {p.inflight_bytes / 2**20:.1f} MiB",
    ]
    return "  ".join([lost, *facts] if p.lost_steps or p.restarts else [*facts, lost])


class _Facts(ProgressColumn):
    def __init__(self) -> None:
        super().__init__(table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))

    def render(self, task: Task) -> Text:
        now: CollectProgress | None = task.fields.get("now")
        if now is None:
            return Text("starting")
        style = "red" if now.lost_steps else "yellow" if now.restarts else ""
        return Text(line_of(now), style=style, no_wrap=True, overflow="ellipsis")


@contextmanager
def watching(progress: bool | Watcher | None, title: str) -> Iterator[Watcher]:
    """A function that shows where a collection stands.

    Args:
        progress: True shows it on stderr: a bar in a terminal or notebook, otherwise a line every ten seconds. False
            shows nothing, None the bar where there can be one. Or a function that is called instead.
    """
    if callable(progress):
        yield progress
        return
    console = Console(stderr=True)
    if progress is not False and (console.is_terminal or console.is_jupyter):
        with _bar(console, title) as show:
            yield show
    else:
        yield printing(title) if progress else lambda _: None


@contextmanager
def _bar(console: Console, title: str) -> Iterator[Watcher]:
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(12, table_column=Column(min_width=12)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        _Facts(),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task(title, total=None)

        def show(now: CollectProgress) -> None:
            total, done = now.target_steps, now.steps
            if total is None:
                total, done = now.target_episodes, now.episodes
            bar.update(task, total=total, completed=done, now=now)

        yield show


def printing(title: str, clock: Callable[[], float] = time.monotonic) -> Watcher:
    """A watcher that prints a line on stderr every `LINE_EVERY_S`."""
    said = clock()

    def show(now: CollectProgress) -> None:
        nonlocal said
        if clock() - said >= LINE_EVERY_S:
            said = clock()
            print(f"{title}: {line_of(now)}", file=sys.stderr, flush=True)

    return show
