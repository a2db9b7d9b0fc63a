"""A run that holds what an external program did: `rolltape run`.

The life of one:

1. A supervisor actor on a node that has room looks for the program there: where there is none, no run begins.
2. The run's folder, hub and writer are there before the program starts; its spaces are not known yet. The supervisor
   runs the program (external_program.py); recorders inside join the run (joined.py).
3. The driver shows what the program prints, and passes signals on.
4. When the program has ended, or its supervisor died and took it along, what recorders lost is declared; the counts are
   reconciled, and the run ends with the program's exit code.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rolltape.schema import log_codes
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.errors import ConfigError, RolltapeError, RunFailed
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.storage.host import this_process
from rolltape.storage.layout import RunFolder, new_run_id
from rolltape.storage.ledger import accounts, read_losses, read_pages
from rolltape.storage.room import check_room
from rolltape.storage.run_info import create_run, read_run_info
from rolltape.storage.settlement import next_key, outstanding, settlement_batches, settlement_header
from rolltape.storage.wired_run import run_to_resume, take_run_id

from .demand import program_share
from .end_summary import EndStatus, EndSummary
from .external_program import ExternalProgram, ProgramOrder, ProgramOutput
from .joined import JOIN_STRIDE
from .on_ray import cluster, launch, links, remote
from .program_path import check_program
from .recording import Recording
from .resuming import PastRun
from .run_description import EnvDescription, package_versions
from .wiring import Wiring

POLL_S: Final = 0.25
LOST_SUPERVISOR: Final = 1
"""Exit code where nobody knows how the program ended."""
GONE_S: Final = 3.0
"""How long a program whose supervisor died may take to end by the kernel's SIGTERM, before its losses are counted."""


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """How a program ended. `exit_code` is 128 and its number after a signal, as shells say it."""

    run_id: str
    exit_code: int
    summary: EndSummary | None
    skipped: int


