"""The configuration of a recording: frozen values with units, ranges and the reason for each default.

Rules:
1. Nothing here is read from the environment or a file: sources are resolved at the edge.
2. An unknown key or a value out of range raises `ConfigError` with the path to the key, before anything starts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from .config_base import MIB, Frozen, Risk, Unit
from .errors import ConfigError
from .payload_version import PAYLOAD_VERSION

COMMIT_S = 0.2
"""What a commit may take on a healthy disk."""
FRAGMENT_SHARE = 0.625
"""Of a commit's age: how old a fragment may be at most, where nothing was said of it."""

FramePolicy = Literal["auto", "none", "observation", "render", "replay"]
"""What pictures are kept; `auto` is `observation` where the observation is an image, otherwise `none`. With `replay`
none are stored: they are drawn again when asked for, from seed and actions."""
Validation = Literal["off", "warn", "enforce"]
"""Whether values are compared with what their spaces allow. `off`: not. `warn`: once a fragment; what is outside is
recorded, counted and logged. `enforce`: before each step is recorded; what is outside is refused."""
CALL_COST = "a fragment costs 5-7 ms whatever it carries, so that steps become slower"
COMMIT_COST = "every commit costs 10-14 kB on disk and an fsync a part"
LAG_COST = "it is what a crash may lose"


class FragmentConfig(Frozen):
    """When a producer closes a fragment: whichever comes first."""

    max_bytes: Annotated[int, Field(ge=64 << 10, le=256 * MIB), Unit("bytes"), Risk(CALL_COST, below=1 * MIB)] = (
        32 * MIB
    )
    """Bytes of column buffers. A fragment costs 5-7 ms whatever it carries, so small ones cost more a step: with 8 MiB
    a Breakout picture cost 98 us of processor time to send, with 32 MiB 39. A large one only makes the open buffer of
    each producer larger."""
    max_rows: Annotated[int, Field(ge=1, le=16_000_000), Unit("rows"), Risk(CALL_COST, below=100)] = 1_000_000
    """Rows of the steps table. Bytes bound a fragment before this does, unless rows are tiny."""
    max_age_s: Annotated[float, Field(gt=0, le=60), Unit("s"), Risk(CALL_COST, below=0.02), Risk(LAG_COST, above=5)] = (
        0.5
    )
    """Age of the oldest row, also while no step arrives. Below that of commits, so that a commit finds fragments there.
    Where only `commit.max_age_s` was given and is shorter than usual, 5/8 of it."""


class CommitConfig(Frozen):
    """When a writer commits, and what a commit survives."""

    max_bytes: Annotated[int, Field(ge=64 << 10, le=1024 * MIB), Unit("bytes"), Risk(COMMIT_COST, below=4 * MIB)] = (
        128 * MIB
    )
    """Bytes that wait for a commit, and at which a commit stops taking more: a slow disk acknowledges often. Every
    commit costs 10-14 kB on disk, so that pictures want large ones."""
    max_age_s: Annotated[
        float, Field(gt=0, le=60), Unit("s"), Risk(COMMIT_COST, below=0.1), Risk(LAG_COST, above=5)
    ] = 0.8
    """Age of the oldest row, counted from its step: with the time that a commit takes, this is the crash bound."""
    durability: Annotated[
        Literal["machine", "process"], Risk("a power cut may lose what was acknowledged", equal="process")
    ] = "machine"
    """`machine` pays an fsync a part, so that a power cut loses nothing acknowledged; `process` survives kills only."""
    steps_level: Annotated[
        int, Field(ge=1, le=22), Unit("zstd level"), Risk("the writer compresses 5 to 50 times slower", above=9)
    ] = 1
    """zstd level of steps and episodes. 1 keeps up with 3 million small rows a second; compaction makes them smaller
    later."""
    frames_level: Annotated[
        int, Field(ge=0, le=22), Unit("zstd level"), Risk("the writer compresses 5 to 50 times slower", above=9)
    ] = 0
    """zstd level of frames; 0 chooses by the size of a frame: 1 from 64 to 128 KiB (Atari), where it finds the last
    picture best, otherwise 3."""
    frames_group_bytes: Annotated[
        int,
        Field(ge=0, le=256 * MIB),
        Unit("bytes"),
        Risk("reading one frame decodes a whole row group: 10 ms and more", above=32 * MIB),
    ] = 0
    """Bytes of pictures in a row group; 0 chooses by the size of a picture. A row group is what reading one frame
    costs, and the window in which pictures compress each other."""

    @model_validator(mode="after")
    def _group_large_enough(self) -> CommitConfig:
        if 0 < self.frames_group_bytes < 64 << 10:
            raise ValueError(f"frames_group_bytes = {self.frames_group_bytes} must be 0 or at least 65,536 bytes")
        return self


