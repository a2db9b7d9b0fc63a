"""Atari games of the Arcade Learning Environment: lives, the frame number, and the 128 bytes of memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from .adapter import StateField, derives_from
from .named_values import NamedValues


class AtariAdapter(NamedValues):
    """All games of `ale_py`, whatever they are observed as. Reads the public `env.unwrapped.ale`."""

    name: ClassVar[str] = "atari"

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Learn the names of the buttons."""
        super().__init__(env)
        meanings = getattr(env.unwrapped, "get_action_meanings", tuple)
        self._actions = tuple(str(meaning).lower() for meaning in meanings())

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """Every game."""
        return derives_from(env, "ale_py.env:AtariEnv")

    def action_names(self) -> tuple[str, ...]:
        """What the buttons mean."""
        return self._actions

    def state_fields(self) -> Mapping[str, StateField]:
        """Lives, frame number and memory."""
        return {
            "lives": StateField("int64", "lives left"),
            "episode_frame": StateField("int64", "frame of the episode, counted by the emulator", unit="frames"),
            "ram": StateField("uint8", "memory of the console", shape=(128,)),
        }

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        """Asks the emulator."""
        ale: Any = getattr(env.unwrapped, "ale", None)
        if ale is None:
            return {}
        return {
            "lives": int(ale.lives()),
            "episode_frame": int(ale.getEpisodeFrameNumber()),
            "ram": np.array(ale.getRAM(), np.uint8),
        }
