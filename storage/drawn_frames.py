"""Pictures that are not stored: whoever opens a lake may bring a renderer that draws them when they are asked for.

The storage does not know how: it says which picture it wants, and gets it or an error that says why there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rolltape.schema.frame_layout import FrameLayout
from rolltape.schema.render_payload import RenderPayload

from .frame_store import Frames

if TYPE_CHECKING:
    from .runs import Run


class Renderer(Protocol):
    """Draws pictures of recorded episodes. Threads may share it."""

    def pictures(self, run: Run, episode: int, kind: str | None) -> int:
        """How many there are of an episode: one more than its steps. Raises ReplayFailed where it cannot be drawn."""
        ...

    def picture(self, run: Run, episode: int, t: int, kind: str | None) -> np.ndarray:
        """The picture seen before step `t`, in memory of its own. Raises LakeNotFound outside the episode."""
        ...

    def payload(self, run: Run, episode: int, t: int) -> RenderPayload | None:
        """What stands for the look before step `t`. Raises LakeNotFound outside the episode, or ReplayFailed."""
        ...

    def close(self) -> None:
        """Let go of what it draws with; it is made again when something is asked for."""
        ...


class DrawnFrames(Frames):
    """The pictures of one episode, drawn while they are read. The first is drawn at once, to know the shape."""

    def __init__(
        self, renderer: Renderer, run: Run, episode: int, kind: str | None, t: np.ndarray | None = None
    ) -> None:
        self._renderer, self._run, self._number, self._kind = renderer, run, episode, kind
        self.t = np.arange(renderer.pictures(run, episode, kind)) if t is None else t
        first = renderer.picture(run, episode, int(self.t[0]), kind)
        self.layout = FrameLayout(str(first.dtype), first.shape)

    def batches(self) -> Iterator[np.ndarray]:
        """The pictures, (1, *shape) each."""
        for t in self.t.tolist():
            yield self._renderer.picture(self._run, self._number, t, self._kind)[np.newaxis]

    def _between(self, first: int, stop: int) -> Any:
        return DrawnFrames(self._renderer, self._run, self._number, self._kind, self.t[first:stop])
