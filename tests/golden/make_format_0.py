"""Makes the golden recording of on-disk format 0, once: `python -m tests.golden.make_format_0`. It is never made again.

Format 0 is what there was before markers had digests and before there was a ledger: markers name their parts with rows
alone, nothing has a digest of itself, `run.json` has no copy, and a loss had no table to be declared in.
"""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import rolltape.storage.parts as parts_module
from tests.ended_runs import ended

HERE = Path(__file__).parent / "format-0"


def make(lake: Path) -> None:
    """A lake with one run of 18 steps and 6 episodes in format 0."""
    parts_module.FORMAT = 0  # type: ignore[misc]
    run = ended(lake)
    for path in run.commits.glob("w*.json"):
        content = json.loads(path.read_text())
        parts = [{"table": p["table"], "file": p["file"], "rows": p["rows"]} for p in content["parts"]]
        kept = {k: v for k, v in content.items() if k not in ("digest", "fenced")}
        path.write_text(json.dumps({**kept, "format": 0, "parts": parts}) + "\n")
    for path in (run.run_json, run.end_json):
        content = json.loads(path.read_text())
        kept = {k: v for k, v in content.items() if k not in ("digest", "files")}
        path.write_text(json.dumps({**kept, "format": 0}, indent=2) + "\n")
    run.run_copy.unlink()
    for path in (run.run_json, *run.writers.glob("*.json")):
        path.write_text(path.read_text().replace(socket.gethostname(), "golden"))
    for name in ("ledger", "metrics", "staging", "quarantine", "frames"):
        shutil.rmtree(run.path / name, ignore_errors=True)


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    make(HERE)