class CompactionConfig(Frozen):
    """How small parts become large ones while a run is recorded."""

    while_recording: Annotated[
        bool, Risk("a run of an hour leaves 4,500 parts a table, and every query opens them all", equal=False)
    ] = True
    """In a process of its own at the lowest priority, so that it takes what environments leave."""
    every_commits: Annotated[
        int,
        Field(ge=16, le=100_000),
        Unit("commits"),
        Risk("rows are written again more often, and plain globs see some twice most of the time", below=64),
        Risk("so many parts a table may lie about", above=2000),
    ] = 240
    """Commits that are merged at once: three to four minutes of them. 16 such parts are merged again, and so on."""


class FramesConfig(Frozen):
    """Which pictures are recorded."""

    policy: FramePolicy = "auto"
    """`auto` keeps what is free: an observation that is an image. `render` calls `render()`, which costs the loop."""
    every: Annotated[int, Field(ge=1, le=1_000_000), Unit("steps")] = 1
    """With `render`: every how many steps of an episode; its first and last picture are always kept. 1 loses none."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """`"render:4"` is `{"policy": "render", "every": 4}`, any other text the policy."""
        if not isinstance(value, str):
            return value
        policy, colon, every = value.partition(":")
        return {"policy": policy, "every": every} if colon and policy == "render" else {"policy": value}


class AdapterConfig(Frozen):
    """What knows the environment: names for what it does, how it looks, and the state behind its observations."""

    name: Annotated[str, Field(min_length=1)] = "auto"
    """The adapter: `auto` for the one that fits, one by its name, or `module:Class`."""
    state: bool = False
    """Record what the adapter knows of the state as infos `state.<key>` of every step and reset. Off, because it is
    read step by step in Python, 1 to 100 microseconds each, and no native vector environment can be used."""
    keys: tuple[str, ...] = ()
    """Which keys of the state; all where none is named. Memory of a console takes more room than its lives."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """A text is the name."""
        return {"name": value} if isinstance(value, str) else value


class BudgetConfig(Frozen):
    """Bounds on what may be on its way to the disk."""

    total_bytes: Annotated[
        int, Field(ge=0, le=1 << 44), Unit("bytes"), Risk("producers wait for the disk more often", below=32 * MIB)
    ] = 0
    """All producers together; 0 is half of the object store: what is in flight is pinned there, and Ray spills at
    80 %."""
    max_unacked_age_s: Annotated[float, Field(gt=0, le=3600), Unit("s")] = 30.0
    """A producer waits when its oldest unacknowledged row is older than this: the crash bound of a slow disk."""
    give_up_s: Annotated[
        float, Field(gt=0, le=86400), Unit("s"), Risk("a short pause of the disk ends the run", below=10)
    ] = 120.0
    """How long a producer waits for a writer that commits nothing before the run stops with an error. Two minutes let
    a person make room on a full disk."""


class ThrottleConfig(Frozen):
    """How fast producers step at most, and how many of their steps are recorded."""

    steps_per_s: Annotated[
        float, Field(ge=0, le=1e9), Unit("1/s"), Risk("environments stand still most of the time", below=1)
    ] = 0.0
    """At most so many steps a second: of a Fleet, all sub-environments together; of `rolltape.record`, each recorded
    environment with all its sub-environments. 0 is no limit, because a recording should not slow anything down."""
    sample: Annotated[
        int, Field(ge=1, le=1_000_000), Unit("steps"), Risk("episodes with holes cannot be replayed", above=1)
    ] = 1
    """Record every so many steps of an episode one (t = 0, k, 2k, …); the others are counted (`skipped`). 1 records
    all, because what is left out cannot be replayed."""


class RecordConfig(Frozen):
    """Everything that decides what is recorded and how it is kept.

    `RecordConfig.of(fragment={"max_bytes": 1 << 20})` builds one and raises `ConfigError` for what does not fit. It is
    the section `durable` of the configuration: nothing that a viewer sets is in it.
    """

    frames: FramesConfig = FramesConfig()
    fragment: FragmentConfig = FragmentConfig()
    commit: CommitConfig = CommitConfig()
    budget: BudgetConfig = BudgetConfig()
    compaction: CompactionConfig = CompactionConfig()
    adapter: AdapterConfig = AdapterConfig()
    throttle: ThrottleConfig = ThrottleConfig()
    keep_last: Annotated[
        int, Field(ge=0, le=16_000_000), Unit("steps"), Risk("episodes without a beginning cannot be replayed", above=0)
    ] = 0
    """Of each episode only its last so many steps; they wait in memory until it ends or `save()` asks for them. The
    others are counted (`skipped`). 0 keeps all, because what is left out cannot be replayed."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of the run. A Fleet derives every sub-environment's resets and the random policy from it. Fixed, so that
    the same command records the same steps again."""
    validation: Annotated[
        Validation, Risk("each step is looked at before it is recorded: a vector step takes longer", equal="enforce")
    ] = "off"
    """`warn` counts values outside their spaces and rewards that are not finite, once a fragment; `enforce` refuses
    them where they come from. `off` counts such rewards only. What cannot be stored is refused always, so that `off`
    loses nothing either."""
    oldest_payload: Annotated[int, Field(ge=0, le=PAYLOAD_VERSION), Unit("payload version")] = 0
    """The oldest payload version in which a producer may speak; 1 refuses those of version 0. Older ones are upgraded
    on their way and counted, which costs only those that speak them."""

    @model_validator(mode="before")
    @classmethod
    def _fragment_below_commit(cls, given: Any) -> Any:
        """A commit that was asked to be quicker than a fragment gets fragments that are."""
        if not isinstance(given, dict):
            return given
        usual: float = FragmentConfig.model_fields["max_age_s"].default
        try:
            age = float(_inside(given.get("commit"), "max_age_s"))
        except (TypeError, ValueError):
            return given  # not given, or to be refused with its own message
        if not 0 < age * FRAGMENT_SHARE < usual:
            return given
        fragment = given.get("fragment", {})
        if isinstance(fragment, Frozen):
            fragment = fragment.model_dump(exclude_unset=True)
        if not isinstance(fragment, dict) or "max_age_s" in fragment:
            return given
        return {**given, "fragment": {**fragment, "max_age_s": age * FRAGMENT_SHARE}}

    @model_validator(mode="after")
    def _one_way_to_leave_out(self) -> RecordConfig:
        if self.keep_last and self.throttle.sample > 1:
            raise ValueError(
                f"keep_last = {self.keep_last} and throttle.sample = {self.throttle.sample} leave steps out in two "
                "ways; set one of them"
            )
        return self

    @property
    def leaves_out(self) -> dict[str, int]:
        """The arguments of what leaves steps out; empty where all are recorded."""
        if self.keep_last:
            return {"keep_last": self.keep_last}
        return {"sample": self.throttle.sample} if self.throttle.sample > 1 else {}

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
    def of(cls, *, frames: Any = None, adapter: Any = None, **values: Any) -> RecordConfig:
        """Build a configuration from keywords, and from nothing else: no file and no environment is read.

        Args:
            frames: a policy name, a dict, or a `FramesConfig`.
            adapter: the name of one, a dict, or an `AdapterConfig`.
            **values: fields of this class, each a dict, a model or a value; None is left out.

        Raises:
            ConfigError: an unknown key or a value that is not allowed, with its path.
        """
        short = {"frames": FramesConfig.expand(frames), "adapter": AdapterConfig.expand(adapter)}
        given = {k: v for k, v in {**short, **values}.items() if v is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError.from_pydantic(error) from None


def _inside(section: Any, name: str) -> Any:
    return section.get(name) if isinstance(section, dict) else getattr(section, name, None)
