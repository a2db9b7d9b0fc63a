"""How a run ended, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rolltape.storage.viewing import painter

EndStatus = Literal["completed", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class EndSummary:
    """How a run ended; also the content of `end.json`.

    `steps`, `episodes`, `frames` are rows in the recording; `completed` are the episodes that came to their end, and
    `mean_return` is theirs. `seconds` go from the first possible step until everything was durable. `bytes` is what the
    run's folder takes on disk. `inflight_high_bytes` sums the producers' high-water marks; `lag_high_s` is the longest
    time from a row's step to its being durable; `waited_s` the time that producers stood still for room; `mismatches`
    are the counts of validation, by code; `skipped` the steps that `keep_last` or `sample` left out.
    """

    run_id: str
    env_id: str
    status: EndStatus
    reason: str
    path: str
    seconds: float
    steps: int
    episodes: int
    completed: int
    frames: int
    mean_return: float | None
    lost_steps: int
    lost_episodes: int
    bytes: int
    inflight_high_bytes: int
    lag_high_s: float
    waited_s: float
    resent: int
    restarts: int
    cpu_s: dict[str, float]
    reconciled: dict[str, dict[str, int]]
    mismatches: dict[str, int] = field(default_factory=dict)
    steps_before: int = 0
    skipped: int = 0

    @property
    def steps_per_s(self) -> float:
        """Recorded steps a second, the final drain included."""
        return (self.steps - self.steps_before) / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_step(self) -> float:
        """Bytes on disk a step."""
        return self.bytes / self.steps if self.steps else 0.0

    def _repr_html_(self) -> str:
        return painter().summary_html(self)
