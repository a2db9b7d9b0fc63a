"""Where something lies inside a space: the keys and indices that lead there."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

Path: TypeAlias = tuple[Hashable, ...]
"""Dict keys and Tuple or OneOf indices, outermost first; an Ellipsis stands for any element of a Sequence or
Graph."""


def show_path(path: Path) -> str:
    """As one would write it in Python: `value['camera'][0]`, and `[…]` for any element."""
    return "value" + "".join("[…]" if key is ... else f"[{key!r}]" for key in path)
