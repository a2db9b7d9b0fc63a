"""Rows that keep digests of observed pictures (`RunSchema.of_rows`): what is stepped is digested on its way to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rolltape.schema.picture_digest import picture_digest, picture_digests

from .single_rows import SingleRows
from .vector_rows import VectorRows


class SingleDigests:
    """Stands before `SingleRows`; the rest is theirs."""

    def __init__(self, rows: SingleRows) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def reset(self, observation: Any, *rest: Any) -> bool:
        """As `SingleRows.reset`."""
        return self._rows.reset(picture_digest(observation), *rest)

    def step(self, action: Any, observation: Any, *rest: Any) -> bool:
        """As `SingleRows.step`."""
        return self._rows.step(action, picture_digest(observation), *rest)


class VectorDigests:
    """Stands before `VectorRows`; the rest is theirs."""

    def __init__(self, rows: VectorRows) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def reset(self, observations: Any, infos: dict[str, Any], **rest: Any) -> bool:
        """As `VectorRows.reset`."""
        return self._rows.reset(picture_digests(observations), infos, **rest)

    def step(
        self,
        actions: Any,
        observations: Any,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        infos: dict[str, Any],
        **rest: Any,
    ) -> bool:
        """As `VectorRows.step`."""
        if (final := infos.get("final_obs")) is not None:
            digests = np.full(len(final), None, object)
            for place, picture in enumerate(final):
                if picture is not None:
                    digests[place] = picture_digest(picture)
            infos = {**infos, "final_obs": digests}
        seen = picture_digests(observations)
        return self._rows.step(actions, seen, rewards, terminated, truncated, infos, **rest)
