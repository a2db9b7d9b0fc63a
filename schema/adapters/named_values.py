"""Environments whose state is a handful of named numbers: shown as a frame where they draw, as lines otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from rolltape.schema.render_payload import RenderPayload, RgbPayload, TextPayload

from .adapter import EnvironmentAdapter, RenderDescription, StateField


class NamedValues(EnvironmentAdapter):
    """Base of adapters with such a state. Derive and give `state_fields` and `state`."""

    def describe_render(self) -> RenderDescription:
        """The frame where the environment draws one or is observed as one, otherwise the state as text."""
        return RenderDescription(("rgb",) if self._frame else ("text",), from_state=True)

    def render_payload(self, env: gym.Env[Any, Any]) -> RenderPayload | None:
        """The frame, or the values by name."""
        return self.payload_of_state(self.state(env))

    def payload_of_state(self, state: Mapping[str, Any]) -> RenderPayload | None:
        """The frame, or the values by name."""
        if not state:
            return None
        if self._frame:
            return RgbPayload(frame=self._frame)
        shown = {key: field for key, field in self.state_fields().items() if key in state and not field.shape}
        width = max(map(len, shown), default=0)
        return TextPayload(lines=tuple(_line(key, state[key], field, width) for key, field in shown.items()))


def _line(key: str, value: Any, field: StateField, width: int) -> str:
    shown = f"{value:+12.4f}" if field.dtype == "float64" else f"{value!s:>12}"
    return f"{key:<{width}} {shown} {field.unit}".rstrip()


def number(meaning: str, unit: str = "") -> StateField:
    """A float of the state."""
    return StateField("float64", meaning, unit=unit)
