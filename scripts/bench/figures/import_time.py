"""`import rolltape` in a fresh interpreter, with warm file caches."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from rolltape.scripts.bench.figure import Figure, FigureOrder

TITLE = "seconds that `import rolltape` takes"
PROGRAM = "import time; at = time.perf_counter(); import rolltape; print(time.perf_counter() - at)"


def measure(order: FigureOrder) -> list[Figure]:
    """The median of fresh interpreters, and of the face with everything that `record` needs."""
    times = 3 if order.quick else 15
    recording = PROGRAM.replace("rolltape;", "rolltape; rolltape.record;")
    found = []
    for name, title, program in (
        ("import.seconds", "import rolltape", PROGRAM),
        ("import.record", "import rolltape, rolltape.record", recording),
    ):
        seconds = [_run(program) for _ in range(times)]
        detail = f"median of {times} fresh interpreters, {min(seconds):.3g} to {max(seconds):.3g} s"
        found.append(Figure(name, title, median(seconds), "s", detail))
    return found


def _run(program: str) -> float:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)
