"""Sub-environments of a worker: which vector environment is made for an environment, and how it is seeded.

Rules:
1. A native vector environment (`vector_entry_point`) is used where it exists, has the same single spaces as the plain
   environment, and offers the autoreset mode that was asked for. Otherwise a `SyncVectorEnv`.
2. The spaces must be the same, because a native one may be another environment: Atari's is preprocessed.
3. In a `SyncVectorEnv` every sub-environment seeds each of its resets (`seeding`); a native one has one random state,
   which
   the first reset seeds: the batch replays as a whole.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Literal, cast, get_args

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rolltape.schema.errors import ConfigError, EnvError, UnknownEnvironment, UnsupportedSpace

from .env_arguments import arguments_of
from .imports import import_module, search_here
from .inside import Inside
from .refusals import NAMESPACES, why_not_made
from .seeding import EpisodeSeeding, episode_seed

Vectorization = Literal["auto", "sync", "native"]
Autoreset = Literal["next_step", "same_step", "disabled"]
AUTORESET = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}

_OTHER_LIBRARY = "If it is an environment of another library, wrap it first, for example with shimmy."

StateSource = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
"""Wraps a sub-environment so that its infos have the state."""

EnvSource = str | EnvSpec | Callable[..., gym.Env[Any, Any]]


@dataclass(frozen=True, slots=True)
class EnvRecipe:
    """How to make an environment, on any machine that has its package.

    Attributes:
        source: a registered id (`module:Id-v0` imports the module first), an entry point `module:callable`, Gymnasium's
            specification, or a callable.
        kwargs: for `gymnasium.make` or the callable.
        vectorization: see the rules above; "native" and "sync" insist.
        autoreset: what happens after an episode's end.
        wrappers: what `remaking` puts around what `source` makes, its own wrappers among them.
    """

    source: EnvSource
    kwargs: dict[str, Any] = field(default_factory=dict)
    vectorization: Vectorization = "auto"
    autoreset: Autoreset = "next_step"
    wrappers: tuple[Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]], ...] = ()

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("vectorization", self.vectorization, get_args(Vectorization)),
            ("autoreset", self.autoreset, get_args(Autoreset)),
        ):
            if value not in allowed:
                raise ConfigError(f"{name}: must be one of {', '.join(map(repr, allowed))} (got {value!r}).")

    @property
    def env_id(self) -> str:
        """The name under which it is recorded."""
        if isinstance(self.source, str | EnvSpec):
            return self.source if isinstance(self.source, str) else self.source.id
        return getattr(self.source, "__qualname__", type(self.source).__name__)

    @property
    def importable(self) -> str | None:
        """An id or entry point from which another process can make it; None for a callable that cannot be imported."""
        if isinstance(self.source, str):
            return self.source
        module, name = getattr(self.source, "__module__", "__main__"), getattr(self.source, "__qualname__", "<")
        return None if module == "__main__" or "<" in name else f"{module}:{name}"


def autoreset_of(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """The autoreset mode that a vector environment declares; NEXT_STEP, with a warning, where it declares none."""
    mode = env.metadata.get("autoreset_mode")
    if isinstance(mode, AutoresetMode):
        return mode
    warnings.warn(
        f"{env} declares no autoreset mode (metadata['autoreset_mode'] is {mode!r}); it is recorded as NEXT_STEP, "
        f"Gymnasium's default. If it resets otherwise, its episodes are cut wrongly.",
        stacklevel=3,
    )
    return AutoresetMode.NEXT_STEP


def make_env(recipe: EnvRecipe) -> gym.Env[Any, Any]:
    """One plain environment. Raises UnknownEnvironment, MissingExtra, ConfigError or EnvError with what to do."""
    source = recipe.source
    try:
        if callable(source):
            return source(**recipe.kwargs)
        import_namespace(recipe.env_id)
        if isinstance(source, str) and is_entry_point(source):
            return _entry_point(source)(**recipe.kwargs)
        search_here()
        return gym.make(source, **recipe.kwargs)
    except Exception as error:
        raise why_not_made(recipe.env_id, recipe.kwargs, error, lambda: arguments_of(_creator(source))) from error


def spaces_of(recipe: EnvRecipe) -> tuple[gym.Space[Any], gym.Space[Any], gym.Env[Any, Any]]:
    """Observation and action space of one sub-environment, and an environment to ask for more (close it)."""
    env = make_env(recipe)
    if not isinstance(env, gym.Env):
        kind = f"{type(env).__module__}.{type(env).__qualname__}"
        how = "Give what makes one of its sub-environments." if isinstance(env, VectorEnv) else _OTHER_LIBRARY
        raise EnvError(f"{recipe.env_id} makes a {kind}, which is not a gymnasium.Env. {how}")
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, gym.Space):
            raise UnsupportedSpace(f"{recipe.env_id}: {name} is {space!r}, not a gymnasium.Space. {_OTHER_LIBRARY}")
    return env.observation_space, env.action_space, env


def uses_native(recipe: EnvRecipe, env: gym.Env[Any, Any]) -> bool:
    """Whether a native vector environment is to be used; `env` is a plain one. Raises ConfigError."""
    if recipe.vectorization == "sync":
        return False
    insist = recipe.vectorization == "native"
    spec = gym.registry.get(str(recipe.source).rpartition(":")[2]) if isinstance(recipe.source, str) else None
    if spec is None or spec.vector_entry_point is None:
        if insist:
            raise ConfigError(f"vectorization: {recipe.env_id} has no native vector environment; use 'sync' or 'auto'.")
        return False
    try:
        native = gym.make_vec(recipe.env_id, num_envs=1, vectorization_mode="vector_entry_point", **recipe.kwargs)
    except Exception as error:
        if insist:
            raise why_not_made(f"{recipe.env_id} (native)", recipe.kwargs, error) from error
        return False  # a package is missing that the plain one does not need, or an argument that only that one takes
    try:
        mode = native.metadata.get("autoreset_mode")
        same = (
            native.single_observation_space == env.observation_space and native.single_action_space == env.action_space
        )
    finally:
        native.close()
    if insist and mode != AUTORESET[recipe.autoreset]:
        has = next((name for name, known in AUTORESET.items() if known == mode), mode)
        raise ConfigError(
            f"autoreset: the native {recipe.env_id} has {has!r}, not {recipe.autoreset!r}. "
            f"Use that one, or vectorization 'sync'."
        )
    return insist or (same and mode == AUTORESET[recipe.autoreset])


@dataclass(slots=True)
class SubEnvironments:
    """A worker's vector environment and how its resets are seeded.

    Attributes:
        env: steps all sub-environments.
        native: it is a native vector environment, with one random state.
        batch_seed: the seed of a native one's first reset.
    """

    env: VectorEnv[Any, Any, Any]
    native: bool
    batch_seed: int

    @property
    def inside(self) -> Inside | None:
        """Seeds and infos of single sub-environments; None for a native one, which does not have them."""
        if self.native:
            return None
        envs = self.env.envs  # type: ignore[attr-defined]
        return Inside(
            seed=lambda place: envs[place].last_seed,
            step_info=lambda place: envs[place].step_info,
            reset_info=lambda place: envs[place].reset_info,
            last_picture=lambda place: envs[place].last_picture,
        )


def make_sub_environments(
    recipe: EnvRecipe,
    native: bool,
    num_envs: int,
    *,
    run_seed: int,
    sub_env_offset: int,
    first_index: list[int],
    renders: bool = False,
    state: StateSource | None = None,
) -> SubEnvironments:
    """The vector environment of a worker.

    Args:
        native: what `uses_native` said.
        sub_env_offset: number of its first sub-environment in the run.
        first_index: the episode index with which each sub-environment begins; not 0 after a restart.
        renders: pictures of `render()` are recorded; then that of an episode's end is taken before SAME_STEP resets.
        state: what adds the state to the infos of a sub-environment; not of a native one.
    """
    draws = renders and recipe.autoreset == "same_step"
    batch_seed = episode_seed(run_seed, sub_env_offset, max(first_index))
    if native:
        import_namespace(str(recipe.source))
        env = gym.make_vec(recipe.env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **recipe.kwargs)
        return SubEnvironments(env, True, batch_seed)

    def maker(place: int) -> Callable[[], gym.Env[Any, Any]]:
        def made() -> gym.Env[Any, Any]:
            env = make_env(recipe)
            env = env if state is None else state(env)
            return EpisodeSeeding(env, run_seed, sub_env_offset + place, first_index[place], draws=draws)

        return made

    with warnings.catch_warnings(action="ignore"):  # the fleet has made one and said them
        env = SyncVectorEnv([maker(i) for i in range(num_envs)], copy=False, autoreset_mode=AUTORESET[recipe.autoreset])
    return SubEnvironments(env, False, batch_seed)


def import_namespace(env_id: str) -> None:
    """Import the package that registers environments of this name, where we know it."""
    namespace = env_id.partition("/")[0] if "/" in env_id else env_id.partition("-")[0]
    module = NAMESPACES.get(namespace)
    if module is None:
        return
    first = module not in sys.modules
    package = importlib.import_module(module)
    if first and module == "ale_py":  # or every game prints a banner of two lines when it is made
        package.ALEInterface.setLoggerMode(package.LoggerMode.Warning)


def _creator(source: EnvSource) -> EnvSpec | Callable[..., gym.Env[Any, Any]]:
    """What makes an environment that was found."""
    if not isinstance(source, str):
        return source
    return _entry_point(source) if is_entry_point(source) else gym.spec(source.rpartition(":")[2])


def is_entry_point(source: str) -> bool:
    """Whether a source is `module:callable` rather than an id (`module:Id-v0`)."""
    module, colon, name = source.partition(":")
    return bool(colon) and name.isidentifier() and "-v" not in name and bool(module)


def _entry_point(source: str) -> Callable[..., gym.Env[Any, Any]]:
    module, _, name = source.partition(":")
    found = import_module(module)
    try:
        made_by: object = getattr(found, name)
    except AttributeError:
        near = difflib.get_close_matches(name, vars(found), n=2)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UnknownEnvironment(f"No environment {source!r}: the module {module!r} has no {name!r}.{hint}") from None
    if not callable(made_by):
        raise UnknownEnvironment(
            f"No environment {source!r}: it is {shorten(repr(made_by), 80)}. Name a callable that makes one."
        )
    return cast(Callable[..., gym.Env[Any, Any]], made_by)
