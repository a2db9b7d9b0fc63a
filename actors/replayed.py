"""What came of replays: the verdict on an episode, its first difference, and the report on many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["exact", "diverged", "nondeterministic", "not replayable"]

WRONG: tuple[Outcome, ...] = ("diverged", "nondeterministic")


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference between a recording and its replay.

    Attributes:
        t: the step; a difference of the last observation has the episode's length.
        field: observation, reward, terminated, truncated, info.<key>, reset_info.<key>, length, or error.
        recorded, replayed: the two values; of a picture, what differs in words.
        magnitude: the largest absolute difference of numbers; None where the values are not numbers of one shape.
    """

    t: int
    field: str
    recorded: Any
    replayed: Any
    magnitude: float | None

    def __str__(self) -> str:
        size = "" if self.magnitude is None else f" (differs by {self.magnitude:g})"
        return f"t {self.t}, {self.field}: recorded {_short(self.recorded)}, replayed {_short(self.replayed)}{size}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """The verdict on one episode.

    Attributes:
        outcome: `exact`: every value is the same, bit for bit. `diverged`: one differs. `nondeterministic`: replays
            differ from each other as well. `not replayable`: nothing was compared.
        status: of the recorded episode: completed, aborted or lost.
        steps: how many were compared.
        reason: why it could not be replayed, or why it is called nondeterministic.
        divergence: the first difference, where there is one.
    """

    episode: int
    outcome: Outcome
    status: str = "completed"
    steps: int = 0
    reason: str = ""
    divergence: Divergence | None = None

    def __str__(self) -> str:
        what = "; ".join(str(part) for part in (self.divergence, self.reason) if part)
        return f"episode {self.episode}: {self.outcome}{f': {what}' if what else ''}"


@dataclass(slots=True)
class ReplayReport:
    """The verdicts on the episodes of a run that were asked for; iterate for each of them.

    Attributes:
        run_id: the run.
        episodes: a `Replayed` for each episode.
        seconds: wall time of it all, reading included.
        versions: packages whose version is not the recording's: name -> (recorded, here or None).
        uncompared: info keys that are different in every replay, such as a wall clock, and were left out.
    """

    run_id: str
    episodes: list[Replayed] = field(default_factory=list)
    seconds: float = 0.0
    versions: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    uncompared: set[str] = field(default_factory=set)

    @property
    def counts(self) -> dict[str, int]:
        """Episodes by outcome."""
        return dict(Counter(result.outcome for result in self.episodes))

    @property
    def reasons(self) -> dict[str, int]:
        """Why episodes could not be replayed, and how many of each."""
        return dict(Counter(result.reason for result in self.episodes if result.outcome == "not replayable"))

    @property
    def exact(self) -> bool:
        """Whether something was replayed and all of it was the same bits."""
        counts = self.counts
        return bool(counts.get("exact")) and not any(counts.get(outcome) for outcome in WRONG)

    @property
    def steps(self) -> int:
        """Steps that were replayed and compared."""
        return sum(result.steps for result in self.episodes)

    @property
    def divergence(self) -> Replayed | None:
        """The first episode that differs; None where all is well."""
        return next((result for result in self.episodes if result.outcome in WRONG), None)

    def add(self, results: Iterable[Replayed]) -> None:
        """Take in more verdicts."""
        self.episodes.extend(results)

    def __iter__(self) -> Iterator[Replayed]:
        return iter(self.episodes)

    def __len__(self) -> int:
        return len(self.episodes)

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(self.counts.items())) or "no episodes"
        rate = f", {self.steps / self.seconds:,.0f} steps/s" if self.seconds and self.steps else ""
        return f"run {self.run_id}: {told} ({self.steps:,} steps{rate})"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else f"{text[:117]}…"
