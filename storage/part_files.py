"""Opening a part that a marker says exists: what is wrong with it is said by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow.parquet as pq

from .unreadable import content_errors


def open_part(path: str, *, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """A part for reading by pyarrow.

    Args:
        path: the file.
        metadata: its footer, where it is known already.

    Raises:
        FileNotFoundError: it has vanished.
        CorruptRecording: it is no Parquet file, or a damaged one.
        UnreadableNow: it may be whole.
    """
    with part_errors(path):
        return pq.ParquetFile(path, metadata=metadata, page_checksum_verification=True)


@contextmanager
def part_errors(path: str) -> Iterator[None]:
    """What pyarrow says of a part that cannot be read, as CorruptRecording or UnreadableNow (unreadable.py).

    FileNotFoundError passes: the part has vanished.
    """
    with content_errors(
        path,
        lambda said: (
            f"{path} cannot be read: {said} Its marker says that it exists; was it damaged? `rolltape verify` says "
            "what else is, `rolltape repair` puts it aside."
        ),
    ):
        yield
