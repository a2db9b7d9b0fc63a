"""The one logging policy, set by `dictConfig` once in the driver and once in every actor.

Rules:
1. The root logger says what `logging.others_level` says (WARNING), ours what `logging.level` says (INFO), faults are
   ERROR, routine is DEBUG.
2. In our own processes (the command line, actors) other packages' warnings look like ours. In somebody's script the
   root logger is theirs: it is not touched, and where it has handlers, our records go to those alone.
3. An actor writes to its stderr and nowhere else: Ray brings that to the driver's terminal, with the actor's name
   before it. The driver does not show what actors put into the recording, so nothing appears twice.
4. Every record that has a run goes to whoever is attached to that run (`attach`), which keeps it in the recording.
   Where no other handler wants it, the event goes there directly (`log_source.EventHandler`).
"""

from __future__ import annotations

import logging
import logging.config
import threading
from collections.abc import Callable
from typing import Any, Literal

from .config_logging import LoggingConfig
from .errors import ConfigError
from .log_codes import CATALOGUE, SEVERITY, UNCATALOGUED
from .log_forms import JsonForm, PlainForm, StderrHandler, event_of, text_of
from .log_source import ROOT, EventHandler, LogEvent

Role = Literal["script", "program", "actor"]
"""`script`: somebody's Python that uses us. `program`: our command line. `actor`: a process that Ray started for us."""
Sink = Callable[[int, LogEvent, str | None], None]
"""Takes UTC microseconds, an event, and its message where that is another than the event's own."""

_lock = threading.Lock()
_current: tuple[LoggingConfig, Role] | None = None
_sinks: dict[str, list[tuple[int, Sink]]] = {}


class RecordingHandler(EventHandler):
    """Hands records to the sinks of their run."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on; a sink never waits and never raises."""
        event = event_of(record)
        if event is None:
            return
        self.take(int(record.created * 1e6), event, text_of(record))

    def take(self, time_us: int, event: LogEvent, message: str | None = None) -> None:
        """Hand an event on."""
        for severity, sink in _sinks.get(event.source.run_id, ()):
            if event.code.severity >= severity:
                sink(time_us, event, message)


class Structured(logging.Filter):
    """Lets every record through; with `strict`, raises for one of ours that has no code and context.

    Tests set `strict`: what a user may want to filter by must be in the catalogue.
    """

    strict: bool = False

    def filter(self, record: logging.LogRecord) -> bool:
        """True."""
        if event_of(record) is None and Structured.strict:
            raise ConfigError(
                f"A record of {record.name} names no code of the catalogue and no run: {text_of(record)!r}. "
                f"Emit it through a LogSource (rolltape.schema.log_source); {UNCATALOGUED.code} is for plug-ins."
            )
        return True


class Components(logging.Filter):
    """Lets through what `logging.components` names; everything where that is empty, and other packages' records."""

    def __init__(self, components: tuple[str, ...]) -> None:
        super().__init__()
        self._components = frozenset(components)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is shown."""
        event = event_of(record)
        if event is None:
            return True
        return event.shown and (not self._components or event.code.component in self._components)


def configure_logging(config: LoggingConfig | None = None, role: Role = "script") -> None:
    """Set the policy in this process. The same again does nothing; another one replaces it.

    Args:
        config: the `logging` branch of a run's configuration; None: its defaults.
        role: whose process this is, see the rules above.

    Raises:
        ConfigError: `logging.file` cannot be opened, or `logging.components` names one that is not in the catalogue.
    """
    global _current
    config = config or LoggingConfig()
    _check_components(config.components)
    with _lock:
        if _current == (config, role):
            return
        if role == "script" and _current is not None and _current[1] != "script":
            return  # the command line uses the same classes as a script, and has said how it is to be
        try:
            logging.config.dictConfig(_settings(config, role))
        except ValueError as error:
            cause = error.__cause__ or error
            raise ConfigError(f"logging.file: {config.file!r} cannot be opened: {cause}") from error
        _current = (config, role)


def is_program() -> bool:
    """Whether this process is our command line, which shows a run's end in its own way."""
    return _current is not None and _current[1] == "program"


def attach(run_id: str, level: str, sink: Sink) -> None:
    """Give the records of a run, from `level` on, to `sink` as well; it must neither wait nor raise."""
    with _lock:
        _sinks[run_id] = [*_sinks.get(run_id, []), (SEVERITY[level], sink)]  # pyright: ignore[reportArgumentType]
        _lower_level()


def detach(run_id: str, sink: Sink) -> None:
    """The opposite of `attach`."""
    with _lock:
        left = [(severity, one) for severity, one in _sinks.get(run_id, []) if one != sink]
        _sinks.pop(run_id, None)
        if left:
            _sinks[run_id] = left
        _lower_level()


def _check_components(names: tuple[str, ...]) -> None:
    known = CATALOGUE.components()
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"logging.components: {unknown[0]!r} is none; there are {', '.join(known)}")


def _lower_level() -> None:
    """Loggers let through what anybody wants; handlers choose."""
    if _current is None:
        return
    wanted = [severity for sinks in _sinks.values() for severity, _ in sinks]
    logging.getLogger(ROOT).setLevel(min([SEVERITY[_current[0].level], *wanted]))


def _settings(config: LoggingConfig, role: Role) -> dict[str, Any]:
    root = logging.getLogger()
    theirs = role == "script" and bool(root.handlers)
    form = "json" if config.output == "json" else "plain"
    handlers: dict[str, Any] = {"recording": {"()": RecordingHandler, "filters": ["structured"]}}
    shown: list[str] = []
    if not theirs:
        handlers["console"] = {
            "()": StderrHandler,
            "level": config.level.upper(),
            "formatter": form,
            "filters": ["components"],
            "form": config.output if role != "actor" else form,
        }
        shown.append("console")
    if config.file:
        handlers["file"] = {
            "class": "logging.FileHandler",
            "filename": config.file,
            "encoding": "utf-8",
            "level": config.level.upper(),
            "formatter": "json",
            "filters": ["components"],
        }
        shown.append("file")
    settings: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {"()": PlainForm},
            "json": {"()": JsonForm},
        },
        "filters": {
            "structured": {"()": Structured},
            "components": {"()": Components, "components": config.components},
        },
        "handlers": handlers,
        "loggers": {
            ROOT: {
                "level": _least(config),
                "handlers": ["recording", *shown],
                "propagate": theirs,
            }
        },
    }
    if role != "script" and not root.handlers:
        settings["root"] = {"level": config.others_level.upper(), "handlers": ["others"]}
        handlers["others"] = {"()": StderrHandler, "formatter": form, "form": handlers["console"]["form"]}
    return settings


def _least(config: LoggingConfig) -> int:
    wanted = [severity for sinks in _sinks.values() for severity, _ in sinks]
    return min([SEVERITY[config.level], *wanted])
