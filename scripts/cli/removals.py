"""What was deleted, or would be, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .output import console

if TYPE_CHECKING:
    from rolltape.storage.upkeep import Removal


def show_removals(found: Sequence[Removal], *, done: bool) -> None:
    """One line each, and the sum."""
    for one in found:
        waits = f", after {one.waits_s:.0f} s" if one.waits_s and not done else ""
        console().print(f"{one.path}  {one.bytes:,} bytes  ({one.why}{waits})")
    total = sum(one.bytes for one in found)
    if not found:
        console().print("Nothing to delete.")
    elif done:
        console().print(f"Deleted: {total:,} bytes.")
    else:
        console().print(f"{total:,} bytes would go. Nothing was deleted; --yes does it.")
