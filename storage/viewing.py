"""The way from a recording to what shows it: notebooks ask a run for a plot, and `dashboards/` draws it.

Arrows point one way, so the storage knows the painter by its import name alone, and loads it when something is shown.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

PAINTER: Final = "rolltape.dashboards.notebook"


def painter() -> Any:
    """The module `dashboards/notebook.py`."""
    return importlib.import_module(PAINTER)
