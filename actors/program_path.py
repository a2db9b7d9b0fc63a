"""Whether a program is there to be started, asked before a run begins for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from rolltape.schema.errors import ConfigError


def check_program(name: str, folder: str, environment: Mapping[str, str]) -> None:
    """Raise ConfigError where no program of that name can be started on this machine.

    Args:
        name: the first word of its command.
        folder: where it is to start.
        environment: with the PATH that it is looked for in.
    """
    if not name:
        raise ConfigError("run: the program's name is empty; say which, after --: rolltape run -- python train.py")
    here = Path(folder) / name
    if os.sep in name:
        if shutil.which(here):
            return
        why = f"{here} is no program that may be executed" if here.exists() else f"there is no {here}"
    else:
        if shutil.which(name, path=os.pathsep.join(os.get_exec_path(dict(environment)))):
            return
        why = "there is no such program on the PATH"
    is_script = here.suffix == ".py" and here.is_file()
    hint = f" For the script: `rolltape run -- python {name}`." if is_script else ""
    raise ConfigError(f"run: {name!r} cannot be started: {why}.{hint}")
