"""Docstrings of the fields of a model, read from its source when somebody asks for them.

Pydantic's `use_attribute_docstrings` reads and parses the source of every model when it is made, two fifths of what a
model costs: in every command and every process of a recording, and hardly one of them shows a description.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType


@cache
def docstrings_of(model: type) -> Mapping[str, str]:
    """The docstring below each annotated field of a class and its bases; none where there is no source."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        found |= _docstrings_of_module(owner.__module__).get(owner.__qualname__, {})
    return MappingProxyType(found)


@cache
def _docstrings_of_module(name: str) -> dict[str, dict[str, str]]:
    try:
        source = inspect.getsource(sys.modules[name])
    except (KeyError, OSError, TypeError):  # made in a shell, or shipped without its source
        return {}
    return {path: dict(_documented(node)) for path, node in _classes(ast.parse(source), "")}


def _classes(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.ClassDef):
            yield f"{prefix}{inner.name}", inner
            yield from _classes(inner, f"{prefix}{inner.name}.")
        elif isinstance(inner, ast.FunctionDef):
            yield from _classes(inner, f"{prefix}{inner.name}.<locals>.")


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.target.id, inspect.cleandoc(text)
