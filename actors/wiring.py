"""The variables by which a recorder inside a supervised program finds the run that it is to join."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

RUN: Final = "ROLLTAPE__RUN"
LAKE: Final = "ROLLTAPE__LAKE"


class Wiring(NamedTuple):
    """A run that is there, and its lake."""

    run_id: str
    lake: str

    def variables(self) -> dict[str, str]:
        """For the program's environment."""
        return {RUN: self.run_id, LAKE: self.lake}


def wiring(environment: Mapping[str, str] = os.environ) -> Wiring | None:
    """The run to join; None where this process is nobody's program."""
    run_id, lake = environment.get(RUN), environment.get(LAKE)
    return Wiring(run_id, lake) if run_id and lake else None
