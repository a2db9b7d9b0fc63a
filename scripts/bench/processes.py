"""Starting the fresh process of a measurement, waiting for it, and cleaning up behind it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
}
"""Nothing is sent anywhere, nothing needs a screen."""


class MeasurementFailed(Exception):
    """A fresh process ended without a result; the message has the end of what it printed."""


def run_fresh(python: Path, order: Mapping[str, Any], scratch: Path, timeout_s: float) -> Any:
    """Carry out an order in a fresh process.

    Args:
        python: the interpreter.
        order: the fields of an order, without its folder.
        scratch: an own folder for what is recorded; it is emptied before and removed after.
        timeout_s: the process and all it started are ended then.

    Returns:
        What the child wrote. Raises MeasurementFailed.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    lake = scratch / "recording"
    lake.mkdir(parents=True)
    order_path, result_path, log_path = scratch / "order.json", scratch / "result.json", scratch / "log.txt"
    order_path.write_text(json.dumps({**order, "folder": str(lake)}))
    # A Ray of its own, wherever another one runs; the name is short because a socket's path has at most 107 bytes.
    ray_folder = tempfile.mkdtemp(prefix="rtb-")
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment = {**QUIET, **inherited, "RAY_TMPDIR": ray_folder}
    command = [str(python), "-m", f"{__package__}.child", str(order_path), str(result_path)]
    try:
        with log_path.open("wb") as log:
            child = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment
            )
            try:
                code = child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                code = f"no end after {timeout_s:.0f} s"
            finally:
                _end_session(child.pid)
                child.wait()
        if code != 0 or not result_path.exists():
            tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-30:])
            raise MeasurementFailed(f"{json.dumps(order)}: exit {code}\n{tail}")
        return json.loads(result_path.read_text())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(ray_folder, ignore_errors=True)


def _end_session(session: int) -> None:
    """End what is left of the child's session: itself, and what it started and did not end."""
    try:
        os.killpg(session, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all of it has ended
