"""The state of an environment as infos: keys with a prefix, values that keep one type; never an error of an adapter."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import gymnasium as gym

from rolltape.schema.errors import ConfigError
from rolltape.schema.info_json import STATE_PREFIX

from .adapter import EnvironmentAdapter


class StateReader:
    """Reads the state of the environments of one adapter.

    Args:
        adapter: of the environment.
        keys: those that are read; empty for all.

    Attributes:
        problem: what the adapter raised, or "". From then on nothing is read: a flight recorder does not bring the
            plane down.

    Raises:
        ConfigError: the adapter has no state, or not such a key.
    """

    def __init__(self, adapter: EnvironmentAdapter, keys: Collection[str] = ()) -> None:
        fields = adapter.state_fields()
        if not fields:
            raise ConfigError(
                f"adapter.state: the adapter {adapter.name!r} knows of none. Leave it off, or name another adapter."
            )
        if unknown := [key for key in keys if key not in fields]:
            raise ConfigError(f"adapter.keys: {adapter.name!r} has no {unknown[0]!r}; there are {', '.join(fields)}.")
        self._adapter = adapter
        self._names = {key: STATE_PREFIX + key for key in (keys or fields)}
        self.problem = ""

    def read(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """The state of `env` as infos, `state.lives` for `lives`; {} before the first reset and after a problem."""
        if self.problem:
            return {}
        try:
            state = self._adapter.state(env)
            return {name: state[key] for key, name in self._names.items() if key in state}
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"The adapter {self._adapter.name!r} raised when it was asked for the state, so that no more of it is "
                f"recorded: {self.problem}",
                stacklevel=2,
            )
            return {}
