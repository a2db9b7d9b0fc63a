"""Gymnasium's classic control: the physical state by name, in full precision (observations are rounded to float32)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym

from .adapter import StateField, derives_from
from .named_values import NamedValues, number

_CLASSIC = "gymnasium.envs.classic_control"


class _System(NamedTuple):
    place: str
    state: Mapping[str, StateField]
    observation: tuple[str, ...]
    actions: tuple[str, ...]


_CAR = {"position": number("place of the car along the valley"), "velocity": number("its speed along it", "1/step")}
_SYSTEMS = (
    _System(
        f"{_CLASSIC}.cartpole:CartPoleEnv",
        {
            "position": number("place of the cart", "m"),
            "velocity": number("speed of the cart", "m/s"),
            "angle": number("of the pole, 0 upright", "rad"),
            "angular_velocity": number("of the pole", "rad/s"),
        },
        ("cart position", "cart velocity", "pole angle", "pole angular velocity"),
        ("push left", "push right"),
    ),
    _System(
        f"{_CLASSIC}.mountain_car:MountainCarEnv",
        _CAR,
        ("position", "velocity"),
        ("accelerate left", "coast", "accelerate right"),
    ),
    _System(
        f"{_CLASSIC}.continuous_mountain_car:Continuous_MountainCarEnv", _CAR, ("position", "velocity"), ("force",)
    ),
    _System(
        f"{_CLASSIC}.pendulum:PendulumEnv",
        {"angle": number("of the pendulum, 0 upright", "rad"), "angular_velocity": number("of the pendulum", "rad/s")},
        ("cos angle", "sin angle", "angular velocity"),
        ("torque",),
    ),
    _System(
        f"{_CLASSIC}.acrobot:AcrobotEnv",
        {
            "angle_1": number("of the upper link, 0 hanging", "rad"),
            "angle_2": number("of the lower link to the upper one", "rad"),
            "angular_velocity_1": number("of the upper link", "rad/s"),
            "angular_velocity_2": number("of the lower link", "rad/s"),
        },
        ("cos angle 1", "sin angle 1", "cos angle 2", "sin angle 2", "angular velocity 1", "angular velocity 2"),
        ("torque -1", "no torque", "torque +1"),
    ),
)


class ClassicControlAdapter(NamedValues):
    """CartPole, MountainCar, MountainCarContinuous, Pendulum and Acrobot."""

    name: ClassVar[str] = "classic_control"

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Learn which of the five it is."""
        super().__init__(env)
        self._system = next(system for system in _SYSTEMS if derives_from(env, system.place))

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """One of the five, and what derives from them."""
        return derives_from(env, *(system.place for system in _SYSTEMS))

    def observation_names(self) -> tuple[str, ...]:
        """As the environment's own documentation calls them."""
        return self._system.observation

    def action_names(self) -> tuple[str, ...]:
        """As the environment's own documentation calls them."""
        return self._system.actions

    def state_fields(self) -> Mapping[str, StateField]:
        """Positions and speeds."""
        return self._system.state

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """The public `state` of the environment, float64."""
        values = getattr(env.unwrapped, "state", None)
        if values is None:
            return {}
        return dict(zip(self._system.state, (float(value) for value in values), strict=True))
