"""The contract of an adapter: names for what is recorded, the state behind the observation, and how it looks.

Rules:
1. An adapter is made from one environment and serves all of its kind, such as the sub-environments of a worker. It
   keeps no environment, and nothing that changes from step to step.
2. It looks and never touches: no step, no reset, no random number, and no attribute is set. A recording with an adapter
   replays like one without.
3. It reads what is public. A private attribute is read with a fallback only, because it may go in the next release.
4. Before the first reset there is nothing to tell: `render_payload` gives None and `state` an empty dict.
5. `env` is whatever the caller has, with any wrappers (`gymnasium.make` adds three); `env.unwrapped` is the environment
   itself. An adapter never calls `step`, `reset` or a `render` that draws.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rolltape.schema.errors import AdapterError
from rolltape.schema.frame_layout import is_image_space
from rolltape.schema.render_payload import PAYLOADS, RenderPayload, RgbPayload
from rolltape.schema.space_descriptor import Descriptor, describe_space

CAPABILITY: Final = 1
"""Version of this contract: the methods below and what they promise. An adapter says which one it speaks."""

STATE_TYPES: Final = ("bool", "int64", "float64", "str", "uint8", "int8", "int32", "float32")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class StateField:
    """One value of the state.

    Attributes:
        dtype: one of `STATE_TYPES`; bool, int64, float64 and str are Python's own where there is no shape.
        meaning: what it is.
        shape: () for a single value, (n,) for an array of n; at most 4,096 bytes become a typed column.
        unit: of the value, or "".
    """

    dtype: str
    meaning: str
    shape: tuple[int, ...] = ()
    unit: str = ""

    def holds(self, value: Any) -> bool:
        """Whether a value is one of this field's."""
        if self.shape:
            return isinstance(value, np.ndarray) and value.dtype == self.dtype and value.shape == self.shape
        own = {"bool": bool, "int64": int, "float64": float, "str": str}.get(self.dtype)
        return type(value) is own if own else isinstance(value, np.generic) and value.dtype == self.dtype


@dataclass(frozen=True, slots=True)
class SpaceDescription:
    """What is observed and done, in words.

    Attributes:
        observation, action: descriptors of the spaces, as the outermost wrapper gives them.
        observation_names: of a flat array observation one name an element; of a discrete one nothing; () where unknown.
        action_names: one name an action of a discrete space, one an element of an array; () where unknown.
        state: what `state` gives, by key.
    """

    observation: Descriptor
    action: Descriptor
    observation_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    state: Mapping[str, StateField] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "observation": self.observation,
            "action": self.action,
            "observation_names": list(self.observation_names),
            "action_names": list(self.action_names),
            "state": {key: asdict(value) | {"shape": list(value.shape)} for key, value in self.state.items()},
        }


@dataclass(frozen=True, slots=True)
class RenderDescription:
    """How it looks.

    Attributes:
        kinds: kinds of payload that `render_payload` may give, the usual one first; () where it never gives any.
        from_state: `payload_of_state` gives the same payload from a recorded state, so that no replay is needed.
        legend: what names of tiles and items mean, for people.
    """

    kinds: tuple[str, ...] = ()
    from_state: bool = False
    legend: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        versions = {kind: PAYLOADS[kind].version for kind in self.kinds}
        return {"kinds": versions, "from_state": self.from_state, "legend": dict(self.legend)}


