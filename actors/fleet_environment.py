"""The environment of a fleet, looked at before anything starts: its spaces, how workers make it, what describes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import gymnasium as gym

from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.adapters.registry import adapter_of
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_tree import Config
from rolltape.schema.errors import ConfigError

from .described import description_of_fleet
from .remaking import check_drawable
from .run_description import EnvDescription
from .state_infos import state_reader
from .stepping import EnvRecipe, spaces_of, uses_native


@dataclass(frozen=True, slots=True)
class FleetEnvironment:
    """What a fleet steps.

    Attributes:
        recipe: how a worker makes it.
        observation, action: spaces of one sub-environment.
        adapter: what describes it.
        native: whether a native vector environment is stepped.
        description: what `run.json` says of it.
    """

    recipe: EnvRecipe
    observation: gym.Space[Any]
    action: gym.Space[Any]
    adapter: EnvironmentAdapter
    native: bool
    description: EnvDescription

    @classmethod
    def of(
        cls,
        env: str | Callable[..., gym.Env[Any, Any]],
        env_kwargs: dict[str, Any] | None,
        config: Config,
        workers: int,
    ) -> Self:
        """Make one environment, ask it, and close it.

        Raises ConfigError, UnknownEnvironment, MissingExtra, UnsupportedSpace.
        """
        durable, vectorization = config.durable, config.fleet.vectorization
        kwargs = dict(env_kwargs or {})
        renders = durable.frames.policy == "render"
        if renders:
            kwargs.setdefault("render_mode", "rgb_array")
        recipe = EnvRecipe(env, kwargs, vectorization, config.fleet.autoreset)
        observation, action, probe = spaces_of(recipe)
        if isinstance(env, str) and ":" not in env and probe.spec is not None:
            recipe = replace(recipe, source=probe.spec.id)  # with the version that an id without one stands for
        try:
            if renders and probe.render_mode != "rgb_array":
                raise ConfigError(
                    f"frames: renders are recorded with render_mode='rgb_array', {recipe.env_id} has "
                    f"{probe.render_mode!r} and offers {probe.metadata.get('render_modes', [])}."
                )
            if durable.frames.policy == "replay":
                check_drawable(recipe.env_id, probe, native=vectorization == "native")
                recipe = replace(recipe, vectorization="sync")  # so that each episode replays alone
            adapter = adapter_of(probe, durable.adapter.name)
            if durable.adapter.state:
                recipe = _with_state(recipe, adapter, durable)
            native = uses_native(recipe, probe)
            description = description_of_fleet(recipe, probe, native, config.fleet.num_envs, workers)
        finally:
            probe.close()
        return cls(recipe, observation, action, adapter, native, description)


def _with_state(recipe: EnvRecipe, adapter: EnvironmentAdapter, settings: RecordConfig) -> EnvRecipe:
    """The recipe of environments whose state is recorded: plain ones. Raises ConfigError."""
    state_reader(adapter, settings)
    if recipe.vectorization == "native":
        raise ConfigError(
            f"adapter.state: a native {recipe.env_id} has no single environments to ask for their state. Use "
            "vectorization 'sync', or leave it off."
        )
    return replace(recipe, vectorization="sync")
