"""A value of an environment that does not fit its space: which one it was, in the error that the user gets."""

from __future__ import annotations

from typing import NoReturn

from rolltape.schema.errors import SchemaMismatch


def refuse(what: str, error: BaseException) -> NoReturn:
    """Raise the error of a value that does not fit with the name of the value, any other error as it is."""
    if isinstance(error, SchemaMismatch):
        raise SchemaMismatch(f"{what}: {error}") from error
    if isinstance(error, TypeError | ValueError | OverflowError) and what.startswith("reward"):
        raise SchemaMismatch(f"{what}: expected a number: {error}.") from error
    raise error
