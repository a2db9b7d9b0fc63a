"""The state of an environment among its infos: what `adapter.state` records, and what a replay compares with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.adapters.registry import adapter_of, named_adapter
from rolltape.schema.adapters.state_reader import StateReader
from rolltape.schema.errors import AdapterError

from .inside import Inside
from .vector_infos import info_reader, nothing

if TYPE_CHECKING:
    from rolltape.schema.config import RecordConfig
    from rolltape.storage.runs import Run


class StateInfos(gym.Wrapper[Any, Any, Any, Any]):
    """Adds the state to every info, as `state.<key>`. The state of a step is the one after it."""

    def __init__(self, env: gym.Env[Any, Any], adapter: EnvironmentAdapter, keys: Collection[str] = ()) -> None:
        super().__init__(env)
        self._reader = StateReader(adapter, keys)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset; the state is in the info."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, **self._reader.read(self.env)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; the state is in the info."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, {**info, **self._reader.read(self.env)}


def state_reader(adapter: EnvironmentAdapter, config: RecordConfig) -> StateReader | None:
    """What reads the state that a configuration asks for; None where it asks for none. Raises ConfigError."""
    return StateReader(adapter, config.adapter.keys) if config.adapter.state else None


def state_inside(
    env: VectorEnv[Any, Any, Any], adapter: EnvironmentAdapter | None, config: RecordConfig
) -> Callable[[dict[str, Any], Sequence[int | None] | None], Inside] | None:
    """What makes, of the infos that a SyncVectorEnv of the user's gave and the seeds of a reset, infos with the states.

    None where a configuration asks for no state. What the loop gets stays as it is.
    """
    if adapter is None or not config.adapter.state:
        return None
    envs, read = env.unwrapped.envs, StateReader(adapter, config.adapter.keys).read  # type: ignore[attr-defined]

    def inside(infos: dict[str, Any], seeds: Sequence[int | None] | None) -> Inside:
        given = info_reader(infos) or nothing

        def told(place: int) -> dict[str, Any]:
            return {**given(place), **read(envs[place])}

        return Inside(lambda place: None if seeds is None else seeds[place], told, told, lambda place: None)

    return inside


def adapter_again(run: Run, env: gym.Env[Any, Any]) -> EnvironmentAdapter:
    """The adapter that a run was recorded with, for an environment that was made again.

    By its name, or where nothing of that name is known, by its class. Of a run without one: the one that fits.

    Raises:
        AdapterError: it is not there.
    """
    recorded = run.info.get("adapter")
    if not recorded:
        return adapter_of(env)
    try:
        return adapter_of(env, named_adapter(recorded["name"]))
    except AdapterError as error:
        place = recorded.get("class", "")
        if ":" not in place or "<" in place or place.startswith("__main__:"):
            raise AdapterError(
                f"Run {run.run_id} was recorded with the adapter {recorded['name']!r} ({place}), which is not here: "
                f"{error} Install it, or register it with register_adapter."
            ) from error
        return adapter_of(env, place)


def with_recorded_state(run: Run, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """`env` with the state among its infos, where the run recorded it."""
    settings = (run.info.get("config") or {}).get("adapter") or {}
    if not settings.get("state"):
        return env
    return StateInfos(env, adapter_again(run, env), settings.get("keys") or ())
