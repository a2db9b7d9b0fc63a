"""How fast a writer encodes, on one core: the parts of a commit in memory, digest included, the disk left out.

What is encoded was recorded just before and read back, cut into commits of the default size, pictures as a producer
sends them: what changed since the last one. Rates are by processor time, which neighbours on the machine disturb
least; the process is held to one core.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

import rolltape as rt
from rolltape.schema.config import CommitConfig, FragmentConfig
from rolltape.schema.picture_changes import ChangeWriter, sizes_of
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.scripts.bench.workloads import breakout
from rolltape.storage.layout import CommitRange, WriterId
from rolltape.storage.parts import encode_part

from .recordings import record_pictures, record_steps

TITLE = "rows that a writer encodes a second on one core: Breakout frames, CartPole steps"


def measure(order: FigureOrder) -> list[Figure]:
    """Record, read back, and encode on one core."""
    lake, part = Path(order.folder), 100 if order.quick else 1
    pictures, _ = record_pictures(breakout.make_single, "observation", 4_000 // part, lake)
    rows = record_steps(4_000_000 // part, lake)
    loaded = {table: _commits(lake, run, table) for run, table in ((pictures, "frames"), (rows, "steps"))}
    ray.shutdown()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    seconds = 0.5 if order.quick else 10.0
    return [
        _encode("frames", loaded["frames"], "Breakout frames encoded", "frames/s a core", seconds),
        _encode("steps", loaded["steps"], "CartPole steps encoded", "rows/s a core", seconds),
    ]


def _commits(lake: Path, run_id: str, table: str) -> list[list[pa.RecordBatch]]:
    """The rows of a table as the fragments of commits, of the default sizes."""
    whole = pa.concat_tables(pq.read_table(part) for part in rt.parts(lake, run_id, table)).combine_chunks()
    row_bytes = whole.nbytes / whole.num_rows
    rows = max(1, int(FragmentConfig().max_bytes / row_bytes))
    fragments = [whole.slice(at, rows).combine_chunks().to_batches()[0] for at in range(0, whole.num_rows, rows)]
    if table == "frames":
        fragments = [_as_sent(fragment) for fragment in fragments]
    together = CommitConfig().max_bytes // FragmentConfig().max_bytes
    return [fragments[at : at + together] for at in range(0, len(fragments), together)]


def _as_sent(fragment: pa.RecordBatch) -> pa.RecordBatch:
    """The pictures of one environment, as a producer sends them."""
    place, values = fragment.schema.get_field_index("data"), fragment.column("data")
    nbytes = len(values[0].as_buffer())
    writer, room, sent = ChangeWriter(1, nbytes), np.empty(nbytes, np.uint8), []
    for value in values:
        sent.append(room[: writer.write(0, np.frombuffer(value.as_buffer(), np.uint8), room, 0)].tobytes())
    return fragment.set_column(place, fragment.schema.field(place), pa.array(sent, values.type))


def _encode(table: str, commits: list[list[pa.RecordBatch]], title: str, unit: str, seconds: float) -> Figure:
    rows = size = raw = 0
    at, cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - at < seconds:
        for number, batches in enumerate(commits, 1):
            part = encode_part(table, batches, run_id="bench", commits=CommitRange(WriterId(0, 1), number, number))
            rows, size = rows + part.rows, size + len(part.data)
            raw += sum(int(sizes_of(pa.table(batch)).sum()) if table == "frames" else batch.nbytes for batch in batches)
    cpu_s = time.process_time() - cpu_s
    speed = raw / cpu_s / 2**20
    detail = f"{rows:,} in {cpu_s:.1f} s of processor time, {speed:,.0f} MiB/s, {size / rows:.3g} bytes each"
    return Figure(f"writer.{table}", title, rows / cpu_s, unit, detail)
