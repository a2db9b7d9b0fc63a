"""Numbers of a recording as lines of a plot: scalar columns out of nested ones, and fewer points than rows.

Where points are left out, each stretch keeps its smallest and its largest value in the order in which they came: a peak
of one step is seen at any zoom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

COMPONENTS = 16
"""So many numbers of an array become lines of their own."""


def scalar_columns(name: str, column: pa.ChunkedArray, names: Sequence[str] = ()) -> Iterator[tuple[str, np.ndarray]]:
    """The numbers in a column, as (name, float64 a row, NaN where there is none).

    Args:
        name: of the column; members of a struct and elements of an array are named below it.
        column: of any type; text, bytes and lists of changing length give nothing.
        names: of the elements of an array.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        yield name, column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    elif pa.types.is_struct(kind):
        chunks = [chunk.flatten() for chunk in column.chunks]  # where the struct is null, so are its members
        for i in range(kind.num_fields):
            member = pa.chunked_array([members[i] for members in chunks], kind.field(i).type)
            yield from scalar_columns(f"{name}.{kind.field(i).name}", member)
    elif pa.types.is_fixed_size_list(kind) and pa.types.is_primitive(kind.value_type):
        size = kind.list_size
        rows = [pa.array(chunk.to_pylist(), kind) if chunk.null_count else chunk for chunk in column.chunks]
        for i in range(min(size, COMPONENTS)):
            values = [_element(chunk, i, size) for chunk in rows]
            label = names[i] if i < len(names) else f"{name}[{i}]"
            yield label, np.concatenate(values) if values else np.empty(0)


def _element(chunk: pa.Array, i: int, size: int) -> np.ndarray:
    flat = chunk.values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    flat = flat[chunk.offset * size : (chunk.offset + len(chunk)) * size].reshape(-1, size)[:, i].copy()
    if chunk.null_count:
        flat[~chunk.is_valid().to_numpy(zero_copy_only=False)] = np.nan
    return flat


def thinned(x: np.ndarray, lines: Sequence[np.ndarray], points: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """At most about `points` of each line.

    Args:
        x: of the points, rising, (n,).
        lines: float64 (n,) each.
        points: how many are wanted.

    Returns:
        x and lines; unchanged where there are no more than `points`.
    """
    n = len(x)
    if n <= points:
        return x, list(lines)
    edges = np.linspace(0, n, max(points // 2, 1) + 1).astype(np.int64)
    starts, stops = edges[:-1], edges[1:]
    at = np.column_stack([x[starts], x[(starts + stops - 1) // 2 + (stops - starts > 1)]]).reshape(-1)
    return at, [_extremes(line, starts, stops) for line in lines]


def _extremes(line: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    out = np.empty(2 * len(starts))
    for i, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        part = line[start:stop]
        if np.isnan(part).all():
            out[2 * i : 2 * i + 2] = np.nan
            continue
        low, high = int(np.nanargmin(part)), int(np.nanargmax(part))
        out[2 * i], out[2 * i + 1] = part[min(low, high)], part[max(low, high)]
    return out


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of the nearest 5 %, at least 5 of them."""
    n = len(values)
    half = max(2, n // 40)
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    first, last = np.maximum(np.arange(n) - half, 0), np.minimum(np.arange(n) + half + 1, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums[last] - sums[first]) / (counts[last] - counts[first])
