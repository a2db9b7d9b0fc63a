"""`rolltape submit`."""

from __future__ import annotations

import json as json_format
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rolltape.schema.errors import ConfigError

from .options import ConfigFile, SetKeys
from .settled import settled

if TYPE_CHECKING:
    from rolltape.schema.config_provenance import Resolved
    from rolltape.scripts.cluster.job_server import JobServer

JOBS = "A job that is there"
KINDS = ("record", "run")


def submit(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND…", help="record ENV …, or run -- PROGRAM …", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The head's dashboard.",
            show_default="RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265",
        ),
    ] = None,
    lake: Annotated[
        Path | None,
        typer.Option(help="Folder that recordings are in, as the head node sees it.", show_default="as configured"),
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your modules and scripts; travels with the job.", show_default=False),
    ] = None,
    pip: Annotated[
        list[str] | None,
        typer.Option(metavar="PACKAGE", help="What nodes install first; may be repeated.", show_default=False),
    ] = None,
    submission_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Names the job, and its run.", show_default="made")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Show what the job prints until it ends.")
    ] = True,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    retry: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Run a job again, into the run of its first try.", rich_help_panel=JOBS),
    ] = None,
    watch: Annotated[
        str | None, typer.Option(metavar="ID", help="Show what it prints until it ends.", rich_help_panel=JOBS)
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="ID", help="Say how it is, as JSON.", rich_help_panel=JOBS)
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option(metavar="ID", help="End it: everything is made durable first.", rich_help_panel=JOBS),
    ] = None,
) -> None:
    """Run a recording or a program on a Ray cluster that is there already, as a job.

    Settings and resources are checked here first; Rolltape itself, your
    --working-dir and the settings travel with the job. Files and variables of
    the cluster are not read. Ctrl-C while following leaves the job alone.

    Examples:

    rolltape submit --lake /shared/lake record CartPole-v1 --envs 512 --workers 16 --steps 100000000

    rolltape submit --lake /shared/lake --working-dir . record my.envs:make --policy my.agents:act --episodes 100

    rolltape submit --lake /shared/lake --working-dir . run --cpus 4 -- python train.py

    rolltape submit --stop rolltape-01J…
    """
    from rolltape.scripts.cluster.job_server import JobServer, address_of

    asked = [name for name, given in (("--watch", watch), ("--status", status), ("--stop", stop)) if given]
    if bool(command) + len(asked) != 1:
        raise typer.BadParameter("give either a command to run, or one of --watch, --status, --stop")
    if watch:
        _follow(JobServer(address_of(address)), watch)
    elif status:
        said, message = JobServer(address_of(address)).status(status)
        print(json_format.dumps({"submission_id": status, "status": said, "message": message}))
    elif stop:
        _stop(JobServer(address_of(address)), stop)
    else:
        _submit(command or [], address, lake, working_dir, pip or [], submission_id, follow, config, set_keys, retry)


def _submit(
    command: list[str],
    address: str | None,
    lake: Path | None,
    working_dir: Path | None,
    pip: list[str],
    submission_id: str | None,
    follow: bool,
    config: Path | None,
    set_keys: list[str] | None,
    retry: str | None,
) -> None:
    from rolltape.actors.demand import Share, check_demand, demand_of, program_share
    from rolltape.scripts.cluster.job import job_of, next_try, run_in, runtime_env
    from rolltape.scripts.cluster.job_server import JobServer, address_of
    from rolltape.scripts.cluster.packing import pack

    if command[0] not in KINDS:
        raise typer.BadParameter(f"expected {' or '.join(KINDS)}, got {command[0]!r}", param_hint="COMMAND")
    if working_dir is not None and not working_dir.is_dir():
        raise typer.BadParameter(f"{working_dir} is no folder", param_hint="--working-dir")
    given = settled(None, config, set_keys, {"lake": ("--lake", lake)})
    found = checked(command, given, working_dir)
    settings, program = found if isinstance(found, tuple) else (found, None)
    job = job_of(command, given, submission_id or retry, lake=settings.config.lake)
    server = JobServer(address_of(address))
    workers = settings.config.fleet.num_workers or 1  # an automatic number always fits
    demand: list[Share] = demand_of(0 if program else workers, settings.config.resources)
    check_demand([*demand, *([program_share(*program)] if program else [])], server.nodes())
    if retry is not None:
        run_id = server.run_of(retry) or run_in(retry)
        if run_id is None:
            raise ConfigError(f"--retry: the cluster knows no job {retry!r} of ours; without it nobody knows its run.")
        again = next_try(retry, server.submission_ids())
        job = job_of(command, given, again, lake=settings.config.lake, run_id=run_id)
    with tempfile.TemporaryDirectory(prefix="rolltape-job-") as folder:
        server.submit(job, runtime_env(job, pack(Path(folder)), working_dir, pip))
    print(f"submitted {job.submission_id} to {server.address}", file=sys.stderr)
    print(f"run {job.run_id} in {settings.config.lake}", file=sys.stderr)
    if not follow:
        print(job.submission_id)
        return
    _follow(server, job.submission_id)


def checked(
    command: list[str], given: Resolved, working_dir: Path | None
) -> Resolved | tuple[Resolved, tuple[float, float, int]]:
    """The settings that the job will have, read here as it will be read there; of a program with its CPUs, GPUs and
    bytes of memory. Exits as the command does where something is wrong."""
    from rolltape.storage.configuration import SETTINGS_VARIABLE, travelling

    from . import run_command

    before = os.environ.get(SETTINGS_VARIABLE)
    os.environ[SETTINGS_VARIABLE] = json_format.dumps(travelling(given))
    if working_dir is not None:
        sys.path.insert(0, str(working_dir))  # policies are found where the job will find them
    try:
        return run_command([command[0], "--check", *command[1:]])
    finally:
        if working_dir is not None:
            sys.path.remove(str(working_dir))
        if before is None:
            del os.environ[SETTINGS_VARIABLE]
        else:
            os.environ[SETTINGS_VARIABLE] = before


def _follow(server: JobServer, submission_id: str) -> None:
    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        status, message = server.follow(submission_id, write)
    except KeyboardInterrupt:
        print(f"\nthe job goes on; end it by: rolltape submit --stop {submission_id}", file=sys.stderr)
        raise SystemExit(130) from None
    if status != "SUCCEEDED":
        print(f"rolltape: job {submission_id}: {status}. {message}", file=sys.stderr)
        raise SystemExit(1)


def _stop(server: JobServer, submission_id: str) -> None:
    server.stop(submission_id)
    status, _ = server.follow(submission_id, lambda _text: None)
    if status not in ("STOPPED", "SUCCEEDED"):
        raise ConfigError(f"job {submission_id} had ended before: {status}")
    print(f"{submission_id}: {status}")
