"""The parts in C are there wherever they can be built, so that what is skipped without them is skipped nowhere else."""

from __future__ import annotations

import importlib
import os
import shutil
import sysconfig
from pathlib import Path

import pytest

from rolltape.actors import compiled_rows

COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]
BUILDS = shutil.which(os.environ.get("CC") or COMPILER) and Path(sysconfig.get_path("include"), "Python.h").exists()


@pytest.mark.skipif(
    not BUILDS or os.environ.get("ROLLTAPE_PURE", "") not in ("", "0"),
    reason="no compiler or no headers of Python here, or asked for: Python does their work then",
)
@pytest.mark.parametrize("name", ["actors._row", "actors._tape", "schema._changes"])
def test_they_are_there_where_a_compiler_is(name: str) -> None:
    importlib.import_module(f"rolltape.{name}")
    assert compiled_rows.WHY_NOT == ""


def test_a_part_built_from_another_source_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    row = pytest.importorskip("rolltape.actors._row", reason="not built: see above")
    assert compiled_rows.WHY_NOT or row.AGREEMENT == compiled_rows.AGREEMENT
    monkeypatch.setattr(row, "AGREEMENT", compiled_rows.AGREEMENT - 1)
    module, why = compiled_rows._load()
    assert module is None and "`make compiled`" in why
