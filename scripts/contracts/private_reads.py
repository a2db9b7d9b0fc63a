"""Private attributes that a class reads of other objects, found in its source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator


def private_reads(kind: type) -> Iterator[tuple[str, int]]:
    """Each as source text, with its line in the class; nothing where there is no source to look into."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):  # made in an interactive session
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_own(node.value):
            yield ast.unparse(node), node.lineno


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _is_own(value: ast.expr) -> bool:
    """Whether an attribute is one of the object itself: of self, cls or super()."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")
