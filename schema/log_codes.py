"""The catalogue of log records: every structured record names one of these codes, and nothing else decides its level.

Rules:
1. A code is `LOG` and digits. The first of four digits is its area: 0 logging itself, 1 runs, 2 workers, 3 the writer,
   4 backpressure, 5 external programs, 6 diagnostics, 7 schema; plug-ins take five digits and more.
2. A code is never given another meaning. One that is no longer used is taken out, and its number not used again.
3. `message` has places such as `{error}`; what fills them is kept as data with the record.
4. Level: DEBUG is routine, INFO happens once or twice a run, WARNING is worth a look, ERROR is a fault.
5. Who adds codes at run time (`register`) takes a component of its own: the ones here are ours.

docs/log-codes.md is written from this table.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from .errors import ConfigError

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
SEVERITY: Final[dict[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""As Python's logging counts them."""

CODE: Final = re.compile(r"LOG\d{1,9}", re.ASCII)
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogCode:
    """One kind of record.

    Attributes:
        code: `LOG<digits>`, unique.
        level: how severe it is, always.
        component, subcomponent: who says it; lower-case words.
        message: what is said, with places for the record's data.
        action: what the operator should do.
        tags: further words to filter by.
    """

    code: str
    level: Level
    component: str
    subcomponent: str
    message: str
    action: str
    tags: tuple[str, ...] = ()
    severity: int = field(init=False)
    """10, 20, 30 or 40."""
    fields: tuple[str, ...] = field(init=False)
    """Names of the places in `message`."""

    def __post_init__(self) -> None:
        if not CODE.fullmatch(self.code):
            raise ConfigError(f"code: expected LOG and one to nine digits, got {self.code!r}")
        if self.level not in LEVELS:
            raise ConfigError(f"{self.code}.level: expected one of {', '.join(LEVELS)}, got {self.level!r}")
        names = {"component": self.component, "subcomponent": self.subcomponent}
        names |= {f"tags.{number}": tag for number, tag in enumerate(self.tags)}
        for where, name in names.items():
            if not NAME.fullmatch(name):
                raise ConfigError(f"{self.code}.{where}: expected a lower-case word, got {name!r}")
        for where, text in (("message", self.message), ("action", self.action)):
            if not text.strip() or "\n" in text:
                raise ConfigError(f"{self.code}.{where}: expected one line of text, got {text!r}")
        object.__setattr__(self, "severity", SEVERITY[self.level])
        object.__setattr__(self, "fields", tuple(_places(self)))

    def render(self, details: dict[str, object]) -> str:
        """The message with its places filled; one that lacks a value stays as it is."""
        try:
            return self.message.format_map(details)
        except Exception:  # a value that is missing, does not fit its place, or whose own code raises
            return self.message.format_map(_Lenient(details))


