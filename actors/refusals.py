"""Why an environment cannot be made, and what to do about it.

Gymnasium's errors say what it looked for. A user wants to know what there is, or which package is missing.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from rolltape.schema.errors import ConfigError, EnvError, MissingExtra, RolltapeError, UnknownEnvironment
from rolltape.schema.near_names import did_you_mean

from .blame import said

EXTRAS = {
    "ale_py": ("atari", "ale-py"),
    "Box2D": ("box2d", "box2d"),
    "pygame": ("classic-control", "pygame-ce"),
    "minigrid": ("minigrid", "minigrid"),
    "mujoco": ("", "gymnasium[mujoco]"),
    "jax": ("", "gymnasium[jax]"),
}
"""By import name: the extra of this package that brings it, and the package itself."""

NAMESPACES = {
    "ALE": "ale_py",
    "MiniGrid": "minigrid",
    "BabyAI": "minigrid",
    "rolltape": "rolltape.actors.synthetic",
}
"""The module that registers what begins with this name."""

NEAR = 0.7
"""How alike two names must be for one to be suggested for the other; 1 is the same."""


def why_not_made(
    source: str, kwargs: dict[str, Any], error: Exception, takes: Callable[[], Sequence[str]] = tuple
) -> RolltapeError:
    """The error for a user, of what making the environment `source` raised; `takes` says which arguments there are."""
    if isinstance(error, RolltapeError):
        return error
    if isinstance(error, gym.error.UnregisteredEnv | gym.error.DeprecatedEnv) or _is_no_id(error):
        return UnknownEnvironment(_unknown(source))
    if isinstance(error, ImportError | gym.error.DependencyNotInstalled):
        return _missing(source, error)
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        name = str(error).partition("unexpected keyword argument ")[2].split()[0].strip("'")
        if name == "render_mode" and name in kwargs:
            return ConfigError(f"{source} takes no render_mode={kwargs[name]!r}: its renders cannot be recorded.")
        if name in kwargs:  # otherwise the environment itself called something wrongly
            known = takes()
            there = f"{did_you_mean(name, known)} It takes {', '.join(known)}." if known else ""
            return ConfigError(f"env_kwargs: {source} takes no argument {name!r} (got {_listed(kwargs)}).{there}")
    return EnvError(f"{source} cannot be made{_with(kwargs)}. It raised {said(error)}.")


def _is_no_id(error: Exception) -> bool:
    text = str(error)
    return type(error) is gym.error.Error and ("Malformed environment ID" in text or "No registered env" in text)


def _unknown(source: str) -> str:
    module, _, env_id = source.rpartition(":")
    known = {spec.id for spec in _all_registered()}
    name, dash, version = env_id.rpartition("-v")
    if not dash or not version.isdigit():
        name, version = env_id, ""
    versions = sorted((known_id for known_id in known if known_id.rpartition("-v")[0] == name), key=_version)
    if versions and version:
        return f"No environment {source!r}: there is no version {version}. Known: {', '.join(versions)}."
    near = nearest(env_id, known)
    if near:
        return f"No environment {source!r}. Did you mean {' or '.join(near)}?"
    namespace, slash, _ = env_id.partition("/")
    if slash and not any(known_id.startswith(f"{namespace}/") for known_id in known):
        what = f"nothing registers environments called {namespace}/…"
    elif module:
        what = f"the module {module} registers none of that name"
    else:
        what = "nothing of that name is registered"
    return (
        f"No environment {source!r}: {what}. Name the module that registers it, as in 'package:{env_id or 'Name-v0'}', "
        "or a callable that makes it, as in 'package.module:make_env'. `gymnasium.pprint_registry()` lists what is "
        "registered."
    )


def nearest(wanted: str, known: set[str]) -> list[str]:
    """At most three of `known` that may have been meant: case, namespace and version count little."""

    def plain(env_id: str) -> str:
        return env_id.rpartition("/")[2].rpartition("-v")[0].lower() or env_id.rpartition("/")[2].lower()

    matcher = difflib.SequenceMatcher(b=plain(wanted), autojunk=False)

    def likeness(env_id: str) -> float:
        matcher.set_seq1(plain(env_id))
        return matcher.ratio()

    scored = [(likeness(env_id), env_id) for env_id in known]
    best = max((score for score, _ in scored), default=0.0)
    close = [env_id for score, env_id in scored if score >= max(NEAR, best - 0.1)]
    newest: dict[str, str] = {}
    for env_id in sorted(close, key=lambda i: (_version(i), i)):
        newest[env_id.rpartition("-v")[0]] = env_id
    order = sorted(newest.values(), key=lambda i: (-likeness(i), ("/" in i) != ("/" in wanted), len(i), i))
    return order[:3]


def _version(env_id: str) -> int:
    version = env_id.rpartition("-v")[2]
    return int(version) if version.isdigit() else -1


def _all_registered() -> list[Any]:
    for module in set(NAMESPACES.values()):
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    return list(gym.registry.values())


def _missing(source: str, error: Exception) -> RolltapeError:
    text = f"{error} {error.__cause__ or ''}"
    for module, (extra, package) in EXTRAS.items():
        if module.lower() in text.lower() or module == getattr(error, "name", None):
            how = f'pip install "rolltape[{extra}]"' if extra else f'pip install "{package}"'
            return MissingExtra(f"{source} needs {module}, which is not installed: {how}")
    named = source.rpartition(":")[0]
    absent = getattr(error, "name", None) or getattr(error.__cause__, "name", None) or ""
    if named and absent and f"{named}.".startswith(f"{absent}."):
        return UnknownEnvironment(
            f"No environment {source!r}: there is no module {absent!r}. It must be importable where the workers run: "
            "install it, or start from the folder that holds it."
        )
    return MissingExtra(f"{source} needs a package that is not installed: {said(error)}")


def _listed(kwargs: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in kwargs.items())


def _with(kwargs: dict[str, Any]) -> str:
    return f" with {_listed(kwargs)}" if kwargs else ""
