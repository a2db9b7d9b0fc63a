"""The gateway as an actor.

It lives in `dashboards/`, which may import this package and not the other way round, so that its class is named here
and imported in the actor's own process.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.errors import MissingExtra
from rolltape.schema.live_messages import LiveDemand, LiveItem

from .imports import import_module

GATEWAY: Final = "rolltape.dashboards.gateway"
NEEDED: Final = {"starlette": "starlette", "uvicorn": "uvicorn", "websockets": "websockets", "PIL": "pillow"}


def missing_packages() -> list[str]:
    """Packages of the extra `dashboard` that are not installed here."""
    return [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]


class GatewayProcess:
    """Makes the gateway in its process, and hands calls on to it. Arguments as of `dashboards.gateway.Gateway`."""

    def __init__(
        self, run_path: str, name: str, hub: Any, live: LiveConfig, view: UiConfig, about: Mapping[str, Any]
    ) -> None:
        # Nothing here can fail: what a constructor raises, Ray reports as the death of the actor, and that is for good.
        self._error: Exception | None = None
        self._gateway: Any = None
        try:
            module: Any = import_module(GATEWAY)
            self._gateway = module.Gateway(run_path, name, hub, live, view, about)
        except ImportError as error:
            self._error = MissingExtra(f"The live page needs {error.name}: pip install 'rolltape[dashboard]'")
        except Exception as error:
            self._error = error

    def address(self) -> str:
        """Where the page is. Raises what keeps it from being served."""
        return self._working().address()

    def push(self, owner: str, items: tuple[LiveItem, ...]) -> LiveDemand:
        """Take what a producer shows; answers what it should show next."""
        return self._working().push(owner, items)

    def stop(self, status: str) -> None:
        """The run has ended."""
        self._working().stop(status)

    def _working(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._gateway
