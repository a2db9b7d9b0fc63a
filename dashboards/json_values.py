"""Values of a recording as JSON that a browser reads without loss.

Rules:
1. A float that JSON has no word for is one of the strings `NaN`, `Infinity`, `-Infinity`.
2. An integer beyond 2^53 is a string of its digits: a browser would round it.
3. A time is a number: UTC milliseconds, with fractions.
4. Bytes, and arrays of more than `MANY` numbers, become a line that says what they are.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response

from rolltape.storage.arrays import column_to_python

SAFE: Final = 2**53
MANY: Final = 512
GZIP_FROM: Final = 4096


def json_value(value: Any) -> Any:
    """One value by the rules above."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int):
        return value if -SAFE < value < SAFE else str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        return value.timestamp() * 1000
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        if len(value) > MANY:
            return f"{len(value):,} values"
        return [json_value(item) for item in value]
    return str(value)


def json_column(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """The values of a column."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        column = pa.chunked_array([chunk.storage for chunk in chunks], kind.storage_type)
    found = column_to_python(column)
    if pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_int32(kind):
        return found
    return [json_value(value) for value in found]


def json_table(table: pa.Table) -> dict[str, list[Any]]:
    """The columns of a table by name."""
    return {name: json_column(table.column(name)) for name in table.column_names}


def answer(request: Request, content: Any, status: int = 200, *, cache: str = "no-store") -> Response:
    """A JSON response, compressed where that pays and the browser takes it."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    headers = {"cache-control": cache}
    if len(body) >= GZIP_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 3, mtime=0)
        headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
    return Response(body, status, headers, "application/json")
