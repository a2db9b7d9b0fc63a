"""`rolltape config presets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def presets() -> None:
    """List presets and host profiles, with what each is for and which settings it has."""
    from rolltape.schema.config_presets import PROFILES, profile_of
    from rolltape.storage.configuration import configured_lake
    from rolltape.storage.configuration import presets as known
    from rolltape.storage.host import host_of

    chosen = profile_of(host_of(configured_lake())).name
    print("presets, by the environment")
    for preset in known():
        where = f", for {preset.host}" if preset.host else ""
        print(f"  {preset.name}: {', '.join(preset.matches)}{where}")
        _settings(preset.layer().values, preset.why)
    print("\nprofiles, by the machine")
    for profile in PROFILES.values():
        print(f"  {profile.name}{' (this machine)' if profile.name == chosen else ''}")
        _settings(profile.layer().values, profile.why)


def _settings(values: Mapping[str, Any], why: str) -> None:
    if why:
        print(f"    {why}")
    for path, given in sorted(values.items()):
        print(f"    {path} = {given.value}")
