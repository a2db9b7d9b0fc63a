"""What `render()` drew last for the recording, kept for those who watch, so that nothing is drawn twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class LastRender:
    """Calls `render`; from `keep()` on it holds what that gave until the next call.

    Args:
        render: of the environment, as it is recorded.

    Attributes:
        picture: what was drawn last: an array, or one for each sub-environment; None: nothing since `keep()`.
    """

    def __init__(self, render: Callable[[], Any]) -> None:
        self._render = render
        self._keeps = False
        self.picture: Any = None

    def __call__(self) -> Any:
        """Draw."""
        self.picture = None  # the one before goes first, so that there are never two
        drawn = self._render()
        if self._keeps:
            self.picture = drawn
        return drawn

    def keep(self) -> None:
        """Somebody watches."""
        self._keeps = True
