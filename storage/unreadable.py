"""What keeps a file from being read: its content, or the machine at this moment. One answer for all who read parts.

Rules:
1. pyarrow says of wrong content that it is invalid, or raises an OSError without a number. Some numbers are about the
   file itself: it is a folder, or a damaged footer leads to a place that no file has.
2. Any other number (too many open files, no memory, a disk that does not answer, no permission), no memory, and a read
   that was cancelled say nothing of the content: UnreadableNow. Nobody declares, moves or makes anything because of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa

from rolltape.schema.errors import CorruptRecording, UnreadableNow

OF_THE_FILE: Final = frozenset({None, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EINVAL})
"""Numbers of an OSError that is about a file itself."""

TRY_AGAIN: Final = "Try again when there are free files and memory and the disk answers."
NO_RIGHT: Final = "Give this user the right to read it, or try as the one who owns the lake."
TO_DO: Final[dict[int | None, str]] = {
    errno.EIO: "Try again; where it stays so the disk is failing: copy the lake to another disk, without this file, "
    "and `rolltape repair` the run there, which declares what is lost.",
    errno.EACCES: NO_RIGHT,
    errno.EPERM: NO_RIGHT,
}
"""By the number of an OSError."""


def is_passing(error: BaseException) -> bool:
    """Whether an error of reading says nothing of the content (rule 2)."""
    if isinstance(error, MemoryError | pa.ArrowCancelled | UnreadableNow):
        return True
    return isinstance(error, OSError) and error.errno not in OF_THE_FILE


def unreadable_now(path: str | Path, error: BaseException) -> UnreadableNow:
    """What to say of a file that cannot be read at the moment."""
    if isinstance(error, UnreadableNow):
        return error
    said = " ".join(str(error).split()) or type(error).__name__
    return UnreadableNow(
        f"{path} cannot be read at the moment: {said.rstrip('.')}. That does not say that it is damaged, so nothing "
        f"was done with it. {TO_DO.get(getattr(error, 'errno', None), TRY_AGAIN)}"
    )


def check_free_file() -> None:
    """Raise UnreadableNow where this process may open no further file: DuckDB, started then, aborts the process.

    A look of some microseconds. Another thread may take the last one after it.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        raise unreadable_now("The lake", error) from error


@contextmanager
def content_errors(path: str | Path, damaged: Callable[[str], str]) -> Iterator[None]:
    """Raise CorruptRecording for wrong content, with what `damaged` makes of the error's text, and UnreadableNow for
    what passes. FileNotFoundError goes through: a part may have been compacted.

    A ValueError is of the content, too: names of columns in a footer may be no text any more.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, MemoryError, pa.ArrowException, ValueError) as error:
        if is_passing(error):
            raise unreadable_now(path, error) from error
        raise CorruptRecording(damaged(" ".join(str(error).split()))) from error
