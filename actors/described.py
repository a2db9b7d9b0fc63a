"""What an environment object says of itself: what a replay or a film of its recording asks for."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from .joined import JOIN_STRIDE
from .run_description import EnvDescription
from .stepping import EnvRecipe, autoreset_of
from .wrapper_chain import told_arguments, told_spec

_MODE_NAMES = {
    AutoresetMode.NEXT_STEP: "next_step",
    AutoresetMode.SAME_STEP: "same_step",
    AutoresetMode.DISABLED: "disabled",
}


def description_of(env: Any, *, named: bool) -> EnvDescription:
    """A recorder's environment; in a run with a name each recorder has room for more than it needs."""
    vector = isinstance(env, VectorEnv)
    n = env.num_envs if vector else 1
    return EnvDescription(
        env_id=env_id_of(env),
        kind="recorder",
        num_envs=n,
        workers=1,
        stride=JOIN_STRIDE if named else n,
        spec=told_spec(inner_spec(env))[0],
        vectorization=type(env.unwrapped).__name__ if vector else "none",
        autoreset=_MODE_NAMES[autoreset_of(env)] if vector else None,
        render_mode=env.render_mode,
        metadata=described(env),
    )


def description_of_fleet(
    recipe: EnvRecipe, probe: gym.Env[Any, Any], native: bool, num_envs: int, workers: int
) -> EnvDescription:
    """A fleet's environments; `probe` is one that was made to be asked."""
    return EnvDescription(
        env_id=recipe.env_id,
        kind="fleet",
        num_envs=num_envs,
        workers=workers,
        stride=num_envs,
        source=recipe.importable,
        kwargs=recipe.kwargs,
        spec=told_spec(probe.spec)[0] if isinstance(recipe.source, str) else None,
        vectorization="native" if native else "sync",
        autoreset=recipe.autoreset,
        render_mode=probe.render_mode,
        metadata=described(probe),
    )


def env_id_of(env: Any) -> str:
    """The id it was made by, or its class."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__qualname__


def inner_spec(env: Any) -> Any:
    """Gymnasium's specification of one environment, of a vector environment that of its first; None: there is none."""
    base = env.unwrapped
    if isinstance(base, SyncVectorEnv):
        return base.envs[0].spec
    return base.get_attr("spec")[0] if isinstance(base, AsyncVectorEnv) else env.spec


def described(env: Any) -> dict[str, Any]:
    """What a replay or a film of the recording wants to know besides: pictures a second, and the wrappers."""
    found: dict[str, Any] = {}
    fps = (env.metadata or {}).get("render_fps")
    if isinstance(fps, int | float) and fps > 0:
        found["render_fps"] = fps
    _, layers = told_spec(inner_spec(env))
    if layers:
        found["wrappers"] = layers
    around = []
    while isinstance(env, VectorWrapper):
        around.append(told_arguments(env))
        env = env.env
    if around:
        found["vector_wrappers"] = [layer["name"] for layer in around]
        found["vector_wrapper_arguments"] = [layer["kwargs"] for layer in around]
    return found
