"""The way from a producer to the hub: registration and heartbeats. One implementation uses Ray, one is for tests."""

from __future__ import annotations

from typing import Protocol

from rolltape.schema.messages import Grant, Heartbeat, Registration

from .doorbell import Doorbell
from .window import Handle


class HubLink(Protocol):
    """A hub that answers when it can; `Handle` is an answer on its way."""

    def register(self, registration: Registration) -> Grant:
        """Blocks until the hub answers."""
        ...

    def beat(self, heartbeat: Heartbeat) -> Handle:
        """Send a heartbeat; returns at once."""
        ...

    def grant(self, handle: Handle) -> Grant:
        """The answer of a heartbeat that is ready. Raises what the call raised."""
        ...

    def wait(self, handles: list[Handle], timeout_s: float, bell: Doorbell) -> list[Handle]:
        """Those of `handles` that are ready, waiting at most `timeout_s` for the first, or until the bell rings."""
        ...
