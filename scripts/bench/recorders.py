"""What a recorder is to the benchmarks: something that wraps an environment, can be closed, and can be read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """What reading a recording back found. None: it does not keep such rows.

    Attributes:
        rows: transitions.
        episodes: episodes that ended by themselves.
        frames: pictures.
        bytes: what the folder takes on disk.
        frame_bytes: bytes of the files that hold pictures.
        first_frames: the first picture of an episode, which no step returned, is among `frames`.
    """

    rows: int
    episodes: int | None
    frames: int | None
    bytes: int
    frame_bytes: int | None = None
    first_frames: bool = True


@dataclass(frozen=True, slots=True)
class Costs:
    """What a recorder used in other processes, and what it says of itself; the fields are those of `Outcome`."""

    writer_cpu_s: float = 0.0
    hub_cpu_s: float = 0.0
    other_cpu_s: float = 0.0
    inflight_high_bytes: int | None = None
    lag_high_s: float | None = None
    waited_s: float | None = None


class Recorder(Protocol):
    """One recorder, for one run.

    Attributes:
        renders: it calls `render()` itself where renders are recorded.
    """

    renders: bool

    def open(self, env: Any, folder: Path, frames: str) -> Any:
        """The environment, recorded into an empty folder. `frames`: `none`, `observation` or `render`."""

    def begin(self) -> None:
        """The first measured step comes now."""

    def close(self, env: Any) -> None:
        """Close the environment and make everything durable."""

    def costs(self) -> Costs:
        """After `close`."""
        ...

    def read_back(self, folder: Path) -> Stored | None:
        """After `close`: read the recording and count. None where nothing is recorded."""


class Bare:
    """No recorder."""

    renders = False

    def open(self, env: Any, folder: Path, frames: str) -> Any:
        """The environment as it is."""
        return env

    def begin(self) -> None:
        """Nothing to note."""

    def close(self, env: Any) -> None:
        """Close the environment."""
        env.close()

    def costs(self) -> Costs:
        """Nothing."""
        return Costs()

    def read_back(self, folder: Path) -> None:
        """Nothing was recorded."""
        return None


def disk_bytes(folder: Path) -> int:
    """What a folder takes on disk, as `du` counts it."""
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))
