"""The live path: credits and waiting rooms between producers and viewers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from .config_base import Frozen, Risk, Unit

CAP_FACTOR = 2


class LiveConfig(Frozen):
    """How much may be on its way to viewers. None of it is on the durable path: what does not fit is counted and
    skipped."""

    enabled: bool = True
    """Whether producers serve viewers at all. Without a viewer it costs nothing, so that it is on."""
    credits: Annotated[int, Field(ge=1, le=100_000), Unit("events")] = 200
    """Events that a viewer may have on their way for each stream. Some seconds of scalars; pictures have windows of
    their own."""
    low_water: Annotated[int, Field(ge=0, le=100_000), Unit("events")] = 10
    """A viewer that still shows something when only so many credits are left is far away: its pool grows by half."""
    max_credits: Annotated[int, Field(ge=0, le=200_000), Unit("events")] = 0
    """A pool that grows for a viewer that is far away ends here; 0 becomes twice `credits`."""
    early_events: Annotated[
        int, Field(ge=0, le=100_000), Unit("events"), Risk("a viewer starts with nothing to show", equal=0)
    ] = 256
    """What waits for a viewer that is not ready yet; the oldest go first and are counted."""
    frame_window: Annotated[int, Field(ge=1, le=16), Unit("frames")] = 4
    """Pictures on their way to one viewer of one stream: enough for 100 ms of network at 30 a second."""

    slow_down: Annotated[bool, Risk("a viewer that freezes holds the environments back", equal=True)] = False
    """Whether producers wait 20 ms at every step while a viewer starves: for demonstrations, where being seen counts
    more than speed. What is recorded is the same."""

    @model_validator(mode="before")
    @classmethod
    def _cap(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("max_credits"):
            return given
        wanted = given.get("credits", cls.model_fields["credits"].default)
        try:
            return {**given, "max_credits": CAP_FACTOR * int(wanted)}
        except (TypeError, ValueError):
            return given  # `credits` itself is refused, with its own message

    @model_validator(mode="after")
    def _water_below_credits(self) -> LiveConfig:
        if self.low_water >= self.credits:
            raise ValueError(f"low_water = {self.low_water} must be below credits = {self.credits}")
        if self.max_credits < self.credits:
            raise ValueError(f"max_credits = {self.max_credits} must be at least credits = {self.credits}")
        return self
