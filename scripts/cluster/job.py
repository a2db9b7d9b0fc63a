"""What a job is: its command, its run, and what travels with it.

Rules:
1. The configuration is resolved where the job is submitted: what files, variables and options said travels with its
   sources. Files and variables of the cluster are not read. Only the profile is chosen there: it is about the machine.
2. A job says which run it records into, and the cluster keeps that with it. A retry has the submission's id with a
   number behind it and the same run, and goes on with it.
3. The lake is absolute: a relative one would lie in the job's folder, which Ray deletes.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rolltape.schema.config_provenance import Resolved
from rolltape.schema.config_sources import RUN_VARIABLE
from rolltape.schema.errors import ConfigError
from rolltape.storage.configuration import SETTINGS_VARIABLE, travelling
from rolltape.storage.layout import is_run_id, new_run_id

STOP_S: Final = 60
"""How long Ray waits after SIGTERM before it kills: a run needs some seconds to make everything durable."""
START: Final = "import sys; sys.argv[0] = 'rolltape'; from rolltape.scripts.cli import main; main()"
RUN_METADATA: Final = "rolltape_run"
TRY: Final = re.compile(r"-try(\d+)$")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


@dataclass(frozen=True, slots=True)
class Job:
    """A job that can be submitted.

    Attributes:
        submission_id: unique on the cluster.
        run_id: the run that it records into.
        entrypoint: a shell command.
        env_vars: of the driver and of all that it starts.
    """

    submission_id: str
    run_id: str
    entrypoint: str
    env_vars: Mapping[str, str]

    @property
    def metadata(self) -> dict[str, str]:
        """What Ray keeps with the job."""
        return {RUN_METADATA: self.run_id}


def job_of(
    command: Sequence[str], settings: Resolved, submission_id: str | None, *, lake: Path, run_id: str | None = None
) -> Job:
    """The job that runs `rolltape COMMAND` with these settings.

    Args:
        command: such as `["record", "CartPole-v1", "--steps", "1000"]`; its options come on top of the settings.
        settings: what travels.
        submission_id: None for a new one.
        lake: where the command will record.
        run_id: of the first try; None: the one in the submission's id, or a new one.

    Raises:
        ConfigError: a relative lake, or an id that is none.
    """
    if not lake.is_absolute():
        raise ConfigError(
            f"lake: {str(lake)!r} is relative; on the cluster it would lie in the job's folder, which Ray deletes. "
            f"Give a path that the head node sees: --lake /shared/{lake.name}."
        )
    if submission_id is None:
        submission_id = f"rolltape-{run_id or new_run_id()}"
    elif not NAME.fullmatch(submission_id):
        raise ConfigError(
            f"--submission-id: expected letters, digits, dots, dashes and underscores, got {submission_id!r}."
        )
    run_id = run_id or run_in(submission_id) or new_run_id()
    values = {
        SETTINGS_VARIABLE: json.dumps(travelling(settings)),
        RUN_VARIABLE: run_id,
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S),
        "PYTHONUNBUFFERED": "1",
    }
    # -P: a folder `rolltape` where the job starts must not hide what travels; Ray puts the working directory on the
    # path itself.
    entrypoint = f"exec python -P -c {shlex.quote(START)} {shlex.join(command)}"
    return Job(submission_id, run_id, entrypoint, values)


def run_in(submission_id: str) -> str | None:
    """The run that a submission id names, as those do that are made here; retries too. None where it names none."""
    last = TRY.sub("", submission_id).rpartition("-")[2]
    return last if is_run_id(last) else None


def next_try(submission_id: str, taken: Sequence[str]) -> str:
    """The submission id of a retry: with the first number that no job has."""
    first = TRY.sub("", submission_id)
    tries = [int(found[1]) for name in taken if TRY.sub("", name) == first and (found := TRY.search(name))]
    return f"{first}-try{max(tries, default=1) + 1}"


def runtime_env(job: Job, package: Path, working_dir: Path | None, pip: Sequence[str]) -> dict[str, Any]:
    """What Ray brings to the nodes."""
    found: dict[str, Any] = {"env_vars": dict(job.env_vars), "py_modules": [str(package)]}
    if working_dir is not None:
        found["working_dir"] = str(working_dir)
    if pip:
        found["pip"] = list(pip)
    return found
