"""What is logged, how it is printed, and how much of it may wait."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .config_base import Frozen, Risk, Unit
from .config_diagnostics import DiagnosticsConfig

LogLevel = Literal["debug", "info", "warning", "error"]


class LoggingConfig(Frozen):
    """One policy for the driver and every actor."""

    level: LogLevel = "info"
    """The least level of Rolltape's own records that is printed. Routine events are `debug`, faults `error`."""
    others_level: LogLevel = "warning"
    """The least level of everybody else's records: libraries talk too much at `info`."""
    output: Literal["auto", "plain", "rich", "json"] = "auto"
    """How records are printed; `auto` is `rich` on a terminal, otherwise `plain`. `json` is one object a line."""
    file: str = ""
    """A file that the driver's records are appended to as well, one JSON object a line; none by default."""
    components: tuple[str, ...] = ()
    """Only records of these components of the catalogue are printed; all by default. What is kept is not filtered."""
    record: bool = True
    """Whether records are kept in `logs/` of the recording, from `record_level` on."""
    record_level: LogLevel = "info"
    """The least level that is kept: with `debug` a fleet writes hundreds of rows a second."""
    queue_records: Annotated[
        int, Field(ge=100, le=10_000_000), Unit("records"), Risk("a burst loses its oldest records", below=1_000)
    ] = 20_000
    """Records that may wait in a process for the recording. Logging never waits: what does not fit is dropped and
    counted. Two seconds of 10,000 a second."""
    flush_after_s: Annotated[float, Field(gt=0, le=60), Unit("s")] = 1.0
    """Age at which waiting records are sent, or earlier when 5,000 wait; a crash loses as much of them. Sending costs
    a worker about as much for one record as for hundreds, so that half the age would take twice its time."""
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()
    verbose: bool = False
    """Whether summaries show every setting; otherwise only what differs from its default."""
