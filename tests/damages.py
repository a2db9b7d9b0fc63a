"""Ways in which files of a run are damaged, and what verify calls each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from rolltape.storage.layout import RunFolder


def first(run: RunFolder, table: str = "steps") -> Path:
    """The first part of a table."""
    return sorted(run.table(table).glob("*.parquet"))[0]


def flip(path: Path, at: int = -100) -> None:
    """Turn one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def drop_sequence(run: RunFolder) -> None:
    for name in ("steps", "episodes", "commits"):
        next(run.table(name).glob("w0.0-00000002-*")).unlink()


def copy_into_a_marked_name(run: RunFolder) -> None:
    shutil.copy(first(run, "steps"), run.table("frames") / first(run).name)


DAMAGES: list[tuple[str, Callable[[RunFolder], object]]] = [
    ("part_digest", lambda run: flip(first(run))),
    ("part_size", lambda run: first(run).write_bytes(first(run).read_bytes()[:-9])),
    ("part_size", lambda run: first(run).write_bytes(b"")),
    ("part_missing", lambda run: first(run, "episodes").unlink()),
    ("part_unlisted", copy_into_a_marked_name),
    ("part_size", lambda run: shutil.copy(sorted(run.table("steps").glob("*"))[1], first(run))),
    ("marker", lambda run: flip(sorted(run.commits.glob("*"))[0])),
    ("marker", lambda run: shutil.copy(sorted(run.commits.glob("*"))[0], sorted(run.commits.glob("*"))[2])),
    ("hole", drop_sequence),
    ("seal", lambda run: run.run_json.write_text(run.run_json.read_text().replace('"seed": 7', '"seed": 8'))),
    ("run_json", lambda run: run.run_json.write_text("{")),
    ("run_json", lambda run: run.run_json.unlink()),
    ("format", lambda run: run.run_json.write_text('{"format": 99}')),
    ("seal", lambda run: run.end_json.write_text(run.end_json.read_text().replace("18", "19"))),
    ("end_json", lambda run: run.end_json.write_text("]")),
    ("no_end", lambda run: run.end_json.unlink()),
    ("small_file", lambda run: flip(next(run.producers.glob("*.page")), 40)),
    ("small_file", lambda run: next(run.producers.glob("*.page")).unlink()),
]
"""What verify says, and what was done to the run."""
