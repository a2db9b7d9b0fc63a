"""Modules that a user names on a command line: found as a script in the working directory would find them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def import_module(name: str) -> ModuleType:
    """Import a module, one beside the user first. Raises whatever the import raises."""
    search_here()
    return importlib.import_module(name)


def search_here() -> None:
    """Let the working directory be searched for modules, as it is for `python -m` and not for an installed command."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
