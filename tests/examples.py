"""How many examples a property gets: few in `make test`, ten times as many under `--hypothesis-profile=long`."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

USUAL = 30
MORE = 10


def register_profiles() -> None:
    """Make both profiles known and load the quick one.

    A busy machine is no failure of a property. The quick run has the same examples every time, so that it fails for
    what was changed and nothing else; the long run looks for new ones.
    """
    settings.register_profile("quick", deadline=None, derandomize=True, max_examples=USUAL)
    settings.register_profile("long", deadline=None, max_examples=USUAL * MORE)
    settings.load_profile("quick")


def examples(quick: int, **others: Any) -> settings:
    """Settings of a property whose examples cost more or less than usual."""
    return settings(max_examples=quick * (MORE if settings.get_current_profile_name() == "long" else 1), **others)