class EnvironmentAdapter:
    """Base of all adapters. Derive, name it, and override what you know better.

    Attributes:
        name: lower-case letters, digits, `-` and `_`; unique. What `adapter="…"` and run.json call it.
        version: yours; raise it when a payload or a state key changes its meaning.
        capability: version of the contract that it speaks; refused when it is above ours.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    capability: ClassVar[int] = CAPABILITY

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Learn from one environment, wrappers included. It is not kept, and need not have been reset."""
        base = env.unwrapped
        self._observation_space, self._action_space = env.observation_space, env.action_space
        self._plain_observation = env.observation_space == getattr(base, "observation_space", None)
        self._plain_action = env.action_space == getattr(base, "action_space", None)
        self._frame = _frame(env)

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """Whether it knows this environment (with any wrappers). Quick; imports no environment's package.

        `derives_from(env, "module:Class")` is the usual answer.
        """
        return False

    def observation_names(self) -> tuple[str, ...]:
        """Names of the elements of the environment's own observation; left out where a wrapper changes its space."""
        return ()

    def action_names(self) -> tuple[str, ...]:
        """Names of the actions of the environment itself; left out where a wrapper changes its space."""
        return ()

    def state_fields(self) -> Mapping[str, StateField]:
        """What `state` gives, by key."""
        return {}

    def describe_space(self) -> SpaceDescription:
        """The spaces with their names, and the keys of the state."""
        return SpaceDescription(
            describe_space(self._observation_space),
            describe_space(self._action_space),
            _fitting(self._observation_space, self.observation_names()) if self._plain_observation else (),
            _fitting(self._action_space, self.action_names()) if self._plain_action else (),
            dict(self.state_fields()),
        )

    def describe_render(self) -> RenderDescription:
        """Which payloads there are; by default the frame that shows the environment, where there is one."""
        return RenderDescription(("rgb",) if self._frame else ())

    def render_payload(self, env: gym.Env[Any, Any]) -> RenderPayload | None:
        """How `env` looks now, or None where it cannot be told without drawing. Takes microseconds."""
        return RgbPayload(frame=self._frame) if self._frame else None

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """What of `env` is behind its observation, with the keys and types of `state_fields`; arrays are copies.

        A key may be absent where there is no value; {} before the first reset.
        """
        return {}

    def payload_of_state(self, state: Mapping[str, Any]) -> RenderPayload | None:
        """What `render_payload` would have given, from a recorded state (arrays may be lists); None where it cannot."""
        return None

    def describe(self) -> dict[str, Any]:
        """All of it as plain JSON, as it stands in run.json under `adapter`."""
        return {
            "name": self.name,
            "class": f"{type(self).__module__}:{type(self).__qualname__}",
            "version": self.version,
            "capability": self.capability,
            "space": self.describe_space().to_json(),
            "render": self.describe_render().to_json(),
        }


def derives_from(env: gym.Env[Any, Any], *places: str) -> bool:
    """Whether the unwrapped environment's class is, or derives from, one of `module:Class`; imports nothing."""
    return any(f"{kind.__module__}:{kind.__qualname__}" in places for kind in type(env.unwrapped).__mro__)


def wrappers_of(env: gym.Env[Any, Any]) -> list[str]:
    """Class names of the wrappers around an environment, the outermost first."""
    found = []
    while isinstance(env, gym.Wrapper):
        found.append(type(env).__name__)
        env = env.env
    return found


def check_adapter_class(adapter: Any) -> type[EnvironmentAdapter]:
    """The class itself when it may be used. Raises AdapterError."""
    if not (isinstance(adapter, type) and issubclass(adapter, EnvironmentAdapter)):
        raise AdapterError(f"{adapter!r} is not a class that derives from EnvironmentAdapter.")
    where = f"{adapter.__module__}:{adapter.__qualname__}"
    if not isinstance(adapter.name, str) or not _NAME.fullmatch(adapter.name):
        raise AdapterError(
            f"{where}: name must be a lower-case letter and then letters, digits, '-' and '_' (got {adapter.name!r})."
        )
    for what in ("version", "capability"):
        value = getattr(adapter, what)
        if type(value) is not int or value < 1:
            raise AdapterError(f"{where}: {what} must be a whole number of at least 1 (got {value!r}).")
    if adapter.capability > CAPABILITY:
        raise AdapterError(
            f"{where} speaks capability {adapter.capability} of adapters, this Rolltape {CAPABILITY}. "
            "Update Rolltape, or use an older release of the adapter."
        )
    return adapter


def _frame(env: gym.Env[Any, Any]) -> Any:
    """The kind of frame that shows an environment, or None."""
    if is_image_space(env.observation_space):
        return "observation"
    return "render" if env.render_mode == "rgb_array" else None


def _fitting(space: gym.Space[Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """The names where there is one for each action or element, otherwise none."""
    if isinstance(space, spaces.Discrete):
        size = int(space.n)
    elif isinstance(space, spaces.Tuple):
        size = len(space.spaces)
    else:
        size = int(np.prod(space.shape)) if space.shape else 0
    return tuple(names) if len(names) == size else ()
