"""Who speaks: a run, an environment and a worker. The only way to a structured record.

`LogSource(run_id, env_id).emit(log_codes.RUN_STARTED, …)`: the context is part of the source, so no record lacks it.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from .errors import ConfigError
from .log_codes import LogCode

ROOT: Final = "rolltape"
"""Name of the logger that all of ours are below."""
EVENT: Final = "rolltape_event"
"""Attribute of a `logging.LogRecord` that carries its `LogEvent`."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """Context of records: the run and its environment; worker and incarnation where it is a worker that speaks."""

    run_id: str
    env_id: str
    worker: int | None = None
    incarnation: int | None = None

    def __post_init__(self) -> None:
        for name in ("run_id", "env_id"):
            if not getattr(self, name):
                raise ConfigError(f"{name}: a record says which run and environment it is about, got none")

    def emit(
        self,
        code: LogCode,
        *,
        sub_env: int | None = None,
        episode: int | None = None,
        section: str = "",
        shown: bool = True,
        **details: Any,
    ) -> None:
        """Log a record of `code`. Returns at once; never raises for what it cannot format or store.

        Args:
            code: an entry of the catalogue.
            sub_env, episode: what it is about, where it is about one.
            section: further lines for people, such as a table; in the recording their data is in `details`.
            shown: False: it is kept with the run and not printed, because whoever emits it says it in another way.
            **details: fill the places of the code's message, and are kept as data.
        """
        logger = _logger(code.component)
        if not logger.isEnabledFor(code.severity):
            return
        event = LogEvent(code, self, details, sub_env, episode, section, shown)
        only = _only_listener(logger, code.severity)
        if only is not None:
            only.take(time.time_ns() // 1000, event)
            return
        logger.log(code.severity, "%s", event, extra={EVENT: event}, stacklevel=2)


class LogEvent(NamedTuple):
    """A structured record: its code, who said it, and its data. As text: its message."""

    code: LogCode
    source: LogSource
    details: dict[str, Any]
    sub_env: int | None = None
    episode: int | None = None
    section: str = ""
    shown: bool = True

    def __str__(self) -> str:
        return self.code.render(self.details)


class EventHandler(logging.Handler, ABC):
    """A handler that takes events as they are: where nobody else listens, no `logging.LogRecord` is made for it."""

    @abstractmethod
    def take(self, time_us: int, event: LogEvent, message: str | None = None) -> None:
        """Take an event, said at `time_us` (UTC); `message` where it is another than the event's own."""


@cache
def _logger(component: str) -> logging.Logger:
    return logging.getLogger(f"{ROOT}.{component}")


def _only_listener(logger: logging.Logger, severity: int) -> EventHandler | None:
    """The handler that takes events, where a record would reach it and no other; None: the record has to be made.

    Goes the way of `logging.Logger.callHandlers`, each time: anybody may add a handler at any moment. A filter may be
    anybody's too, and gets its record.
    """
    if logger.filters:
        return None
    found: EventHandler | None = None
    at: logging.Logger | None = logger
    while at is not None:
        for handler in at.handlers:
            if severity < handler.level:
                continue
            if found is not None or not isinstance(handler, EventHandler) or len(handler.filters) > 1:
                return None
            found = handler
        at = at.parent if at.propagate else None
    return found