class ExternalRecording(Recording):
    """The run of an external program, as its driver sees it."""

    def _say_started(self) -> None:
        return

    def _say_the_unsaid(self, durable: dict[ProducerKey, Watermark]) -> dict[ProducerKey, Watermark]:
        """Declare what recorders lost that did not close."""
        info = read_run_info(self.folder)
        due = outstanding(self.folder, info, durable, cause="killed")
        if not due:
            return durable
        for book in accounts(read_pages(self.folder), durable, read_losses(self.folder)):
            episodes = sum(1 for episode in due.episodes if episode.of == book.key)
            if book.undeclared or episodes:
                self.lost[book.key] = (book.undeclared or 0, episodes)
                steps = "unknown" if book.undeclared is None else book.undeclared
                self.source.emit(
                    log_codes.PROGRAM_LOST, key=str(book.key), lost_steps=steps, lost_episodes=episodes
                )
        key, now_ns = next_key(durable), time.time_ns()
        batches = settlement_batches(self.folder, info, due, key, 1, now_ns // 1000)
        header = settlement_header(key, batches, now_ns)
        remote.call(self.writer.append, header, tuple(batches), *batches.values(), timeout_s=60)
        return remote.flush(self.writer, timeout_s=60)


def run_program(
    command: Sequence[str],
    settings: Resolved,
    *,
    cpus: float = 1.0,
    gpus: float = 0.0,
    memory_bytes: int = 0,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    show: Callable[[ProgramOutput], None] = lambda _: None,
    asked: Callable[[], Sequence[int]] = tuple,
    begun: Callable[[str, int], None] = lambda *_: None,
) -> ProgramEnd:
    """Run a program on the cluster, supervised and recorded; returns when it has ended.

    Args:
        command: the program and its arguments.
        settings: the configuration.
        cpus, gpus, memory_bytes: what it asks Ray for.
        folder: its working directory; None: this one.
        environment: further variables for it.
        show: gets what it prints, as it comes.
        asked: signals that are to be sent to it since the last call.
        begun: gets the run id and the program's process id once it runs.

    Raises:
        ConfigError: there is no such program.
        LakeNotWritable, DiskFull, ClusterError: nothing was started.
    """
    if not command:
        raise ConfigError("run: say which program, after --: rolltape run -- python train.py")
    tree = settings.config
    lake = tree.lake.expanduser().resolve()
    check_room(lake)
    past = _past_run(lake)
    started_in, environment = str(folder or Path.cwd()), environment or {}
    if cluster.starts_here():  # the node will be this machine, so nothing has to start for it
        check_program(command[0], started_in, {**os.environ, **environment})
    cluster.ensure_ray()
    cluster.check_resources(0, tree.resources, program_share(cpus, gpus, memory_bytes))
    supervisor = launch.start_program(
        ExternalProgram, links.RayWriterLink, cpus=cpus, gpus=gpus, memory_bytes=memory_bytes
    )
    try:
        remote.call(supervisor.check, command[0], started_in, environment, timeout_s=cluster.START_S)
        return _supervised(supervisor, command, settings, past, started_in, environment, show, asked, begun)
    finally:
        launch.kill(supervisor)


def _supervised(
    supervisor: Any,
    command: Sequence[str],
    settings: Resolved,
    past: PastRun | None,
    folder: str,
    environment: Mapping[str, str],
    show: Callable[[ProgramOutput], None],
    asked: Callable[[], Sequence[int]],
    begun: Callable[[str, int], None],
) -> ProgramEnd:
    """The run, from its folder to its end; see `run_program`."""
    tree = settings.config
    lake = tree.lake.expanduser().resolve()
    run_id = past.folder.run_id if past is not None else take_run_id() or new_run_id()
    run = RunFolder.of(lake, run_id)
    name = _name(command)
    if past is None:
        create_run(run, _run_info(run_id, name, command, settings))
    else:
        past.settle()
    env = EnvDescription(env_id=name, kind="external", num_envs=0, workers=0, stride=JOIN_STRIDE)
    recording = ExternalRecording(run, None, env, tree.durable, settings)  # type: ignore[arg-type]
    if past is not None and past.resumed is not None:
        recording.go_on_from(past.resumed)
    wiring = Wiring(run_id, str(lake)).variables()
    order = ProgramOrder(
        run_id=run_id,
        env_id=name,
        command=tuple(command),
        folder=folder,
        environment={**environment, **wiring, "RAY_ADDRESS": cluster.cluster_address()},
        writer=recording.writer,
        logs=recording.logs,
        budget=tree.durable.budget,
    )
    try:
        pid = remote.call(supervisor.start, order, timeout_s=cluster.START_S)
        begun(run_id, pid)
        exit_code, skipped, stopped, why = _follow(supervisor, show, asked)
    except BaseException as error:
        launch.kill(supervisor)  # first: what it still does is not recorded any more
        recording.abandon(str(error) or type(error).__name__)
        raise
    launch.kill(supervisor)
    status: EndStatus = "completed" if exit_code == 0 else "stopped" if stopped else "failed"
    recording.env = _joined_env(run, env)
    summary = recording.finish(status, why)
    return ProgramEnd(run_id, exit_code, summary, skipped)


def _past_run(lake: Path) -> PastRun | None:
    """The run that an earlier try of this job began. Raises ConfigError where somebody still records it."""
    given = run_to_resume(lake)
    return None if given is None else PastRun.of_program(RunFolder.of(lake, given))


def _follow(
    supervisor: Any, show: Callable[[ProgramOutput], None], asked: Callable[[], Sequence[int]]
) -> tuple[int, int, bool, str]:
    """Show, pass signals on, and wait for the end: exit code, bytes not shown, whether it was asked to end, why."""
    signals: list[int] = []
    try:
        while True:
            for number in asked():
                signals.append(number)
                remote.call(supervisor.signal, number)
            output: ProgramOutput = remote.call(supervisor.output, POLL_S)
            show(output)
            if output.exit_code is not None and not (output.stdout or output.stderr):
                remote.call(supervisor.close, timeout_s=180)
                code = output.exit_code
                why = "" if code == 0 else f"the program ended with exit code {code}"
                return code, output.skipped, bool(signals), why
    except RolltapeError as error:
        time.sleep(GONE_S)
        return LOST_SUPERVISOR, 0, False, f"the program's supervisor died, and the program with it: {error}"


def _joined_env(run: RunFolder, env: EnvDescription) -> EnvDescription:
    """The environment that recorders inside recorded, or the program where none did."""
    known = read_run_info(run).get("env") or {}
    return EnvDescription(**{**{n: getattr(env, n) for n in env.__slots__}, **known}) if known else env


def _name(command: Sequence[str]) -> str:
    """What the run is called until a recorder joins: the script, or the program."""
    words = [word for word in command[1:] if not word.startswith("-")]
    program = os.path.basename(command[0])  # noqa: PTH119 - a command is no path
    return os.path.basename(words[0]) if program.startswith("python") and words else program  # noqa: PTH119


def _run_info(run_id: str, name: str, command: Sequence[str], settings: Resolved) -> dict[str, Any]:
    config = settings.config.durable
    return {
        "run_id": run_id,
        "created_ns": time.time_ns(),
        "payload_version": 1,
        "env_id": name,
        "env": None,
        "num_envs": 0,
        "workers": 0,
        "episode_stride": JOIN_STRIDE,
        "seed": config.seed,
        "spaces": None,
        "adapter": None,
        "space_signature": None,
        "frames": {"policy": "none", "every": 1, "layouts": {}},
        "config": config.model_dump(mode="json"),
        "settings": {"values": settings.table(), "evidence": dict(settings.evidence)},
        "program": {"command": list(command), "folder": str(Path.cwd()), "python": sys.version.split()[0]},
        "versions": package_versions(),
        "host": this_process(),
    }


__all__ = ["ExternalRecording", "ProgramEnd", "RunFailed", "run_program"]
