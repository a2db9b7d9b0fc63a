"""A program of somebody else's, run and watched by an actor: its output becomes log rows, its end an exit code.

Rules:
1. The program has a session and a process group of its own: a signal goes to all that it started, and Ctrl-C in a
   terminal reaches it only through us.
2. It ends with its supervisor: the kernel sends it SIGTERM when that dies (on Linux).
3. What it prints is kept line by line and never dropped: where the writer is slow the program waits in its `print`, as
   it would for a slow pipe. What goes to the terminal besides is bounded, and skipped bytes are counted.
4. What it leaves behind in its process group when it ends is ended too.

A plain class; `launch` makes it an actor.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from rolltape.schema import log_codes
from rolltape.schema.config import BudgetConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.config_sources import RUN_VARIABLE
from rolltape.schema.errors import ConfigError
from rolltape.schema.log_bridge import LineSplitter
from rolltape.schema.log_policy import configure_logging
from rolltape.schema.log_source import LogSource

from .log_stream import LogStream
from .program_path import check_program
from .window import Link

CHUNK_BYTES: Final = 1 << 20
SHOWN_BYTES: Final = 8 << 20
"""What may wait to be shown on the driver's terminal."""
LEFT_S: Final = 2.0
"""How long what is left of the process group may take to end by SIGTERM."""
PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class ProgramOrder:
    """What is run.

    Attributes:
        command: the program and its arguments.
        folder: its working directory.
        environment: variables that it gets besides the supervisor's own.
        writer: handle of the run's writer.
    """

    run_id: str
    env_id: str
    command: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    writer: Any
    logs: LoggingConfig = field(default_factory=LoggingConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """What is new: bytes of both streams, how many were skipped so far, and the exit code once all is told."""

    stdout: bytes = b""
    stderr: bytes = b""
    skipped: int = 0
    exit_code: int | None = None


class ExternalProgram:
    """Supervises one program.

    Args:
        link: makes the way to the writer.
    """

    _order: ProgramOrder
    _name: str
    _source: LogSource

    def __init__(self, link: Callable[[Any], Link]) -> None:
        # Nothing here can fail: what a constructor raises, Ray reports as the death of the actor.
        self._make_link = link
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._waiting_bytes = self._skipped = 0
        self._changed = threading.Condition()
        self._exit_code: int | None = None
        self._signals: list[int] = []

    def check(self, name: str, folder: str, environment: Mapping[str, str]) -> None:
        """Raise ConfigError where there is no such program on this node; before a run begins for it."""
        check_program(name, started_in(folder), {**inherited(), **environment})

    def start(self, order: ProgramOrder) -> int:
        """Start a program; its process id. Raises ConfigError where it cannot be started.

        Args:
            order: what is run.
        """
        self._order = order
        self._name = os.path.basename(order.command[0])  # noqa: PTH119 - a command is no path
        self._source = LogSource(order.run_id, order.env_id)
        configure_logging(order.logs, "actor")
        self._log = LogStream(self._source, self._make_link(order.writer), order.logs, order.budget)
        self._log.start()
        try:
            self._process = process = subprocess.Popen(
                order.command,
                cwd=started_in(order.folder),
                env={**inherited(), **order.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        except OSError as error:
            self._log.stop()
            raise ConfigError(f"run: {order.command[0]!r} cannot be started: {error.strerror or error}.") from error
        self._source.emit(
            log_codes.PROGRAM_STARTED, command=self._name, pid=process.pid, host=socket.gethostname(), shown=False
        )
        assert process.stdout is not None and process.stderr is not None
        readers = [
            threading.Thread(target=self._read, args=(stream, name), name=f"rolltape-{name}", daemon=True)
            for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr"))
        ]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._watch, args=(process, readers, time.monotonic()), daemon=True).start()
        return process.pid

    def output(self, timeout_s: float) -> ProgramOutput:
        """What was printed since the last call, waiting at most `timeout_s` for something."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting_bytes or self._exit_code is not None, timeout_s)
            taken = {name: b"".join(chunks) for name, chunks in self._waiting.items()}
            self._waiting = {"stdout": [], "stderr": []}
            self._waiting_bytes = 0
            return ProgramOutput(taken["stdout"], taken["stderr"], self._skipped, self._exit_code)

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group; nothing where it has ended."""
        if self._process is None or self._exit_code is not None:
            return
        self._signals.append(number)
        name = signal.Signals(number).name
        self._source.emit(log_codes.PROGRAM_SIGNALLED, signal=name, command=self._name, shown=False)
        _send(self._process.pid, number)

    def close(self) -> int:
        """Make all of its output durable; how many lines and records were dropped, because the writer gave up."""
        self._log.close(self._order.budget.give_up_s)
        return self._log.dropped

    # ---- threads ----

    def _read(self, stream: IO[bytes], name: str) -> None:
        splitter, descriptor = LineSplitter(), stream.fileno()
        pid = self._process.pid if self._process is not None else 0
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
            except OSError:
                pass  # a user's pipes are limited: a smaller one is slower
        while data := os.read(descriptor, CHUNK_BYTES):
            self._show(name, data)
            if lines := splitter.feed(data):
                self._log.write(lines, name, time.time_ns() // 1000, pid)
        if lines := splitter.end():
            self._log.write(lines, name, time.time_ns() // 1000, pid)
        stream.close()

    def _show(self, name: str, data: bytes) -> None:
        with self._changed:
            if self._waiting_bytes + len(data) > SHOWN_BYTES:
                self._skipped += len(data)
            else:
                self._waiting[name].append(data)
                self._waiting_bytes += len(data)
            self._changed.notify_all()

    def _watch(self, process: subprocess.Popen[bytes], readers: Sequence[threading.Thread], began: float) -> None:
        code = process.wait()
        seconds = time.monotonic() - began
        self._end_group(process.pid, readers)
        exit_code = 128 - code if code < 0 else code
        if exit_code == 0:
            self._source.emit(log_codes.PROGRAM_ENDED, command=self._name, seconds=seconds, shown=False)
        else:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self._source.emit(log_codes.PROGRAM_FAILED, command=self._name, seconds=seconds, how=how, shown=False)
        with self._changed:
            self._exit_code = exit_code
            self._changed.notify_all()

    def _end_group(self, group: int, readers: Sequence[threading.Thread]) -> None:
        """Rule 4; a child that keeps the pipes open would keep us reading for ever."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + LEFT_S
            if not _send(group, number):
                break
            while time.monotonic() < deadline and _send(group, 0):
                time.sleep(0.02)  # no event tells when a process group of strangers is gone
        for reader in readers:
            reader.join(LEFT_S * 5)


def started_in(folder: str) -> str:
    """A folder, or the supervisor's own where it is not there: a job's is another on each node."""
    return folder if Path(folder).is_dir() else str(Path.cwd())


def inherited() -> dict[str, str]:
    """The supervisor's variables but for the run that its job was given: that is taken."""
    return {name: value for name, value in os.environ.items() if name != RUN_VARIABLE}


def _send(group: int, number: int) -> bool:
    """Whether there is somebody in the process group, who has got the signal."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _die_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes the program: no signal is blocked for it, as Ray blocks SIGINT for its
    workers, and on Linux it asks for SIGTERM at its parent's death."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def ask() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if libc is None:
            return
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died a moment ago
            os._exit(128 + signal.SIGTERM)

    return ask
