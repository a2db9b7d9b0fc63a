"""Where a film cannot be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rolltape.schema.errors import StorageError
from rolltape.storage.film import write_film


@pytest.mark.parametrize("target", ["/proc/film.gif", "taken/film.gif"])
def test_a_place_that_takes_no_files(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(StorageError, match=f"^Cannot write {target}: .* Choose another file"):
        write_film(target, [np.zeros((4, 4, 3), np.uint8)], 30)
