"""Running statistics of normalizing wrappers, found and read.

They are found by what they are, wherever they sit in the stack: an attribute `obs_rms`, `return_rms` or `ret_rms` of a
wrapper, with `mean`, `var` and `count` (or a dict of such, by the entries of a Dict observation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper

from rolltape.schema.errors import ConfigError
from rolltape.schema.space_signature import space_signature

TARGETS: Final = {"obs_rms": "observation", "return_rms": "reward", "ret_rms": "reward"}
"""Attributes of wrappers that hold statistics, and what those are of."""
WRAPPERS: Final = {"NormalizeObservation": "obs_rms", "NormalizeReward": "return_rms"}
"""What is asked for in another process, where only the names of wrappers are known."""
DISCOUNTED: Final = "discounted_reward"
"""Attribute in which a wrapper of one environment carries the discounted sum of its rewards on."""
SWITCHES: Final = ("update_running_mean", "training")
"""Attributes that say whether statistics go on: of Gymnasium's wrappers, of VecNormalize."""


class Moments(NamedTuple):
    """Statistics at one moment.

    Attributes:
        mean, var: float64, in the shape of what is normalized.
        dtype: of mean and var in the wrapper.
        discounted: float64, the discounted sum of rewards that goes on; None where there is none.
    """

    mean: np.ndarray
    var: np.ndarray
    count: float
    updating: bool
    dtype: str
    discounted: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one wrapper keeps.

    Attributes:
        target: `observation` or `reward`.
        wrapper: the class that keeps them.
        place: which of those around the environment, 0 the outermost.
        entry: of a Dict observation; None: all of it.
        first, envs: the first sub-environment that they are of, and of how many.
        epsilon, signature: of the wrapper and its observation space, where known.
        read: what they are now.
        holder: the wrapper itself; None where that is in another process.
        attribute: where it keeps them.
    """

    target: str
    wrapper: str
    place: int
    entry: str | None
    first: int
    envs: int
    epsilon: float | None
    signature: str | None
    read: Callable[[], Moments]
    holder: Any = None
    attribute: str = ""


def find_statistics(env: Any) -> list[Statistics]:
    """The statistics of all wrappers around an environment or vector environment, the outermost first."""
    found: list[Statistics] = []
    if not isinstance(env, VectorEnv):
        return list(_of_stack(env, 0, 0, 1))
    n, layer = env.num_envs, env
    while isinstance(layer, VectorWrapper):
        found += _of_holder(layer, len(found), 0, n)
        layer = layer.env
    found += _of_holder(layer, len(found), 0, n)
    if isinstance(layer, SyncVectorEnv):
        for first, inner in enumerate(layer.envs):
            found += _of_stack(inner, _next_place(found, n), first, 1)
    elif isinstance(layer, AsyncVectorEnv):
        found += _elsewhere(layer, _next_place(found, n))
    return found


def statistics_of(holder: Any, num_envs: int) -> list[Statistics]:
    """The statistics of an object that stands outside of what is recorded, such as Stable-Baselines3's VecNormalize.

    Raises ConfigError where it has none.
    """
    found: list[Statistics] = []
    layer = holder
    while layer is not None and not isinstance(layer, gym.Env | VectorEnv):  # a VecEnv of wrappers
        found += _of_holder(layer, len(found), 0, num_envs)
        layer = getattr(layer, "venv", None)
    if isinstance(holder, gym.Env | VectorEnv):
        found = find_statistics(holder)
    if not found:
        raise ConfigError(
            f"watch_normalization: {type(holder).__qualname__} keeps no running statistics. Give an object with "
            f"{', '.join(TARGETS)} (each with mean, var and count), such as Stable-Baselines3's VecNormalize."
        )
    return found


def _next_place(found: Sequence[Statistics], num_envs: int) -> int:
    return sum(1 for one in found if one.envs == num_envs and one.first == 0)


def _of_stack(env: Any, place: int, first: int, envs: int) -> Iterator[Statistics]:
    while True:
        for one in _of_holder(env, place, first, envs):
            yield one
            place = one.place + 1
        if not isinstance(env, gym.Wrapper):
            return
        env = env.env


def _of_holder(holder: Any, place: int, first: int, envs: int) -> list[Statistics]:
    found: list[Statistics] = []
    for name, target in TARGETS.items():
        kept = _own(holder, name)
        entries = kept if isinstance(kept, dict) else {None: kept}
        for entry, rms in entries.items():
            if not all(hasattr(rms, part) for part in ("mean", "var", "count")):
                continue
            epsilon = getattr(holder, "epsilon", None)
            found.append(
                Statistics(
                    target,
                    type(holder).__name__,
                    place,
                    None if entry is None else str(entry),
                    first,
                    envs,
                    float(epsilon) if isinstance(epsilon, int | float) else None,
                    _signature(holder, entry) if target == "observation" else None,
                    _reader(holder, name, entry, carries=envs == 1 and target == "reward"),
                    holder,
                    name,
                )
            )
        place += bool(found) and found[-1].place == place
    return found


def _own(holder: Any, name: str) -> Any:
    """What an object has under a name itself, not its class; None where it has nothing.

    Its `__dict__` is asked for only where that must be: from then on CPython keeps its attributes in a real dict, and
    a CartPole takes 0.7 µs a step more.
    """
    if any(name in vars(kind) for kind in type(holder).__mro__):
        return getattr(holder, "__dict__", {}).get(name)
    try:
        return object.__getattribute__(holder, name)
    except AttributeError:
        return None


def _reader(holder: Any, name: str, entry: Any, *, carries: bool) -> Callable[[], Moments]:
    """Reads through the holder, which may be given other statistics (as by `load`)."""

    def read() -> Moments:
        rms = getattr(holder, name)
        carried = getattr(holder, DISCOUNTED, None) if carries else None
        return _moments(rms if entry is None else rms[entry], _updating(holder), carried)

    return read


def _updating(holder: Any) -> bool:
    for name in SWITCHES:
        if isinstance(setting := getattr(holder, name, None), bool):
            return setting
    return True


def _moments(rms: Any, updating: bool, carried: Any) -> Moments:
    mean, var = np.array(rms.mean, np.float64), np.array(rms.var, np.float64)
    discounted = None if carried is None else np.array(carried, np.float64)
    return Moments(mean, var, float(rms.count), updating, str(np.asarray(rms.mean).dtype), discounted)


def _signature(holder: Any, entry: Any) -> str | None:
    space = getattr(holder, "single_observation_space", None) or getattr(holder, "observation_space", None)
    if entry is not None and isinstance(space, gym.spaces.Dict):
        space = space[entry]
    return space_signature(space) if isinstance(space, gym.Space) else None


def _elsewhere(env: AsyncVectorEnv, place: int) -> list[Statistics]:
    """Of sub-environments in other processes, as their specification names the wrappers: the outermost of each kind.

    Asking for an attribute that is not there would end those processes.
    """
    found: list[Statistics] = []
    for first, spec in enumerate(env.get_attr("spec")):
        names = [wrapper.name for wrapper in reversed(getattr(spec, "additional_wrappers", ()))]
        kinds = [name for name in dict.fromkeys(names) if name in WRAPPERS]
        for number, kind in enumerate(kinds):
            attribute = WRAPPERS[kind]

            outermost = next(w for w in reversed(spec.additional_wrappers) if w.name == kind)
            arguments, target = outermost.kwargs or {}, TARGETS[attribute]
            carries = target == "reward" and outermost.entry_point.startswith("gymnasium.")

            def read(first: int = first, attribute: str = attribute, carries: bool = carries) -> Moments:
                updating = env.get_attr("update_running_mean")[first]
                carried = env.get_attr(DISCOUNTED)[first] if carries else None
                return _moments(env.get_attr(attribute)[first], bool(updating), carried)

            signature = space_signature(env.single_observation_space) if target == "observation" else None
            epsilon = arguments.get("epsilon")
            found.append(Statistics(target, kind, place + number, None, first, 1, epsilon, signature, read))
    return found
