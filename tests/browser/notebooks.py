"""JupyterLab and marimo, as people start them, each with folders of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rolltape.dashboards.server import bound_socket

TOKEN = "a-token-of-the-notebook"
START_S = 120.0


@contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    """JupyterLab on the notebooks of a folder; its address, which `?token=TOKEN` opens."""
    port = _free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}"]
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    own = {f"JUPYTER_{name}_DIR": str(folder / ".jupyter" / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"IPYTHONDIR": str(folder / ".ipython"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".jupyter" / "spaces")}
    with _running(command, own, f"http://127.0.0.1:{port}/api", folder / "jupyter.log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def marimo(notebook: Path) -> Iterator[str]:
    """A marimo notebook as an application; its address."""
    port = _free_port()
    command = [sys.executable, "-m", "marimo", "-q", "-y", "run", str(notebook), "--headless", "--no-token"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with _running(command, {}, f"http://127.0.0.1:{port}/health", notebook.with_suffix(".log")):
        yield f"http://127.0.0.1:{port}"


def _free_port() -> int:
    with bound_socket("127.0.0.1", 0) as listening:
        return listening.getsockname()[1]


@contextmanager
def _running(command: list[str], environment: dict[str, str], answers_at: str, log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    try:
        until = time.monotonic() + START_S
        while not _answers(answers_at):
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
