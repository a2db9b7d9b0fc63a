"""What somebody who watches a run in a terminal is shown: plain values, whoever brings them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One stream.

    Attributes:
        name: sub-environment and agent.
        state: live, starved, idle (nothing came for a while, or nobody is shown it) or ended.
        episode, t: where it is: the number of the episode, and the step in it; None: not known.
        episode_return: sum of the rewards of that episode so far; None: not known.
        steps_per_s: its steps a second; None: not known.
    """

    name: str
    state: str
    episode: int | None = None
    t: int | None = None
    episode_return: float | None = None
    steps_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One log record, its text free of control characters."""

    time: datetime
    level: str
    component: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment.

    Attributes:
        status: of the run, as `Run.status`.
        source: `live` (from its gateway) or `lake` (from what is committed).
        note: why it is not live, or what is wrong; empty: nothing.
        steps, episodes: so far.
        steps_per_s: over the last seconds; None: not known.
        lag_s: age of the newest durable row when it became durable (live), or now (lake); None: not known.
        lost: steps that are known to be lost, or at most so many.
        settled: whether that is all; False: its process is gone, and nobody has counted what it lacks.
        streams: at most as many as were asked for; `more_streams` others are there.
        returns: of the last completed episodes, oldest first.
        logs: the last lines, oldest first.
    """

    run_id: str
    env_id: str
    status: str
    source: str
    note: str = ""
    steps: int = 0
    episodes: int = 0
    steps_per_s: float | None = None
    lag_s: float | None = None
    lost: int = 0
    settled: bool = True
    streams: Sequence[StreamRow] = ()
    more_streams: int = 0
    returns: Sequence[float] = ()
    logs: Sequence[LogLine] = field(default_factory=tuple)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.status != "running"

    @property
    def losses(self) -> str:
        """What is known of them, in words."""
        if self.settled:
            return f"lost {self.lost:,}"
        return f"lost {self.lost:,} or more" if self.lost else "lost not known yet"


def printable(text: str) -> str:
    """Text without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)
