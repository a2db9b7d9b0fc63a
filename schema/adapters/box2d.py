"""Gymnasium's Box2D environments: where the bodies are, in the units of the physics (metres, radians, seconds)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym

from .adapter import StateField, derives_from
from .named_values import NamedValues, number

_BOX2D = "gymnasium.envs.box2d"
_BODY = {
    "x": number("place of the body", "m"),
    "y": number("height of the body", "m"),
    "x_velocity": number("speed to the right", "m/s"),
    "y_velocity": number("speed upwards", "m/s"),
    "angle": number("of the body, 0 upright", "rad"),
    "angular_velocity": number("of the body", "rad/s"),
}


def _body(body: Any) -> dict[str, Any]:
    values = (*body.position, *body.linearVelocity, body.angle, body.angularVelocity)
    return dict(zip(_BODY, (float(value) for value in values), strict=True))


class LunarLanderAdapter(NamedValues):
    """LunarLander, discrete and continuous: the lander and whether its legs touch the ground."""

    name: ClassVar[str] = "lunar_lander"

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """LunarLander and what derives from it."""
        return derives_from(env, f"{_BOX2D}.lunar_lander:LunarLander")

    def observation_names(self) -> tuple[str, ...]:
        """As the environment's own documentation calls them."""
        names = ("x", "y", "x velocity", "y velocity", "angle", "angular velocity")
        return (*names, "left leg contact", "right leg contact")

    def action_names(self) -> tuple[str, ...]:
        """Engines, of the discrete or the continuous lander."""
        if self._action_space.shape:
            return ("main engine", "side engines")
        return ("nothing", "left engine", "main engine", "right engine")

    def state_fields(self) -> Mapping[str, StateField]:
        """The body and its legs."""
        legs = {
            f"{side}_leg_contact": StateField("bool", f"the {side} leg is on the ground") for side in ("left", "right")
        }
        return {**_BODY, **legs}

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """The lander's body and legs."""
        base: Any = env.unwrapped
        if getattr(base, "lander", None) is None:
            return {}
        left, right = (bool(leg.ground_contact) for leg in base.legs)
        return {**_body(base.lander), "left_leg_contact": left, "right_leg_contact": right}


class BipedalWalkerAdapter(NamedValues):
    """BipedalWalker, also hardcore: the hull and the four joints."""

    name: ClassVar[str] = "bipedal_walker"
    _JOINTS = ("hip_1", "knee_1", "hip_2", "knee_2")

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """BipedalWalker and what derives from it."""
        return derives_from(env, f"{_BOX2D}.bipedal_walker:BipedalWalker")

    def action_names(self) -> tuple[str, ...]:
        """The four joints."""
        return self._JOINTS

    def state_fields(self) -> Mapping[str, StateField]:
        """The hull and the joints."""
        return {**_BODY, **{joint: number("angle of the joint", "rad") for joint in self._JOINTS}}

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """The hull's body and the angles of the joints."""
        base: Any = env.unwrapped
        if getattr(base, "hull", None) is None:
            return {}
        return {**_body(base.hull), **{name: float(j.angle) for name, j in zip(self._JOINTS, base.joints, strict=True)}}


class CarRacingAdapter(NamedValues):
    """CarRacing, discrete and continuous: the car, and how much of the track it has seen."""

    name: ClassVar[str] = "car_racing"

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """CarRacing and what derives from it."""
        return derives_from(env, f"{_BOX2D}.car_racing:CarRacing")

    def action_names(self) -> tuple[str, ...]:
        """Pedals and wheel, of the discrete or the continuous car."""
        return ("steer", "gas", "brake") if self._action_space.shape else ("nothing", "right", "left", "gas", "brake")

    def state_fields(self) -> Mapping[str, StateField]:
        """The car and its tiles."""
        tiles = {
            "tiles_visited": StateField("int64", "tiles of the track that the car has touched"),
            "tiles": StateField("int64", "tiles of the track"),
        }
        return {**_BODY, **tiles}

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """The car's hull and the counts of tiles."""
        base: Any = env.unwrapped
        if getattr(base, "car", None) is None:
            return {}
        return {**_body(base.car.hull), "tiles_visited": int(base.tile_visited_count), "tiles": len(base.track)}
