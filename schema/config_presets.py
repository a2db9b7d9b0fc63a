"""Settings for a family of environments, and for a size of machine: what is better than the defaults there, and why.

Rules:
1. A preset is chosen by the environment's id: the user's own first, those of this machine only here, then families.
2. A preset has values of the tree and a reason for each; the values are as good as a file's, and any source beats them.
3. Presets of the user are TOML files in `presets/` of the user's folder, with the evidence that speaks for them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from .config_base import MIB
from .config_provenance import Layer, Origin
from .config_resolve import flatten
from .errors import ConfigError
from .near_names import did_you_mean


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings under a name.

    Attributes:
        name: as `preset = …` gives it.
        matches: patterns of environment ids, as in `fnmatch`.
        settings: nested as the tree is.
        why: what the settings are good for, with what was measured.
        host: name of the machine that it is for; empty: good everywhere.
        evidence: what was measured.
        place: the file; empty for those that come with Rolltape.
    """

    name: str
    matches: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    host: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""

    def fits(self, env_id: str) -> bool:
        """Whether it is for that environment."""
        return any(fnmatchcase(env_id, pattern) for pattern in self.matches)

    def layer(self) -> Layer:
        """Its settings as a source."""
        origin = Origin(f"preset:{self.name}", self.place)
        return Layer(origin.source, flatten(self.settings, lambda _path: origin))


@dataclass(frozen=True, slots=True)
class Host:
    """What a profile is chosen by.

    Attributes:
        cores: that this process may use.
        memory_bytes: of the machine, or of its container.
        disk_bytes_s: written and synced a second where the lake is; None where it was not measured.
    """

    cores: int
    memory_bytes: int
    disk_bytes_s: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Settings for a size of machine."""

    name: str
    settings: Mapping[str, Any]
    why: str

    def layer(self) -> Layer:
        """Its settings as a source."""
        origin = Origin(f"profile:{self.name}")
        return Layer(origin.source, flatten(self.settings, lambda _path: origin))


MINIMUM: Final = Profile(
    "minimum",
    {
        "durable": {
            "fragment": {"max_bytes": 4 * MIB},
            "commit": {"max_bytes": 32 * MIB},
            "budget": {"total_bytes": 128 * MIB},
        },
        "ui_controls": {"view_hz": 4.0, "max_tiles": 16},
        "logging": {"queue_records": 5_000},
    },
    "one core, less than 4 GiB, or a disk below 50 MB/s: what is in flight is bounded to 128 MiB, and little is "
    "encoded for viewers",
)
GOOD: Final = Profile("good", {}, "the defaults are made for it")
MORE_THAN_ENOUGH: Final = Profile(
    "more-than-enough",
    {
        "durable": {"commit": {"max_bytes": 256 * MIB}},
        "resources": {"writer_cpus": 2.0},
        "ui_controls": {"max_tiles": 128},
    },
    "16 cores, 32 GiB and 400 MB/s or more: two cores for the writer, and fewer, larger commits",
)
PROFILES: Final = {profile.name: profile for profile in (MINIMUM, GOOD, MORE_THAN_ENOUGH)}
SLOW_BYTES_S: Final = 50e6
FAST_BYTES_S: Final = 400e6
GIB: Final = 1 << 30


def profile_of(host: Host) -> Profile:
    """The profile for a machine; an unknown disk counts as neither slow nor fast."""
    disk = host.disk_bytes_s
    if host.cores < 2 or host.memory_bytes < 4 * GIB or (disk is not None and disk < SLOW_BYTES_S):
        return MINIMUM
    if host.cores >= 16 and host.memory_bytes >= 32 * GIB and disk is not None and disk >= FAST_BYTES_S:
        return MORE_THAN_ENOUGH
    return GOOD


FAMILIES: Final = (
    Preset("toy-text", ("FrozenLake*", "Taxi-*", "Blackjack-*", "CliffWalking*")),
    Preset("classic-control", ("CartPole-*", "MountainCar*", "Acrobot-*", "Pendulum-*")),
    Preset("box2d", ("LunarLander*", "BipedalWalker*", "CarRacing-*")),
    Preset("mujoco", ("Ant-*", "HalfCheetah-*", "Hopper-*", "Humanoid*", "Walker2d-*", "Swimmer-*", "Inverted*")),
    Preset("minigrid", ("MiniGrid-*", "BabyAI-*")),
    Preset("atari", ("ALE/*", "*NoFrameskip-v*")),
)
"""Those that come with Rolltape."""


def user_presets(folder: Path) -> Iterator[Preset]:
    """Presets in a folder of TOML files. Raises ConfigError for a file that is none."""
    for path in sorted(folder.glob("*.toml")):
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            head = data["preset"]
            yield Preset(
                str(head["name"]),
                tuple(head["matches"]),
                data.get("rolltape", {}),
                str(head.get("why", "")),
                str(head.get("host", "")),
                data.get("evidence", {}),
                str(path),
            )
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} is no preset: {error}. Remove it, or write it anew by `rolltape tune`."
            ) from None


def choose_preset(asked: str, env_id: str | None, known: list[Preset], host: str, place: str) -> Preset | None:
    """The preset that `preset = asked` means for an environment; None for none.

    Args:
        asked: `auto`, `none`, or a name.
        env_id: None where it is not known yet.
        known: the user's first.
        host: name of this machine.
        place: where `asked` comes from, for the message.

    Raises:
        ConfigError: no preset has that name.
    """
    if asked == "none":
        return None
    if asked == "auto":
        if env_id is None:
            return None
        fitting = [preset for preset in known if preset.fits(env_id) and preset.host in ("", host)]
        return next(iter(fitting), None)
    for preset in known:
        if preset.name == asked:
            return preset
    names = ["auto", "none", *(preset.name for preset in known)]
    raise ConfigError(
        f"preset: {asked!r} is not allowed; it must be one of {', '.join(names)} (from {place})."
        f"{did_you_mean(asked, names)}"
    )
