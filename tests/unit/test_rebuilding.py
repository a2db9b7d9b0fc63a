"""When a lost marker may be made again from the parts of its commit."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rolltape.schema.errors import CorruptRecording, StorageError
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.storage.files import FileOps
from rolltape.storage.lake import open_lake
from rolltape.storage.layout import CommitRange, RunFolder, WriterId
from rolltape.storage.markers import FragmentRange, Marker
from rolltape.storage.rebuilding import _counted, _held, mend_newest
from rolltape.storage.repair import repair_run

from .test_repair import ended


def a_marker(*fragments: tuple[int, int, int, int]) -> Marker:
    return Marker(CommitRange(WriterId(0, 0), 1, 1), 0, fragments=tuple(FragmentRange(*one) for one in fragments))


@pytest.mark.parametrize(
    ("fragment", "held"),
    [((3, 0, 2, 2), "p3.0"), ((3, 0, 5, 7), ""), ((3, 0, 4, 5), "p3.0"), ((3, 0, 9, 12), "p3.0"), ((3, 1, 2, 2), "")],
)
def test_each_range_of_a_compaction_is_looked_at(fragment: tuple[int, int, int, int], held: str) -> None:
    """Two ranges of one producer: what is between them went to another writer. Only the last was looked at."""
    assert (
        _held(a_marker((3, 0, 1, 4), (4, 0, 1, 9), (3, 0, 8, 9)), [a_marker((5, 0, 1, 9)), a_marker(fragment)]) == held
    )


class Unreadable(FileOps):
    """Parts of some tables cannot be opened."""

    def __init__(self, error: BaseException, *tables: str) -> None:
        self._error, self._tables = error, tables

    def open(self, path: Path) -> pa.NativeFile:
        if path.parent.name in self._tables:
            raise self._error
        return super().open(path)


def torn(lake: Path) -> tuple[RunFolder, Path]:
    """A run that ended, and its newest marker, which is torn."""
    run = ended(lake)
    newest = max(run.commits.iterdir())
    newest.write_bytes(newest.read_bytes()[:50])
    return run, newest


PASSING = [OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.ENOMEM, errno.EIO, errno.EACCES)]


@pytest.mark.parametrize("error", [*PASSING, pa.ArrowMemoryError("malloc of size 64 failed")], ids=str)
@pytest.mark.parametrize("tables", [("steps",), ("frames", "steps", "logs", "episodes")], ids=len)
def test_a_part_that_cannot_be_read_at_the_moment_is_not_damaged(
    tmp_path: Path, error: BaseException, tables: tuple[str, ...]
) -> None:
    """It was: repair declared its rows as gone, and a writer that started put the commit into quarantine."""
    run, newest = torn(tmp_path)
    before = newest.read_bytes()
    for mend in (lambda files: mend_newest(run, durable=True, files=files), lambda files: repair_run(run, files=files)):
        with pytest.raises(StorageError, match=r"cannot be read at the moment: .*[a-z]\. That does not say") as found:
            mend(Unreadable(error, *tables))
        assert not isinstance(found.value, CorruptRecording)
        assert newest.read_bytes() == before
        assert not any(run.quarantine.glob("*"))
    assert mend_newest(run, durable=True) == (newest.name,)


@pytest.mark.parametrize("error", [pa.ArrowInvalid("magic bytes"), OSError("CRC"), IsADirectoryError(errno.EISDIR, "")])
def test_a_part_whose_content_is_wrong_is_damaged(tmp_path: Path, error: BaseException) -> None:
    run, newest = torn(tmp_path)
    assert mend_newest(run, durable=True, files=Unreadable(error, "steps")) == (newest.name,)


def test_a_part_that_only_pyarrow_reads_is_damaged(tmp_path: Path) -> None:
    """Found by mutations (seed 2344): no CRC is of a page's header. The marker vouched for a part that SQL refuses."""
    run, newest = torn(tmp_path)
    part = run.table("episodes") / newest.with_suffix(".parquet").name
    whole = part.read_bytes()
    for at in range(pq.read_metadata(part).row_group(0).column(0).data_page_offset, len(whole)):
        part.write_bytes(whole[:at] + bytes([whole[at] ^ 32]) + whole[at + 1 :])
        in_arrow = reads(lambda: pq.ParquetFile(part, page_checksum_verification=True).read())
        if in_arrow and not reads(lambda: duckdb.sql(f"SELECT max(hash(part)) FROM '{part}' part").fetchall()):
            break
    else:
        pytest.fail("no byte between pages that pyarrow ignores and DuckDB does not")
    assert mend_newest(run, durable=False) == (), "all of its parts have to be whole"
    report = repair_run(run)
    assert [loss.table for loss in report.losses] == ["episodes"]
    lake = open_lake(tmp_path)
    assert (len(lake.run().steps().to_dicts()), len(lake.run().episodes().to_dicts())) == (18, 4)


def reads(read: Callable[[], object]) -> bool:
    try:
        read()
    except (duckdb.Error, pa.ArrowException, OSError, ValueError):
        return False
    return True


def test_fragments_without_a_watermark_are_a_finding() -> None:
    """It was a KeyError, which ended a repair."""
    marker = a_marker((3, 0, 2, 2), (4, 1, 1, 5), (4, 1, 7, 8))
    with pytest.raises(CorruptRecording, match=r"it has fragments of p3\.0, p4\.1, and no watermark of them"):
        _counted(marker, {}, {ProducerKey(3, 0): 5, ProducerKey(4, 1): 7})
    marks = {ProducerKey(3, 0): Watermark(2, 5, 0)}
    assert _counted(
        Marker(marker.commits, 0, fragments=marker.fragments[:1], watermarks=marks), {}, {ProducerKey(3, 0): 5}
    )
