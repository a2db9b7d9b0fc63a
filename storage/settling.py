"""The end of a run that nobody ended: its losses declared, and an `end.json` that says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .files import FileOps
from .layout import RunFolder, list_tables
from .ledger import accounts, read_losses, read_pages
from .part_files import open_part, part_errors
from .run_info import write_end_info
from .settlement import declare, durable_of, outstanding
from .summaries import newest_markers


def settle(
    run: RunFolder,
    info: Mapping[str, Any],
    end: Mapping[str, Any] | None,
    *,
    files: FileOps | None = None,
    wall_ns: Callable[[], int] = time.time_ns,
) -> str:
    """Declare what is lost of a run that is over, and write its end where it has none or one without accounts.

    Returns what was done in a sentence, empty where nothing was due.

    Raises CorruptRecording where a part that is needed is damaged, LakeNotWritable, DiskFull, StorageError.
    """
    if end is not None and end.get("reconciled"):
        return ""
    cause = "crashed" if end is None else "gave_up"
    due = outstanding(run, info, durable_of(run), cause=cause)
    if due:
        declare(run, info, due, files=files, wall_ns=wall_ns)
    write_end_info(run, {**end_of(run, info, end), "settled_ns": wall_ns()}, files=files)
    lost = sum(loss.rows or 0 for loss in due.losses if loss.table == "steps")
    unknown = any(loss.rows is None for loss in due.losses if loss.table == "steps")
    steps = "an unknown number of steps" if unknown else f"{lost:,} steps"
    what = f"{steps} and {len(due.episodes):,} open episodes declared lost" if due else "nothing more was lost"
    return f"{'its driver died' if end is None else 'it was given up'}: {what}, its end is written now"


def end_of(run: RunFolder, info: Mapping[str, Any], end: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `end.json` says of a run, counted from its parts; of `end` only what was counted stays not."""
    tables = list_tables(run)
    rows = {table: sum(_rows(str(path)) for path in paths) for table, paths in tables.items()}
    losses = read_losses(run)
    books = accounts(read_pages(run), durable_of(run), losses)
    returns, lost_episodes = _episodes(tables["episodes"])
    newest = max((marker.time_ns for marker in newest_markers(run)), default=None)
    return {
        "run_id": run.run_id,
        "env_id": info.get("env_id"),
        "status": "crashed",
        "reason": "its driver died; the accounts were settled afterwards",
        "ended_ns": newest,
        **dict(end or {}),
        "steps": rows["steps"],
        "episodes": rows["episodes"],
        "completed": len(returns),
        "frames": rows["frames"],
        "mean_return": float(pc.call_function("mean", [returns]).as_py()) if len(returns) else None,
        "lost_steps": sum(book.lost for book in books),
        "lost_episodes": lost_episodes,
        "reconciled": {
            str(book.key): {
                "produced": book.durable + book.lost if book.produced is None else book.produced,
                "durable": book.durable,
                "lost": book.lost,
                "unknown": book.unknown,
            }
            for book in books
        },
    }


def _rows(path: str) -> int:
    with open_part(path) as file:
        return file.metadata.num_rows


def _episodes(parts: list[Any]) -> tuple[pa.ChunkedArray, int]:
    chunks: list[pa.Array] = []
    lost = 0
    for path in parts:
        with part_errors(str(path)), open_part(str(path)) as file:
            table = file.read(columns=["return", "status"])
        chunks += table.filter(pc.field("status").cast("string") == "completed")["return"].chunks
        lost += table.filter(pc.field("status").cast("string") == "lost").num_rows
    return pa.chunked_array(chunks, pa.float64()), lost
