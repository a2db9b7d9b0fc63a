"""Runs a piece of Python in a process of its own, with a Ray of its own, as a user's script."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def script(code: str, folder: Path, **names: object) -> Iterator[subprocess.Popen[str]]:
    """Start `code` in a process group of its own; `names` are set before it. Whatever it started ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "script.py"
    head = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    file.write_text(head + textwrap.dedent(code))
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    with (folder / "stdout.txt").open("w") as out, (folder / "stderr.txt").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, str(file)], cwd=folder, env=environment, stdout=out, stderr=err, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            for victim in family(process.pid):
                try:
                    victim.kill()
                except psutil.Error:
                    continue
            process.kill()
            process.wait()


def run_script(code: str, folder: Path, timeout_s: float = 90.0, **names: object) -> tuple[int, str, str]:
    """Run `code` to its end: exit code, stdout, stderr."""
    with script(code, folder, **names) as process:
        status = process.wait(timeout_s)
    return status, (folder / "stdout.txt").read_text(), (folder / "stderr.txt").read_text()


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []
