"""The whole configuration: one tree, of which `durable` decides what is recorded.

Rules:
1. Nothing here is read from the environment or a file: `config_sources` does that, once, at the edge.
2. `durable` is the only section that producers and writers get. What a viewer sets is in `ui_controls`, and there is no
   way from there to `durable`: neither section mentions the other, and `Recording` takes a `RecordConfig`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .config import RecordConfig
from .config_base import Frozen
from .config_fleet import FleetConfig
from .config_live import LiveConfig
from .config_logging import LoggingConfig
from .config_resources import ResourcesConfig
from .config_ui import UiConfig

ProfileName = Literal["auto", "minimum", "good", "more-than-enough", "none"]


class Config(Frozen):
    """Every setting of Rolltape."""

    lake: Path = Path("lake")
    """The folder of recordings; made where it does not exist. Beside your script, so that nothing is written
    elsewhere unasked."""
    preset: str = "auto"
    """Settings for a family of environments: `auto` chooses by the environment, `none` takes no preset, otherwise a
    name from `rolltape config presets`."""
    profile: ProfileName = "auto"
    """Settings for a size of machine: `auto` chooses by cores, memory and disk, `none` takes no profile."""
    fleet: FleetConfig = FleetConfig()
    durable: RecordConfig = RecordConfig()
    resources: ResourcesConfig = ResourcesConfig()
    live: LiveConfig = LiveConfig()
    ui_controls: UiConfig = UiConfig()
    logging: LoggingConfig = LoggingConfig()
