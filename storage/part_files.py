"""Opening a part that a marker says exists: what is wrong with it is said by its name."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.errors import CorruptRecording


def open_part(path: str, *, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """A part for reading by pyarrow.

    Args:
        path: the file.
        metadata: its footer, where it is known already.

    Raises:
        FileNotFoundError: it has vanished.
        CorruptRecording: it is no Parquet file, or a damaged one.
    """
    try:
        return pq.ParquetFile(path, metadata=metadata)
    except pa.ArrowInvalid as error:
        raise CorruptRecording(
            f"{path} cannot be read: {error} Its marker says that it exists; was it damaged?"
        ) from error
