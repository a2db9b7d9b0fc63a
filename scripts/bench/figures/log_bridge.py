"""Lines of a program that become rows of the table `logs`, on one core: bytes in, Arrow batches out."""

from __future__ import annotations

import time

from rolltape.schema.log_bridge import LineSplitter, LogBridge
from rolltape.schema.log_rows import LineRows, line_batch
from rolltape.scripts.bench.figure import Figure, FigureOrder

TITLE = "lines a second that the log bridge parses on one core"
CHUNK_BYTES = 64 << 10
BATCH_ROWS = 10_000
RUN_ID = "01K00000000000000000000000"


def measure(order: FigureOrder) -> list[Figure]:
    """The best of three passes each over plain and over structured lines, by CPU time."""
    lines = 2_000 if order.quick else 200_000
    found = []
    for name, line in (
        ("plain", "epoch {k} loss 0.1234 reward 200"),
        ("structured", 'LOG1003 | update {k} | extra={{"loss": 0.1234, "step": {k}, "kind": "ppo"}}'),
    ):
        data = "".join(line.format(k=k) + "\n" for k in range(lines)).encode()
        seconds = min(_parse(data) for _ in range(3))
        title = f"log bridge, {name} lines"
        found.append(Figure(f"bridge.{name}", title, lines / seconds, "lines/s", f"{lines:,} lines, CPU time"))
    return found


def _parse(data: bytes) -> float:
    splitter, bridge, rows = LineSplitter(), LogBridge(), LineRows()
    began = time.process_time()
    for at in range(0, len(data), CHUNK_BYTES):
        bridge.parse(splitter.feed(data[at : at + CHUNK_BYTES]), "stdout", 1, rows)
        if len(rows.codes) >= BATCH_ROWS:
            line_batch(rows, RUN_ID, 1, "train.py", 1)
            rows = LineRows()
    line_batch(rows, RUN_ID, 1, "train.py", 1)
    return time.process_time() - began
