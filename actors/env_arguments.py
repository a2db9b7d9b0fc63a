"""Which arguments an environment takes, for whoever gave one that it does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from gymnasium.envs.registration import EnvSpec, load_env_creator

NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def arguments_of(creator: Callable[..., Any] | EnvSpec) -> list[str]:
    """The names that what makes an environment takes as keywords; of one that passes others on to the class that it
    extends, those of that one too. Empty where nothing says them: a part in C, `functools.partial` of one, no entry
    point."""
    if isinstance(creator, EnvSpec):
        entry = creator.entry_point
        if entry is None:
            return []
        creator = load_env_creator(entry) if isinstance(entry, str) else entry
    if not inspect.isclass(creator):
        return _named(creator)[0]
    found: list[str] = []
    for one in creator.__mro__:
        if "__init__" not in vars(one):
            continue
        names, passes_on = _named(vars(one)["__init__"])
        found += [name for name in names[1:] if name not in found]
        if not passes_on:
            break
    return found


def _named(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """Names that may be keywords, and whether others may be given too."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return [], False
    names = [parameter.name for parameter in parameters if parameter.kind in NAMED]
    return names, any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
