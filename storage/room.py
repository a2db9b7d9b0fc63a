"""Whether a lake can be written to at all."""

from __future__ import annotations

import os
from pathlib import Path

from rolltape.schema.errors import DiskFull, LakeNotWritable

MIN_FREE_BYTES = 64 << 20


def check_room(root: Path) -> None:
    """Make the lake `root` where there is none. Raises LakeNotWritable or DiskFull where nothing could be recorded."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "a file has that name" if isinstance(error, FileExistsError) else error.strerror or str(error)
        if isinstance(error, NotADirectoryError):
            why = f"{next(p for p in root.parents if p.is_file())} is a file"
        raise LakeNotWritable(f"Cannot make the lake {root}: {why}. Choose another folder.") from error
    room = os.statvfs(root)
    if not os.access(root, os.W_OK | os.X_OK):
        why = "its disk is mounted read-only" if room.f_flag & os.ST_RDONLY else "this user may not"
        raise LakeNotWritable(f"Cannot write into the lake {root}: {why}. Choose another folder, or change that.")
    free = room.f_bavail * room.f_frsize
    if free < MIN_FREE_BYTES:
        raise DiskFull(
            f"No room in the lake {root}: its disk has {free >> 20} MiB free, and a recording needs at least "
            f"{MIN_FREE_BYTES >> 20} MiB to start. Free some, or choose another folder."
        )
