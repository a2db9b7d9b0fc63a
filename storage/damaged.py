"""Which part is damaged: asked when a query fails and its error names no file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rolltape.schema.errors import CorruptRecording, LakeNotFound

from .files import FileOps
from .layout import PART_SUFFIX, CommitRange
from .listing import LakeListing
from .markers import read_marker
from .part_checks import digest_of_file
from .unreadable import is_passing, unreadable_now

LOOK_BYTES: Final = 4 << 30
"""How much is read in search of it, at one to two GB a second and core."""


def first_damaged(listing: LakeListing) -> Path | None:
    """The first part, newest run first, whose bytes are not what its marker says; None where the newest `LOOK_BYTES`
    have none. Raises UnreadableNow where one cannot be read at the moment."""
    left = LOOK_BYTES
    for run_id in reversed(listing.run_ids()):
        folder = listing.folder(run_id)
        try:
            tables = listing.tables(run_id)
        except LakeNotFound:  # deleted a moment ago
            continue
        for path in (Path(part) for parts in tables.values() for part in parts):
            commits = CommitRange.parse(path.name, PART_SUFFIX)
            assert commits is not None  # the listing has nothing else
            try:
                if (left := left - path.stat().st_size) < 0:
                    return None
                marker = read_marker(folder, commits, FileOps())
                entry = next((p for p in marker.parts if folder.path / p.file == path), None)
                whole = entry is None or (path.stat().st_size == entry.bytes and digest_of_file(path) == entry.digest)
            except FileNotFoundError:  # compacted a moment ago
                continue
            except CorruptRecording:
                return path
            except OSError as error:
                if is_passing(error):
                    raise unreadable_now(path, error) from error
                return path
            if not whole:
                return path
    return None
