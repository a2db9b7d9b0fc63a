"""Text: strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from .space_node import ValueNode
from .space_paths import Path


class TextNode(ValueNode):
    """A `string` column; `binary` where the character set has lone surrogates, which UTF-8 cannot write."""

    def __init__(self, path: Path, charset: str) -> None:
        self.path = path
        self._surrogates = any("\ud800" <= char <= "\udfff" for char in charset)
        self.arrow_type = pa.binary() if self._surrogates else pa.string()
        self.metadata = {b"rolltape.storage": b"UTF-8 with surrogates"} if self._surrogates else {}

    def from_values(self, values: Sequence[Any]) -> pa.Array:
        """A column of strings. Their length and characters are not looked at, but UTF-8 must be able to write
        them."""
        for value in values:
            if not isinstance(value, str):
                raise self.mismatch("a str", f"a {type(value).__qualname__}: {value!r:.60}")
        if self._surrogates:
            return pa.array([value.encode("utf-8", "surrogatepass") for value in values], self.arrow_type)
        try:
            return pa.array(values, self.arrow_type)
        except UnicodeEncodeError as error:
            expected = "a str that UTF-8 can write (the space's character set has no surrogates)"
            raise self.mismatch(expected, f"{error.object!r:.60}") from error

    def decode(self, column: pa.Array) -> list[Any]:
        """Strings."""
        if self._surrogates:
            return [value.decode("utf-8", "surrogatepass") for value in column.to_pylist()]
        return column.to_pylist()
