"""Pictures of a vector environment on their way into the open fragment: which are kept, and when they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.frame_layout import FrameLayout
from rolltape.schema.run_schema import RunSchema

from .frame_rows import FrameRows, SealedFrames
from .inside import Inside

Pictures = Callable[[], Sequence[Any]]
"""Draws the renders of all sub-environments."""


class VectorPictures:
    """Observed pictures and renders of all sub-environments.

    Args:
        schema: what of them is recorded.
        num_envs: how many sub-environments there are.
        max_bytes: of a fragment.
        episode, t: of each sub-environment now; the arrays are kept, and changed by who owns them.

    Attributes:
        wanted: whether any are recorded.
    """

    def __init__(self, schema: RunSchema, num_envs: int, max_bytes: int, episode: np.ndarray, t: np.ndarray) -> None:
        self._schema, self._n, self._max_bytes = schema, num_envs, max_bytes
        self._episode, self._t = episode, t
        self._rows: dict[str, FrameRows] = {}
        self._before = 0
        self.wanted = schema.layout is not None or schema.renders

    @property
    def total(self) -> int:
        """Pictures recorded since the start."""
        return self._before + sum(rows.rows for rows in self._rows.values())

    @property
    def begun(self) -> bool:
        """Whether there was one since the start."""
        return bool(self._rows)

    @property
    def full(self) -> bool:
        """Whether the next step might not find room."""
        return any(rows.full for rows in self._rows.values())

    @property
    def nbytes(self) -> int:
        """Bytes of those in the open fragment."""
        return sum(rows.nbytes for rows in self._rows.values())

    def seal(self) -> list[SealedFrames]:
        """Take out those of the open fragment."""
        self._before = self.total
        return [sealed for rows in self._rows.values() if (sealed := rows.seal()) is not None]

    def check(self, observations: Any) -> None:
        """Raises SchemaMismatch where batched observations are not as many pictures of one kind as are expected."""
        if self._schema.layout is None:
            return
        if len(observations) != self._n:
            raise SchemaMismatch(f"expected pictures of {self._n} sub-environments, found {len(observations)}.")
        self.check_one(np.asarray(observations[0]))

    def check_one(self, picture: np.ndarray) -> None:
        """Raises SchemaMismatch where an observed picture has another shape or dtype."""
        layout = self._schema.layout
        if layout is not None and (picture.shape != layout.shape or picture.dtype != layout.dtype):
            raise SchemaMismatch(
                f"expected a picture {layout.dtype}{list(layout.shape)}, found {picture.dtype}{list(picture.shape)}."
            )

    def see(self, places: np.ndarray, observations: Any, pictures: Pictures | None, *, last: bool = False) -> None:
        """Keep what is seen now in `places`. `last`: episodes end there, and every such render is kept."""
        if self._schema.layout is not None:
            for place in places.tolist():
                self._picture("observation", place, np.asarray(observations[place]))
        if pictures is None:
            return
        wanted = places if last else places[self._t[places] % self._schema.every == 0]
        if len(wanted):
            rendered = pictures()
            for place in wanted.tolist():
                self._picture("render", place, np.asarray(rendered[place]))

    def see_last(self, places: np.ndarray, infos: dict[str, Any], inside: Inside | None) -> None:
        """The pictures of the ends of episodes under SAME_STEP."""
        final = infos.get("final_obs")
        for place in places.tolist():
            if self._schema.layout is not None and final is not None and final[place] is not None:
                self._picture("observation", place, np.asarray(final[place]))
            if self._schema.renders and inside is not None:
                self._picture("render", place, np.asarray(inside.last_picture(place)))

    def _picture(self, kind: str, place: int, picture: np.ndarray) -> None:
        rows = self._rows.get(kind)
        if rows is None:
            layout = self._schema.layout if kind == "observation" else None
            layout = layout or FrameLayout(str(picture.dtype), picture.shape)
            rows = self._rows[kind] = FrameRows(self._schema, kind, layout, self._n, self._max_bytes)
        rows.add(place, int(self._episode[place]), int(self._t[place]), picture)


def once(pictures: Pictures) -> Pictures:
    """The same pictures, drawn when they are first asked for."""
    drawn: list[Sequence[Any]] = []

    def draw() -> Sequence[Any]:
        if not drawn:
            drawn.append(pictures())
        return drawn[0]

    return draw
