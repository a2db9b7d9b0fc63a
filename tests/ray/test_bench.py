"""The benchmarks run: a smoke run of the cheapest workload, in processes and with a Ray of its own."""

import csv
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from rolltape.scripts.bench.comparison import Comparison
from rolltape.scripts.bench.orders import Outcome
from rolltape.scripts.bench.tables import COLUMNS


@pytest.mark.long  # starts a Ray of its own beside those of the other tests, which two cores cannot always do in 30 s
@pytest.mark.timeout(300)
def test_a_quick_run_gives_the_whole_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rolltape.scripts.bench", "--quick", "--only", "W1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    for column in COLUMNS:
        assert column.title in done.stdout
    folder = tmp_path / "quick"

    with (folder / "runs.csv").open(newline="") as file:
        bare, recorded = csv.DictReader(file)
    assert list(bare) == [field.name for field in fields(Outcome)]
    assert (bare["recorder"], recorded["recorder"]) == ("bare", "rolltape")
    # The same steps were taken, and all of them were read back.
    assert bare["calls"] == recorded["calls"] == recorded["stored_rows"]
    assert bare["episodes"] == recorded["episodes"] != "0"
    assert int(recorded["stored_bytes"]) > 0
    assert float(recorded["writer_cpu_s"]) > 0

    with (folder / "comparisons.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    empty = {name for name, value in row.items() if value == ""}
    assert list(row) == [field.name for field in fields(Comparison)]
    assert empty == {"bytes_per_frame"}
    assert not list(folder.rglob("recording")), "recordings are removed"
    assert "| W1 | rolltape |" in (folder / "benchmarks.md").read_text()
