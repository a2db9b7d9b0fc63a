"""Rolltape itself, as files that a job brings along: the cluster runs the version that checked the configuration.

A wheel would be installed by pip on every node, with everything that it needs, in whatever versions are the newest: a
minute a node, and another Ray than the cluster's. The same files as a module folder are on the path at once.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

import rolltape

LAYERS: Final = ("schema", "storage", "actors", "dashboards", "scripts")
LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "node_modules")


def pack(folder: Path) -> Path:
    """Copy the package, wherever its parts lie, to `folder`/rolltape; that path."""
    target = folder / "rolltape"
    source = Path(rolltape.__file__).parent
    shutil.copytree(source, target, ignore=LEFT_OUT)
    for layer in LAYERS:
        found = importlib.util.find_spec(f"rolltape.{layer}")
        places = list(found.submodule_search_locations or ()) if found is not None else []
        if places and not (target / layer).exists():  # an editable install has them beside, a wheel inside
            shutil.copytree(places[0], target / layer, ignore=LEFT_OUT)
    return target
