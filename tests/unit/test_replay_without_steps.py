"""A run that was reset and never stepped, or whose steps are gone, is said to be so."""

from __future__ import annotations

import shutil
from pathlib import Path

from rolltape.actors.replay import STEPLESS, replay
from rolltape.storage.lake import open_lake

RECORDED = Path(__file__).parent.parent / "golden" / "recordings" / "v1-classic_control"


def test_a_run_without_steps_is_not_replayable(tmp_path: Path) -> None:
    lake = Path(shutil.copytree(RECORDED, tmp_path / "lake"))
    for part in lake.glob("runs/*/steps/*.parquet"):
        part.unlink()
    run = open_lake(lake).run()
    report = replay(run)
    assert len(report) == len(run.episodes()) > 0
    assert (set(report.counts), set(report.reasons)) == ({"not replayable"}, {STEPLESS})
