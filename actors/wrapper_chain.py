"""The wrappers around a recorded environment with their arguments: kept in `run.json`, made again by a replay.

Rules:
1. They are those that Gymnasium's specification names (`spec.additional_wrappers`), the innermost first.
2. An argument is kept as what it is: JSON, arrays, spaces, and by its import whatever can be imported. A wrapper that
   keeps no arguments (no `RecordConstructorArgs`) is made again where it takes none but the environment.
3. What cannot be made again has a `lost` that says why, and a replay names it.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, Final

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from rolltape.schema.errors import EnvError
from rolltape.schema.info_json import encode_value, restored
from rolltape.schema.space_descriptor import describe_space
from rolltape.schema.space_rebuild import space_from_descriptor

from .blame import said

NO_ARGUMENTS: Final = "it keeps no arguments (derive it from gymnasium.utils.RecordConstructorArgs)"

Wrap = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
Layer = dict[str, Any]
"""One wrapper: `name`, `entry_point`, `kwargs` by argument, and `lost` where it cannot be made again."""


def told_spec(spec: EnvSpec | None) -> tuple[str | None, list[Layer]]:
    """A specification as JSON without its wrappers, and those; None where even that holds what JSON cannot."""
    if spec is None:
        return None, []
    base = copy.copy(spec)
    base.additional_wrappers = ()
    layers = [_layer(wrapper) for wrapper in spec.additional_wrappers]
    try:
        return base.to_json(), layers
    except (TypeError, ValueError):
        return None, layers


def told_arguments(holder: Any) -> Layer:
    """A vector wrapper with its arguments, as it keeps them."""
    kind = type(holder)
    kwargs = getattr(holder, "_saved_kwargs", None)
    return _layer(WrapperSpec(kind.__name__, f"{kind.__module__}:{kind.__qualname__}", kwargs))


def again(layers: Sequence[Layer]) -> tuple[Wrap, ...]:
    """What makes each of the wrappers again. None of them is lost."""
    return tuple(partial(_wrapped, layer) for layer in layers)


def _wrapped(layer: Layer, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    kwargs = json.loads(json.dumps(layer["kwargs"] or {}), object_hook=_restore)
    kind = _found(layer["entry_point"])
    what = f"The wrapper {layer['name']} ({layer['entry_point']})"
    if kind is None:
        raise EnvError(f"{what} is not here.")
    try:
        return kind(env, **kwargs)
    except Exception as error:
        raise EnvError(f"{what} cannot be made again with {kwargs}. It raised {said(error)}.") from error


def lost(layers: Sequence[Layer]) -> list[str]:
    """What of them cannot be made again, and why."""
    return [f"{layer['name']} ({layer['lost']})" for layer in layers if layer.get("lost")]


def _layer(wrapper: WrapperSpec) -> Layer:
    layer: Layer = {"name": wrapper.name, "entry_point": wrapper.entry_point, "kwargs": None}
    kind = _found(wrapper.entry_point)
    if kind is None:
        layer["lost"] = f"{wrapper.entry_point} cannot be imported by other programs"
    if wrapper.kwargs is None and (kind is None or not _takes_only_env(kind)):
        layer.setdefault("lost", NO_ARGUMENTS)
        return layer
    unsaid: list[str] = []
    layer["kwargs"] = {name: _told(value, name, unsaid) for name, value in (wrapper.kwargs or {}).items()}
    if unsaid:
        layer.setdefault("lost", f"its argument {', '.join(unsaid)} cannot be kept")
    return layer


def _found(entry_point: str) -> Any:
    """What stands under an import that other processes can make too; None where nothing does."""
    module, _, name = entry_point.partition(":")
    if module == "__main__" or "<" in name:
        return None
    try:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    except (ImportError, AttributeError):
        return None


def _takes_only_env(kind: Any) -> bool:
    try:
        _, *parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return False
    return not parameters


def _told(value: Any, name: str, unsaid: list[str]) -> Any:
    if isinstance(value, gym.Space):
        return {"$space": describe_space(value)}
    if isinstance(value, list):
        return [_told(item, name, unsaid) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [_told(item, name, unsaid) for item in value]}
    if type(value) is dict and all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _told(item, name, unsaid) for key, item in value.items()}
    if callable(value):
        place = f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', '<')}"
        if _found(place) is value:
            return {"$import": place}
    told = json.loads(encode_value(value))
    if isinstance(told, dict) and "$repr" in told:
        unsaid.append(f"{name} = {told['$repr']}")
    return told


def _restore(item: dict[str, Any]) -> Any:
    if item.keys() == {"$space"}:
        return space_from_descriptor(item["$space"])
    if item.keys() == {"$import"}:
        return _found(item["$import"])
    return restored(item)
