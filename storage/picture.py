"""One recorded picture: an array that a notebook shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .viewing import painter


class Picture(np.ndarray):
    """An array of a picture. A view or part of it is one too; what is calculated from it is a plain array or number."""

    @classmethod
    def of(cls, array: np.ndarray) -> Picture:
        """The same memory."""
        return array.view(cls)

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """What a calculation gives."""
        return array[()] if return_scalar else array.view(np.ndarray)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled as a plain array: who unpickles it needs NumPy alone."""
        return self.view(np.ndarray).__reduce_ex__(protocol)

    def _repr_png_(self) -> bytes | None:
        """As PNG, without loss; None for an array that is no picture."""
        return painter().picture_png(self.view(np.ndarray))
