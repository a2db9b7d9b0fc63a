"""The configuration of a recording: frozen values with units, ranges and the reason for each default.

Rules:
1. Nothing here is read from the environment or a file: sources are resolved at the edge.
2. An unknown key or a value out of range raises `ConfigError` with the path to the key, before anything starts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigError

MIB = 1 << 20
COMMIT_S = 0.2
"""What a commit may take on a healthy disk."""

FramePolicy = Literal["auto", "none", "observation", "render", "replay"]
"""What pictures are kept; `auto` is `observation` where the observation is an image, otherwise `none`. With `replay`
none are stored: they are drawn again when asked for, from seed and actions."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)


class FragmentConfig(_Frozen):
    """When a producer closes a fragment: whichever comes first."""

    max_bytes: Annotated[int, Field(ge=64 << 10, le=256 * MIB)] = 8 * MIB
    """Bytes of column buffers. A remote call costs 0.3-1 ms whatever it carries, so small fragments cost more a
    step."""
    max_rows: Annotated[int, Field(ge=1, le=16_000_000)] = 1_000_000
    """Rows of the steps table."""
    max_age_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    """Age of the oldest row, also while no step arrives."""


class CommitConfig(_Frozen):
    """When a writer commits, and what a commit survives."""

    max_bytes: Annotated[int, Field(ge=64 << 10, le=1024 * MIB)] = 128 * MIB
    """Bytes received since the last commit. Every commit costs 10-14 kB on disk, so that pictures want large ones."""
    max_age_s: Annotated[float, Field(gt=0, le=60)] = 0.8
    """Age of the oldest row, counted from its step: with the time that a commit takes, this is the crash bound."""
    durability: Literal["machine", "process"] = "machine"
    """`machine` pays an fsync a part, so that a power cut loses nothing acknowledged; `process` survives kills only."""
    steps_level: Annotated[int, Field(ge=1, le=22)] = 1
    """zstd level of steps and episodes."""
    frames_level: Annotated[int, Field(ge=0, le=22)] = 0
    """zstd level of frames; 0 chooses 1 for small and 3 for large frames."""


class FramesConfig(_Frozen):
    """Which pictures are recorded."""

    policy: FramePolicy = "auto"
    every: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """With `render`: every how many steps of an episode; its first and last picture are always kept."""


class BudgetConfig(_Frozen):
    """Bounds on what may be on its way to the disk."""

    total_bytes: Annotated[int, Field(ge=0)] = 0
    """All producers together; 0 is half of the object store."""
    max_unacked_age_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """A producer waits when its oldest unacknowledged row is older than this."""
    give_up_s: Annotated[float, Field(gt=0, le=86400)] = 120.0
    """How long a producer waits for a writer that commits nothing before the run stops with an error."""


class RecordConfig(_Frozen):
    """Everything that decides what is recorded and how it is kept.

    `RecordConfig.of(fragment={"max_bytes": 1 << 20})` builds one and raises `ConfigError` for what does not fit.
    """

    frames: FramesConfig = FramesConfig()
    fragment: FragmentConfig = FragmentConfig()
    commit: CommitConfig = CommitConfig()
    budget: BudgetConfig = BudgetConfig()
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of the run. A Fleet derives every sub-environment's resets and the random policy from it."""

    @model_validator(mode="after")
    def _lag_below_wait(self) -> RecordConfig:
        if self.durable_lag_s >= self.budget.max_unacked_age_s:
            raise ValueError(
                f"fragment.max_age_s = {self.fragment.max_age_s} s and commit.max_age_s = {self.commit.max_age_s} s "
                f"must be well below budget.max_unacked_age_s = {self.budget.max_unacked_age_s} s"
            )
        return self

    @property
    def durable_lag_s(self) -> float:
        """Seconds of steps that a crash may cost on a healthy disk: the age at which a commit starts, and the
        commit."""
        return max(self.fragment.max_age_s, self.commit.max_age_s) + COMMIT_S

    @classmethod
    def of(cls, *, frames: Any = None, **values: Any) -> RecordConfig:
        """Build a configuration from keywords.

        Args:
            frames: a policy name, a dict, or a `FramesConfig`.
            **values: fields of this class, each a dict, a model or a value; None is left out.

        Raises:
            ConfigError: an unknown key or a value that is not allowed, with its path.
        """
        if isinstance(frames, str):
            frames = {"policy": frames}
        given = {k: v for k, v in {"frames": frames, **values}.items() if v is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError.from_pydantic(error) from None
