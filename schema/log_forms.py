"""How a record looks: plain text, rich text, JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from .log_codes import UNCATALOGUED, as_text
from .log_source import EVENT, LogEvent

STYLES: Final = {"debug": "dim", "info": "green", "warning": "yellow", "error": "bold red"}


def event_of(record: logging.LogRecord) -> LogEvent | None:
    """The structured part of a record, None where it has none."""
    event = getattr(record, EVENT, None)
    return event if isinstance(event, LogEvent) else None


def json_text(value: Any) -> str:
    """JSON of anything: what JSON does not know as text, NaN and infinity as text too, so that every reader takes
    it. Never raises: a value whose own code does is named by its type."""
    try:
        return _encode(value)
    except Exception:  # NaN, a key that is no text, a circle, or whatever the code of a value raises
        return json.dumps(_finite(value, 0), ensure_ascii=False, default=as_text)


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", 0) == 1:
        return item()
    return as_text(value)


_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode


def _finite(value: Any, depth: int) -> Any:
    if depth > 20:
        return as_text(value)[:1000] if not isinstance(value, Mapping | list | tuple) else "…"
    if isinstance(value, Mapping):
        return {as_text(name): _finite(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, depth + 1) for item in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else as_text(value)


def text_of(record: logging.LogRecord) -> str:
    """What a record says; a message that cannot be formatted as it was given."""
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit the message: the record still counts
        return f"{as_text(record.msg)} {as_text(record.args)}"


def event_text(event: LogEvent) -> str:
    """What an event says; one whose data cannot be formatted as its message with its places."""
    try:
        return str(event)
    except Exception:  # a value that has no text: the record still counts
        return event.code.message


def _who(event: LogEvent) -> str:
    source = event.source
    said = [] if source.worker is None else [f"worker {source.worker}.{source.incarnation or 0}"]
    said += [f"sub_env {event.sub_env}"] if event.sub_env is not None else []
    said += [f"episode {event.episode}"] if event.episode is not None else []
    return f" ({', '.join(said)})" if said else ""


class PlainForm(logging.Formatter):
    """`12:00:01 WARNING writer LOG3002 message (worker 1.0)`, and a section's lines below it."""

    default_time_format = "%H:%M:%S"

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of its section and of an exception."""
        event = event_of(record)
        when = self.formatTime(record, self.default_time_format)
        if event is None:
            line = f"{when} {record.levelname} {record.name} {text_of(record)}"
        else:
            code = event.code
            line = f"{when} {record.levelname} {code.component} {code.code} {text_of(record)}{_who(event)}"
            if event.section:
                line += "\n" + event.section
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonForm(logging.Formatter):
    """One JSON object a line, with the names of the columns of the table `logs`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event = event_of(record)
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        said: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "severity": record.levelno}
        if event is None:
            said |= {"code": UNCATALOGUED.code, "component": record.name, "message": text_of(record)}
        else:
            code, source = event.code, event.source
            said |= {"code": code.code, "component": code.component, "subcomponent": code.subcomponent}
            said |= {"message": text_of(record), "run_id": source.run_id, "env_id": source.env_id}
            said |= {"worker": source.worker, "incarnation": source.incarnation}
            said |= {"sub_env": event.sub_env, "episode": event.episode, "data": event.details}
        said["pid"] = record.process
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json_text(said)


class StderrHandler(logging.StreamHandler[Any]):
    """Writes to what `sys.stderr` is at that moment; rich where that is asked for or a terminal."""

    def __init__(self, form: str = "auto") -> None:
        logging.Handler.__init__(self)
        self._form = form

    @property
    def stream(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Where it writes."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; what cannot be written is no reason to fail."""
        if self._form == "rich" or (self._form == "auto" and sys.stderr is not None and sys.stderr.isatty()):
            try:
                _print_rich(record)
                return
            except Exception:
                self.handleError(record)
                return
        super().emit(record)


def _print_rich(record: logging.LogRecord) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    event = event_of(record)
    level = record.levelname.lower()
    line = Text(logging.Formatter().formatTime(record, "%H:%M:%S") + " ", style="dim")
    line.append(f"{level:<7} ", style=STYLES.get(level, ""))
    line.append(f"{event.code.component if event else record.name} ", style="cyan")
    line.append(text_of(record))
    if event is not None:
        line.append(f"{_who(event)} {event.code.code}", style="dim")
        if event.section:
            line.append("\n" + event.section)
    if record.exc_info:
        line.append("\n" + logging.Formatter().formatException(record.exc_info))
    console.print(line)
