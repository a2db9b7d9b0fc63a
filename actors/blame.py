"""What somebody else's code raised, in one line that names the place in it."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent.parent
LIBRARIES = ("site-packages", "dist-packages", str(Path(sys.base_prefix) / "lib"))


def said(error: BaseException) -> str:
    """`ValueError: no such track (envs/tracks.py:17, in load)`: kind, message and place.

    The place is the innermost line of the user's own code, and where none is theirs, the innermost of all.
    """
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {text}{place_of(error)}" if text else f"{kind}{place_of(error)}"


def place_of(error: BaseException) -> str:
    """` (file:line, in function)`, or nothing where the error has no traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    theirs = [frame for frame in frames if not _is_library(frame.filename)]
    found = (theirs or frames)[-1]
    return f" ({_short(found.filename)}:{found.lineno}, in {found.name})"


def full(error: BaseException) -> str:
    """The whole traceback, for those who want it."""
    return "".join(traceback.format_exception(error)).rstrip()


def cause_of_death(error: BaseException) -> str:
    """A sentence on how its process ended, as far as Ray knows."""
    text = str(error)
    if "SYSTEM_ERROR" in text or "unexpectedly" in text:
        return "Its process crashed in native code (then it said so on stderr) or was killed, as for want of memory."
    told = [line.strip() for line in text.splitlines() if "The actor is dead" in line]
    return told[-1] if told else f"{first_line(error).rstrip('.')}."


def why_stopped(error: BaseException) -> str:
    """Why a run ended early, in words."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by the user"
    return "terminated" if isinstance(error, SystemExit) else said(error)


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _is_library(filename: str) -> bool:
    ours = Path(filename).is_relative_to(HERE) and not Path(filename).is_relative_to(HERE / "tests")
    return ours or filename.startswith("<frozen") or any(part in filename for part in LIBRARIES)


def _short(filename: str) -> str:
    path = Path(filename)
    for folder in LIBRARIES[:2]:
        if folder in path.parts:
            return str(Path(*path.parts[path.parts.index(folder) + 1 :]))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
