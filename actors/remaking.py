"""How the environment of a recording is made again, and what differs here from where it was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from rolltape.schema.errors import ConfigError, EnvError, ReplayFailed, UnknownEnvironment
from rolltape.schema.frame_layout import is_image_space
from rolltape.schema.space_codec import SpaceCodec

from .blame import said
from .state_infos import with_recorded_state
from .stepping import EnvRecipe, import_namespace, is_entry_point, make_env
from .wrapper_chain import Wrap, again, lost

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

Maker = str | Callable[..., gym.Env[Any, Any]]
"""`module:callable`, an id with its module (`module:Id-v0`), or a callable. Called without arguments, for pictures with
`render_mode="rgb_array"`; an id gets the recorded arguments."""

HOW = (
    "Say what makes the environment, wrappers included: `--make module:callable` (or module:Id-v0) on the command "
    "line, rolltape.replay(run, make=…) in Python."
)


def recipe_of(run: Run, make: Maker | None = None, *, renders: bool = False) -> EnvRecipe:
    """How to make one environment as it was recorded; with `renders` so that it draws.

    Raises UnknownEnvironment where `run.json` does not say it: made by a callable that cannot be imported.
    """
    env = run.info["env"]
    kwargs = dict(env.get("kwargs") or {})
    if make is not None:
        is_id = isinstance(make, str) and not is_entry_point(make)
        return _drawing(EnvRecipe(make, kwargs if is_id else {}), renders)
    if env.get("source"):
        return _drawing(EnvRecipe(env["source"], kwargs), renders)
    spec = env.get("spec")
    if isinstance(spec, str) and spec.startswith("{"):
        made = EnvSpec.from_json(spec)
        for name in ("num_envs", "vectorization_mode", "vector_kwargs", "wrappers"):
            made.kwargs.pop(name, None)
        mode = _mode(made.kwargs.get("render_mode"), renders)
        made.kwargs = {**made.kwargs, "render_mode": mode} if mode else _without(made.kwargs, "render_mode")
        return EnvRecipe(made, wrappers=_wrappers(run))
    raise UnknownEnvironment(f"Run {run.run_id} does not say how {env['env_id']} was made. {HOW}")


def native_again(
    recipe: EnvRecipe, num_envs: int, signatures: Mapping[str, str]
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """The native vector environment of a recording.

    Args:
        num_envs: sub-environments that were recorded.
        signatures: of the spaces `observation` and `action` that were.

    Raises EnvError where it cannot be made, ReplayFailed where it is another one.
    """
    source: Any = recipe.source
    try:
        if callable(source) or is_entry_point(source if isinstance(source, str) else ""):
            env: Any = make_env(recipe)
        else:
            import_namespace(recipe.env_id)
            env = gym.make_vec(source, num_envs=num_envs, vectorization_mode="vector_entry_point", **recipe.kwargs)
    except Exception as error:
        what = f"The native {recipe.env_id} cannot be made again. It raised {said(error)}. {HOW}"
        raise EnvError(what) from error
    if not isinstance(env, gym.vector.VectorEnv) or env.num_envs != num_envs:
        with suppress(Exception):  # it may be no environment at all
            env.close()
        raise ReplayFailed(
            f"{recipe.env_id} makes {env}; a replay of this run needs the native vector environment of {num_envs} "
            f"sub-environments that was recorded. {HOW}"
        )
    for name, space in (("observation", env.single_observation_space), ("action", env.single_action_space)):
        if SpaceCodec(space).signature != signatures[name]:
            env.close()
            raise ReplayFailed(f"Made again, {recipe.env_id} has the {name} space {space}, not the recorded one.")
    return env


def _wrappers(run: Run) -> tuple[Wrap, ...]:
    """What makes the recorded wrappers. Raises UnknownEnvironment that names those that cannot be made again."""
    layers = (run.info["env"].get("metadata") or {}).get("wrappers") or []
    if gone := lost(layers):
        raise UnknownEnvironment(
            f"Run {run.run_id}: of the wrappers of {run.info['env_id']} cannot be made again: {'; '.join(gone)}. {HOW}"
        )
    return again(layers)


def make_again(run: Run, recipe: EnvRecipe) -> gym.Env[Any, Any]:
    """One environment for a replay. Raises EnvError and the like, or ReplayFailed where it has other spaces."""
    try:
        env = make_env(_unchecked(recipe))
        if not isinstance(env, gym.Env):
            raise EnvError(f"{recipe.env_id} makes {env!r}, which is not a gymnasium.Env.")
        own = len(env.spec.additional_wrappers) if recipe.wrappers and env.spec is not None else 0
        for wrap in recipe.wrappers[own:]:
            env = wrap(env)
    except (EnvError, ConfigError) as error:
        raise type(error)(f"{error} {HOW}") from error
    for name in ("observation", "action"):
        space = getattr(env, f"{name}_space")
        if SpaceCodec(space).signature != run.info["space_signature"][name]:
            env.close()
            above = ", ".join(vector_wrappers(run))
            raise ReplayFailed(
                f"Run {run.run_id}: made again, {recipe.env_id} has the {name} space {space}; recorded was "
                f"{run.info['spaces'][name]}{f', above the vector wrappers {above}' if above else ''}. {HOW}"
            )
    return with_recorded_state(run, env)


def check_drawable(env_id: str, env: Any, *, native: bool) -> None:
    """Refuse frames="replay" where no single episode could be drawn again. Raises ConfigError."""
    if native:
        raise ConfigError(
            f"frames: 'replay' draws single episodes again, but a native {env_id} replays only as a whole batch. Use "
            "vectorization 'sync', or another frames policy."
        )
    space = getattr(env, "single_observation_space", None) or env.observation_space
    offered = (env.metadata or {}).get("render_modes") or []
    if "rgb_array" not in offered and not is_image_space(space):
        raise ConfigError(
            f"frames: 'replay' draws with render_mode='rgb_array', but {env_id} offers {offered}. Use 'none', or give "
            "the environment that mode."
        )


def vector_wrappers(run: Run) -> list[str]:
    """Names of the vector wrappers around the sub-environments that were recorded: a replay has none of them."""
    return list((run.info["env"].get("metadata") or {}).get("vector_wrappers") or ())


def version_differences(run: Run) -> dict[str, tuple[str, str | None]]:
    """Packages whose version differs from the recording's: name -> (recorded, here or None)."""
    from .run_description import package_versions

    here = package_versions()
    return {name: (was, here.get(name)) for name, was in run.info.get("versions", {}).items() if here.get(name) != was}


def _unchecked(recipe: EnvRecipe) -> EnvRecipe:
    """Without Gymnasium's checks of what is returned: they change nothing, and cost a call a step."""
    by_id = isinstance(recipe.source, EnvSpec) or (isinstance(recipe.source, str) and not is_entry_point(recipe.source))
    return replace(recipe, kwargs={**recipe.kwargs, "disable_env_checker": True}) if by_id else recipe


def _drawing(recipe: EnvRecipe, renders: bool) -> EnvRecipe:
    mode = _mode(recipe.kwargs.get("render_mode"), renders)
    kwargs = _without(recipe.kwargs, "render_mode")
    return replace(recipe, kwargs={**kwargs, "render_mode": mode} if mode else kwargs)


def _mode(recorded: str | None, renders: bool) -> str | None:
    return "rgb_array" if renders else None if recorded == "human" else recorded


def _without(kwargs: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != name}
