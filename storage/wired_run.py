"""The run that a process was told to record into, by whoever started it: a job, and each of its retries."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from rolltape.schema.config_sources import RUN_VARIABLE
from rolltape.schema.errors import ConfigError

from .layout import RunFolder, is_run_id


def take_run_id(environ: MutableMapping[str, str] | None = None) -> str | None:
    """The run id that this process was given, once: what it records after that gets ids of its own.

    Raises ConfigError for what is no run id.
    """
    environ = os.environ if environ is None else environ
    given = environ.pop(RUN_VARIABLE, None)
    if given is not None and not is_run_id(given):
        raise ConfigError(f"{RUN_VARIABLE}: {given!r} is no run id; it is written by `rolltape submit`.")
    return given


def run_to_resume(lake: Path, environ: MutableMapping[str, str] | None = None) -> str | None:
    """The run id that this process was given, where an earlier try has begun that run; it is taken then.

    Raises ConfigError for what is no run id.
    """
    environ = os.environ if environ is None else environ
    given = environ.get(RUN_VARIABLE)
    if given is None or not is_run_id(given) or not was_started(lake, given):
        return None
    return take_run_id(environ)


def was_started(lake: Path, run_id: str) -> bool:
    """Whether there is such a run already: this is a retry."""
    return RunFolder.of(lake, run_id).run_json.exists()