def as_text(value: object) -> str:
    """A value as text; one whose own code raises is named by its type: a log line must not end who writes it."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}: str() raised {type(error).__name__}>"


class _Lenient(dict[str, object]):
    """Values as plain text, whatever format a place asks for."""

    def __missing__(self, name: str) -> object:
        return _Absent(name)

    def __getitem__(self, name: str) -> object:
        return _Plain(super().__getitem__(name)) if name in self else _Absent(name)


class _Plain:
    def __init__(self, value: object) -> None:
        self._value = value

    def __format__(self, spec: str) -> str:
        return as_text(self._value)


class _Absent(_Plain):
    def __format__(self, spec: str) -> str:
        return f"{{{self._value}}}"


def _places(code: LogCode) -> Iterator[str]:
    try:
        for _, name, _, _ in string.Formatter().parse(code.message):
            if name is not None:
                if not name.isidentifier():
                    raise ConfigError(f"{code.code}.message: a place is a plain name such as {{error}}, got {name!r}")
                yield name
    except ValueError as error:
        raise ConfigError(f"{code.code}.message: {error} in {code.message!r}") from None


class LogCatalogue:
    """Codes by their names. There is one of ours, `CATALOGUE`; tests make others."""

    def __init__(self) -> None:
        self._codes: dict[str, LogCode] = {}
        self._own: set[str] = set()

    def declare(
        self,
        code: str,
        level: Level,
        component: str,
        subcomponent: str,
        message: str,
        action: str,
        *tags: str,
    ) -> LogCode:
        """A code of the table below. Raises ConfigError where it is not well-formed or taken."""
        entry = LogCode(code, level, component, subcomponent, message, action, tags)
        self._add(entry)
        self._own.add(component)
        return entry

    def register(self, *codes: LogCode) -> None:
        """Add the codes of a plug-in, all or none; the same ones again change nothing.

        Raises:
            ConfigError: a code is taken by another meaning, or a component is one of ours.
        """
        for entry in codes:
            if self._codes.get(entry.code) == entry:
                continue
            self._check_free(entry)
            if entry.component in self._own:
                raise ConfigError(
                    f"{entry.code}.component: {entry.component!r} is Rolltape's own; take a name of your own, such as "
                    f"that of your package."
                )
        names = [entry.code for entry in codes]
        if len(set(names)) < len(names):
            raise ConfigError(f"codes: {', '.join(sorted({n for n in names if names.count(n) > 1}))} come twice")
        self._codes.update({entry.code: entry for entry in codes})

    def _add(self, entry: LogCode) -> None:
        self._check_free(entry)
        self._codes[entry.code] = entry

    def _check_free(self, entry: LogCode) -> None:
        if (taken := self._codes.get(entry.code)) is not None:
            raise ConfigError(
                f"code: {entry.code} is {taken.component}.{taken.subcomponent}: {taken.message!r}; take another number"
            )

    def by_code(self, code: str) -> LogCode | None:
        """The entry of a code, None where nobody declared it."""
        return self._codes.get(code)

    def components(self) -> dict[str, tuple[str, ...]]:
        """All components in alphabetical order, each with its subcomponents."""
        found: dict[str, set[str]] = {}
        for entry in self._codes.values():
            found.setdefault(entry.component, set()).add(entry.subcomponent)
        return {component: tuple(sorted(found[component])) for component in sorted(found)}

    def snapshot(self) -> list[dict[str, object]]:
        """All entries as plain values, in the order of their numbers: for pages, filters and other languages."""
        return [
            {
                "code": entry.code,
                "level": entry.level,
                "severity": entry.severity,
                "component": entry.component,
                "subcomponent": entry.subcomponent,
                "message": entry.message,
                "action": entry.action,
                "tags": list(entry.tags),
            }
            for entry in self
        ]

    def __iter__(self) -> Iterator[LogCode]:
        return iter(sorted(self._codes.values(), key=lambda entry: (int(entry.code[3:]), entry.code)))

    def __len__(self) -> int:
        return len(self._codes)


CATALOGUE: Final = LogCatalogue()
_declare = CATALOGUE.declare

by_code = CATALOGUE.by_code
components = CATALOGUE.components
snapshot = CATALOGUE.snapshot
register = CATALOGUE.register

# ---- 0: logging itself ----

RECORDS_DROPPED = _declare(
    "LOG1", "warning", "logging", "records", "{rows} log records were dropped: {reason}.",
    "Log less, or raise logging.queue_records; the ledger has the number.", "loss",
)  # fmt: skip
UNCATALOGUED = _declare(
    "LOG2", "debug", "logging", "records", "{message}",
    "A record without a code, as a plug-in writes it: declare one and emit it through a LogSource.",
)  # fmt: skip

# ---- 1: runs ----

RUN_STARTED = _declare(
    "LOG1001", "info", "run", "lifecycle", "Recording {env_id} as run {run} in {lake}.",
    "Nothing.", "summary",
)  # fmt: skip
RUN_RESUMED = _declare(
    "LOG1002", "info", "run", "lifecycle", "Run {run} goes on with session {session}, from {steps:,} steps on.",
    "Nothing.", "summary", "restart",
)  # fmt: skip
RUN_ENDED = _declare(
    "LOG1003", "info", "run", "lifecycle", "Run {run} {status}: {steps:,} steps, {episodes:,} episodes.",
    "Nothing.", "summary",
)  # fmt: skip
RUN_FAILED = _declare(
    "LOG1004", "error", "run", "lifecycle", "Run {run} failed: {reason}",
    "Read the reason; what was acknowledged is safe and readable.", "summary",
)  # fmt: skip

# ---- 2: workers ----

WORKER_STARTED = _declare(
    "LOG2001", "debug", "worker", "lifecycle", "{key} steps {num_envs} sub-environments from {offset} on.",
    "Nothing.",
)  # fmt: skip
WORKER_REPLACED = _declare(
    "LOG2002", "warning", "worker", "lifecycle",
    "{key} died and was replaced; {lost_steps} steps and {lost_episodes} episodes of it are lost. {cause}",
    "Once is bad luck. Again and again: step the environment alone, or give workers more memory.", "loss", "restart",
)  # fmt: skip
ENV_CLOSE_RAISED = _declare(
    "LOG2003", "warning", "worker", "environment", "{env_id} raised while it was closed: {error}",
    "Everything was recorded by then; see to the environment's close().",
)  # fmt: skip

# ---- 3: the writer ----

WRITER_REPLACED = _declare(
    "LOG3001", "warning", "writer", "lifecycle", "{error}",
    "Nothing: the next writer reads from the disk what is durable and goes on.", "restart",
)  # fmt: skip
WRITER_RETRIES = _declare(
    "LOG3002", "warning", "writer", "storage", "{error} It is tried again for {give_up_s:g} s.",
    "Make room, or bring the disk back; producers wait meanwhile and nothing is lost.", "disk",
)  # fmt: skip
WRITER_RECOVERED = _declare(
    "LOG3003", "warning", "writer", "storage", "Writing again, after {seconds:.0f} s.",
    "Nothing.", "disk",
)  # fmt: skip
WRITER_FAILED = _declare(
    "LOG3004", "error", "writer", "storage", "{error}",
    "The run ends; what was acknowledged is safe. Repair what the message names and record again.", "disk",
)  # fmt: skip
CATALOG_NOT_PUBLISHED = _declare(
    "LOG3005", "warning", "writer", "catalog", "The catalog could not be published: {error}",
    "The recording goes on; the next commit tries again. Who reads catalog.duckdb sees the last one.", "catalog",
)  # fmt: skip
PARTS_NOT_MERGED = _declare(
    "LOG3006", "warning", "writer", "compaction", "Small parts could not be merged: {error} The recording goes on.",
    "Read the reason; `rolltape compact` merges them afterwards.", "disk",
)  # fmt: skip
MARKERS_REBUILT = _declare(
    "LOG3007", "warning", "writer", "recovery",
    "Could not be read, and were made again from the parts of their commits: {markers}.",
    "Nothing was lost by it. Look after the disk; `rolltape verify` checks the rest when the run has ended.", "disk",
)  # fmt: skip
COMMITS_SET_ASIDE = _declare(
    "LOG3008", "error", "writer", "recovery",
    "Could not be read, nor made again from the parts of their commits, which are in quarantine: {markers}.",
    "What these held is missing; `rolltape verify` says how much when the run has ended. Look after the disk.", "disk",
)  # fmt: skip

# ---- 4: backpressure ----

PRODUCER_WAITS = _declare(
    "LOG4001", "warning", "backpressure", "producer",
    "{key} stands still for room {share:.0%} of the time (bound {bound:.0%}).",
    "The disk or the writer bounds the run: a faster disk, fewer pictures (durable.frames), or a larger "
    "durable.budget.total_bytes for bursts. Bound: logging.diagnostics.waiting_share.", "rate",
)  # fmt: skip

# ---- 5: external programs ----

PROGRAM_LINE = _declare(
    "LOG5001", "debug", "program", "output", "{line}",
    "A line of the program that names no code; nothing.", "output",
)  # fmt: skip
PROGRAM_STARTED = _declare(
    "LOG5002", "info", "program", "lifecycle", "{command} runs as process {pid} on {host}.",
    "Nothing.",
)  # fmt: skip
PROGRAM_ENDED = _declare(
    "LOG5003", "info", "program", "lifecycle", "{command} ended after {seconds:.1f} s with exit code 0.",
    "Nothing.",
)  # fmt: skip
PROGRAM_FAILED = _declare(
    "LOG5004", "error", "program", "lifecycle", "{command} ended after {seconds:.1f} s: {how}.",
    "Read its last lines: rolltape logs RUN --component program --level debug.",
)  # fmt: skip
PROGRAM_SIGNALLED = _declare(
    "LOG5005", "warning", "program", "lifecycle", "{signal} was sent to the process group of {command}.",
    "Nothing: somebody asked for it.",
)  # fmt: skip
PROGRAM_JOINED = _declare(
    "LOG5006", "info", "program", "recorder", "A recorder of {env_id} joined as {key}.",
    "Nothing.",
)  # fmt: skip
PROGRAM_LOST = _declare(
    "LOG5007", "warning", "program", "recorder",
    "{key} ended without close(): {lost_steps} steps and {lost_episodes} episodes of it are lost.",
    "Close recorders, or let the program end by itself; what was durable is in the run.", "loss",
)  # fmt: skip
PROGRAM_SAID = _declare(
    "LOG5008", "info", "program", "report", "{message}",
    "A report of the program itself; nothing.",
)  # fmt: skip

# ---- 6: diagnostics ----

DIAGNOSED = _declare(
    "LOG6001", "info", "diagnostics", "sample", "Memory, CPU, queues and flush latency of the run's processes.",
    "Nothing; the table metrics has them every second.", "summary",
)  # fmt: skip
MEMORY_SHORT = _declare(
    "LOG6002", "warning", "diagnostics", "memory",
    "{share:.0%} of the host's {there_mib:,} MiB are in use (bound {bound:.0%}); largest of the run: {largest} with "
    "{largest_mib:,} MiB.",
    "Fewer sub-environments a worker, smaller durable.budget.total_bytes, or end what else runs there. Bound: "
    "logging.diagnostics.memory_share.", "memory",
)  # fmt: skip
HUB_BUSY = _declare(
    "LOG6003", "warning", "diagnostics", "cpu", "The hub uses {cores:.2f} cores (bound {bound:.2f}).",
    "Fewer and fatter workers: each costs it four heartbeats a second. Bound: logging.diagnostics.busy_cores.", "cpu",
)  # fmt: skip
QUEUE_DEEP = _declare(
    "LOG6004", "warning", "diagnostics", "queue",
    "{who} has {depth:,} fragments that are not durable (bound {bound:,}).",
    "Larger fragments (durable.fragment.max_bytes, max_age_s), or a faster disk. Bound: "
    "logging.diagnostics.queue_depth.", "queue",
)  # fmt: skip
FLUSH_SLOW = _declare(
    "LOG6005", "warning", "diagnostics", "flush", "A commit took {seconds:.1f} s (bound {bound:.1f} s).",
    "A crash may cost that much more. See what else writes to that disk; smaller durable.commit.max_bytes, or "
    "durable.commit.durability=process where a power cut may cost it. Bound: logging.diagnostics.flush_s.", "disk",
)  # fmt: skip

# ---- 7: schema ----

VALUES_OFF = _declare(
    "LOG7002", "warning", "schema", "validation",
    "{total:,} values did not fit their spaces, or were not finite: {kinds}.",
    "See table mismatches for where; what learns from them may be spoilt.", "data", "summary",
)  # fmt: skip
MISMATCH = _declare(
    "LOG7001", "warning", "schema", "validation", "{kind} | {who} {field}{about}; {total:,} so far",
    "See what the environment returns there; validation='enforce' refuses it. Counts: table mismatches.", "data",
)  # fmt: skip
