"""What a pass through recorded episodes is given: where they are replayed, and how each of them begins."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from .recorded_steps import RecordedSteps


@dataclass(frozen=True, slots=True)
class PassOrder:
    """Recorded episodes that are replayed in one environment, one after the other.

    Attributes:
        env: where they are replayed.
        recorded: the episodes.
        ignored: info keys that are not compared.
        chained: only the first is reset with its seed, and one that is not whole, or differs, ends it.
        seeded: of a chain, whether its first is.
    """

    env: gym.Env[Any, Any]
    recorded: RecordedSteps
    ignored: Collection[str]
    chained: bool
    seeded: bool = True

    @property
    def whole(self) -> list[int]:
        """The places of the episodes that can be replayed."""
        return self.recorded.whole_chain if self.chained else self.recorded.whole

    def begin(self, place: int) -> tuple[Any, dict[str, Any]]:
        """Reset the environment as an episode was; what `reset` returns, and what it raises."""
        return self.recorded.begin(self.env, place, seeded=not self.chained or (self.seeded and place == 0))
