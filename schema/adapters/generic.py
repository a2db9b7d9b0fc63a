"""The adapter of every environment that no other one knows."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym

from .adapter import EnvironmentAdapter


class GenericAdapter(EnvironmentAdapter):
    """Knows the spaces, and the frame that shows the environment where there is one. It has no state."""

    name: ClassVar[str] = "generic"

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        """Always."""
        return True
