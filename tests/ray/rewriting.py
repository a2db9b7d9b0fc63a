"""Recordings that are changed in one place after they were made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def change(lake: Path, table: str, column: str, where: dict[str, int], edit: Callable[[Any], Any]) -> None:
    """Change one value of one row in the parts of the only run."""
    changed = 0
    for path in (lake / "runs").glob(f"*/{table}/*.parquet"):
        rows = pq.read_table(path)
        fits = np.all([rows[key].to_numpy() == value for key, value in where.items()], axis=0)
        if not fits.any():
            continue
        place = rows.column_names.index(column)
        values = [edit(v) if fit else v for v, fit in zip(rows[column].to_pylist(), fits, strict=True)]
        field = rows.schema.field(column)
        pq.write_table(rows.set_column(place, field, pa.array(values, field.type)), path)
        changed += int(fits.sum())
    assert changed == 1


def drop(lake: Path, table: str, fits: Callable[[pa.Table], np.ndarray]) -> None:
    """Take rows out of the parts of the only run."""
    dropped = 0
    for path in (lake / "runs").glob(f"*/{table}/*.parquet"):
        rows = pq.read_table(path)
        gone = fits(rows)
        pq.write_table(rows.filter(pa.array(~gone)), path)
        dropped += int(gone.sum())
    assert dropped
