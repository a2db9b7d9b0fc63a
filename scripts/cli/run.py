"""`rolltape run`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rolltape.schema.log_policy import configure_logging

from .options import ConfigFile, SetKeys
from .settled import say_all_right, settled

if TYPE_CHECKING:
    from rolltape.actors.external_program import ProgramOutput

MIB = 1 << 20
KILLS = 3
"""The signal that the program is not asked about."""


class Signals:
    """Signals that are to be passed on to the program: every one that came, from the third on one that kills."""

    def __init__(self) -> None:
        self._came = 0
        self._waiting: list[int] = []

    def note(self, number: int, frame: Any) -> None:
        """The handler of all of them."""
        self._came += 1
        self._waiting.append(number if self._came < KILLS else signal.SIGKILL)

    def take(self) -> list[int]:
        """Those since the last call."""
        taken = self._waiting[:]
        del self._waiting[: len(taken)]
        return taken


def run(
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- PROGRAM [ARGUMENTS]...", help="The program, after --.", show_default=False),
    ],
    lake: Annotated[
        Path | None,
        typer.Option("--lake", help="Folder that recordings are in.", show_default="lake"),
    ] = None,
    cpus: Annotated[float, typer.Option(min=0, metavar="N", help="CPUs that the program asks Ray for.")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0, metavar="N", help="GPUs that it asks for.")] = 0.0,
    memory: Annotated[int, typer.Option(min=0, metavar="MIB", help="Memory that it asks for, in MiB.")] = 0,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check options, settings and the program; start nothing.")
    ] = False,
) -> Any:
    """Run any program as a supervised worker; what it prints is kept, and recorders in it join the run.

    Its output and exit code are passed on; Ctrl-C and SIGTERM go to it and all
    that it started. `rolltape.record` inside needs no change: it joins this
    run. Lines such as LOG5008 | message | extra={} become structured records.

    Examples:

    rolltape run -- python train.py --seed 1

    rolltape run --cpus 4 --gpus 1 --lake /shared/lake -- python train.py
    """
    settings = settled(None, config, set_keys, {"lake": ("--lake", lake)})
    if check:
        _check_program(command[0])
        say_all_right()
        return settings, (cpus, gpus, memory * MIB)
    configure_logging(settings.config.logging, "program")
    from rolltape.actors.external_run import run_program

    signals = Signals()
    before = {number: signal.signal(number, signals.note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        ended = run_program(
            command,
            settings,
            cpus=cpus,
            gpus=gpus,
            memory_bytes=memory * MIB,
            show=_show,
            asked=signals.take,
            begun=_begun,
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ended.skipped:
        print(f"rolltape: {ended.skipped:,} bytes of output were not shown; the recording has them", file=sys.stderr)
    raise SystemExit(ended.exit_code)


def _check_program(name: str) -> None:
    """Refuse a program that is not there, where it would run on this machine. Raises ConfigError."""
    from rolltape.storage.configuration import SETTINGS_VARIABLE

    if "RAY_ADDRESS" in os.environ or SETTINGS_VARIABLE in os.environ:
        return  # the node that has room looks for it
    from rolltape.actors.program_path import check_program

    check_program(name, str(Path.cwd()), os.environ)


def _begun(run_id: str, pid: int) -> None:
    print(f"rolltape: run {run_id}, process {pid}; its output: rolltape logs {run_id} --all", file=sys.stderr)


def _show(output: ProgramOutput) -> None:
    for data, stream in ((output.stdout, sys.stdout), (output.stderr, sys.stderr)):
        if data:
            raw = getattr(stream, "buffer", None)
            if raw is None:
                stream.write(data.decode(errors="replace"))
            else:
                raw.write(data)
            stream.flush()
