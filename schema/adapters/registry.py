"""Which adapter an environment gets.

Rules of the order:
1. One that was asked for: a name, or `module:Class`. It is used whether or not it says that it fits.
2. Those that this process registered (`register_adapter`), then those of installed packages (entry points of the group
   `rolltape.adapters`), then ours. The first of these three groups in which one fits decides.
3. Within a group the more derived class wins. When two fit of which neither derives from the other, it is a conflict:
   an error that names both and how to choose.
4. The generic adapter takes what is left.
5. An entry point that cannot be loaded is left out with one warning; asked for by its name, it is an error.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

import gymnasium as gym

from rolltape.schema.errors import AdapterError

from .adapter import EnvironmentAdapter, check_adapter_class
from .generic import GenericAdapter

GROUP: Final = "rolltape.adapters"
OURS: Final = (
    ("toy_text", "FrozenLakeAdapter"),
    ("toy_text", "CliffWalkingAdapter"),
    ("toy_text", "TaxiAdapter"),
    ("toy_text", "BlackjackAdapter"),
    ("classic_control", "ClassicControlAdapter"),
    ("box2d", "LunarLanderAdapter"),
    ("box2d", "BipedalWalkerAdapter"),
    ("box2d", "CarRacingAdapter"),
    ("atari", "AtariAdapter"),
    ("minigrid", "MiniGridAdapter"),
)
AdapterClass = TypeVar("AdapterClass", bound=type[EnvironmentAdapter])

_registered: dict[str, type[EnvironmentAdapter]] = {}
_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class KnownAdapter:
    """An adapter that can be chosen.

    Attributes:
        origin: `registered`, `rolltape`, or the distribution that brings it.
        place: `module:Class`.
        adapter: the class; None where it cannot be loaded.
        problem: why not, or "".
    """

    name: str
    origin: str
    place: str
    adapter: type[EnvironmentAdapter] | None
    problem: str = ""


def register_adapter(adapter: AdapterClass) -> AdapterClass:
    """Make an adapter known in this process; also as a decorator. Another one of the same name replaces it.

    Workers of a Fleet get the class from the driver. A replay in another process finds it by its entry point or
    `module:Class`.

    Raises:
        AdapterError: not an adapter, or one of another capability.
    """
    check_adapter_class(adapter)
    _registered[adapter.name] = adapter
    return adapter


def unregister_adapter(name: str) -> None:
    """Forget a registered adapter; nothing happens where there is none."""
    _registered.pop(name, None)


def adapter_of(env: gym.Env[Any, Any], wanted: str | type[EnvironmentAdapter] = "auto") -> EnvironmentAdapter:
    """The adapter of an environment; the rules are at the top of this file.

    Args:
        env: with any wrappers.
        wanted: `"auto"`, the name of an adapter, `"module:Class"`, or a class.

    Raises:
        AdapterError: there is none of that name, it cannot be loaded, two fit equally, or it cannot be made from `env`.
    """
    adapter = choose(env, wanted)
    try:
        return adapter(env)
    except AdapterError:
        raise
    except Exception as error:
        raise AdapterError(
            f"The adapter {adapter.name!r} ({_place(adapter)}) cannot be made from {env}: "
            f"{type(error).__name__}: {error}. "
            'Correct it, or record with adapter="generic".'
        ) from error


def choose(env: gym.Env[Any, Any], wanted: str | type[EnvironmentAdapter] = "auto") -> type[EnvironmentAdapter]:
    """The class of `adapter_of`."""
    if isinstance(wanted, type):
        return check_adapter_class(wanted)
    if wanted != "auto":
        return named_adapter(wanted)
    for group in (_registered_ones(), _installed(), _ours()):
        fitting = [known for known in group if known.adapter is not None and _fits(known, env)]
        if fitting:
            return _most_derived(fitting, env)
    return GenericAdapter


def named_adapter(name: str) -> type[EnvironmentAdapter]:
    """The adapter of a name or `module:Class`. Raises AdapterError."""
    if ":" in name:
        return _load(name)
    known = [known for known in known_adapters() if known.name == name]
    if not known:
        names = sorted({known.name for known in known_adapters()})
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        there = ", ".join(names)
        raise AdapterError(f"adapter: there is no {name!r}.{hint} There are {there}, auto, and module:Class.")
    group = [one for one in known if one.origin == known[0].origin or (_is_installed(one) and _is_installed(known[0]))]
    if len({one.place for one in group}) > 1:
        raise AdapterError(
            f"adapter: {name!r} is the name of {' and of '.join(f'{one.place} ({one.origin})' for one in group)}. "
            "Uninstall one, or say module:Class."
        )
    if known[0].adapter is None:
        raise AdapterError(f"adapter: {name!r} of {known[0].origin} cannot be loaded: {known[0].problem}")
    return known[0].adapter


def known_adapters() -> list[KnownAdapter]:
    """All adapters in the order in which they are asked, those that cannot be loaded as well."""
    generic = KnownAdapter(GenericAdapter.name, "rolltape", _place(GenericAdapter), GenericAdapter)
    return [*_registered_ones(), *_installed(), *_ours(), generic]


def _registered_ones() -> list[KnownAdapter]:
    return [KnownAdapter(name, "registered", _place(kind), kind) for name, kind in _registered.items()]


def _installed() -> list[KnownAdapter]:
    found = []
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        origin = point.dist.name if point.dist is not None else "an unknown package"
        try:
            adapter = check_adapter_class(point.load())
            if adapter.name != point.name:
                raise AdapterError(f"{point.value} has the name {adapter.name!r}; its entry point has to be called so.")
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            found.append(KnownAdapter(point.name, origin, point.value, None, problem))
            if point.value not in _warned:
                _warned.add(point.value)
                warnings.warn(f"The adapter {point.name!r} of {origin} is left out: {problem}", stacklevel=4)
            continue
        found.append(KnownAdapter(point.name, origin, point.value, adapter))
    return found


@cache
def _ours() -> tuple[KnownAdapter, ...]:
    package = __name__.rpartition(".")[0]
    found = []
    for module, name in OURS:
        adapter = getattr(importlib.import_module(f"{package}.{module}"), name)
        found.append(KnownAdapter(adapter.name, "rolltape", _place(adapter), adapter))
    return tuple(found)


def _fits(known: KnownAdapter, env: gym.Env[Any, Any]) -> bool:
    assert known.adapter is not None
    try:
        return bool(known.adapter.fits(env))
    except Exception as error:
        raise AdapterError(
            f"The adapter {known.name!r} ({known.place}, {known.origin}) raised when it was asked whether it fits "
            f'{env}: {type(error).__name__}: {error}. Correct or uninstall it, or name another: adapter="generic".'
        ) from error


def _most_derived(fitting: list[KnownAdapter], env: gym.Env[Any, Any]) -> type[EnvironmentAdapter]:
    kinds = list({known.adapter for known in fitting if known.adapter is not None})
    best = [kind for kind in kinds if not any(kind is not other and issubclass(other, kind) for other in kinds)]
    if len(best) > 1:
        rivals = sorted((k for k in fitting if k.adapter in best), key=lambda known: known.place)
        said = " and ".join(f"{known.name!r} ({known.place}, {known.origin})" for known in rivals)
        raise AdapterError(
            f"Two adapters fit {env} equally: {said}. Say which: "
            f"adapter={rivals[0].name!r}, or derive one from the other."
        )
    return best[0]


def _load(place: str) -> type[EnvironmentAdapter]:
    module, _, name = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise AdapterError(f"adapter: {place!r} cannot be loaded: {error}. It has to be module:Class.") from error
    return check_adapter_class(found)


def _is_installed(known: KnownAdapter) -> bool:
    return known.origin not in ("registered", "rolltape")


def _place(adapter: type[EnvironmentAdapter]) -> str:
    return f"{adapter.__module__}:{adapter.__qualname__}"
