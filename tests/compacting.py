"""A compaction by hand, without the one that is tested: what a reader has to expect at any moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rolltape.storage import listing
from rolltape.storage.layout import CommitRange, RunFolder, WriterId
from rolltape.storage.markers import Marker


def compact(
    run: RunFolder, first: int, last: int, *, delete: bool, tables: Sequence[str] = ("steps", "episodes")
) -> None:
    """What a compaction does: a part over a range of commits, its marker, and later the removal of the covered."""
    covered = [CommitRange(WriterId(0, 0), n, n) for n in range(first, last + 1)]
    wide = CommitRange(WriterId(0, 0), first, last)
    for table in tables:
        paths = [run.table(table) / c.part_name for c in covered]
        pq.write_table(
            pa.concat_tables(pq.read_table(p) for p in paths if p.exists()), run.table(table) / wide.part_name
        )
    newest = Marker.from_bytes((run.commits / covered[-1].marker_name).read_bytes(), covered[-1].marker_name)
    marker = Marker(wide, newest.time_ns, watermarks=newest.watermarks)
    (run.commits / wide.marker_name).write_bytes(marker.to_bytes())
    if delete:
        for commits in covered:
            (run.commits / commits.marker_name).unlink()
        for table in tables:
            for commits in covered:
                (run.table(table) / commits.part_name).unlink(missing_ok=True)


def once_listed(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> list[int]:
    """Let something happen after the next listing of parts, before they are read; gives a list, one item a listing."""
    real, listings = listing.list_tables, list[int]()

    def list_tables(*args: object) -> dict[str, list[Path]]:
        found = real(*args)  # type: ignore[arg-type]
        listings.append(len(listings))
        if len(listings) == 1:
            happens()
        return found

    monkeypatch.setattr(listing, "list_tables", list_tables)
    return listings
