"""`rolltape watch` beside a real recording: the gateway tells while it goes on, and the command ends with it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import rolltape as rt

WAIT_S = 40.0


@pytest.mark.long
def test_a_recording_is_watched_from_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLTAPE_LIVE__ENABLED", "true")
    command = [str(Path(sys.executable).with_name("rolltape")), "watch", "--interval", "0.2", "--lake", str(tmp_path)]
    lines: list[str] = []
    with rt.Fleet("CartPole-v1", num_envs=2, num_workers=1, lake=tmp_path) as fleet:
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert watching.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(iter(watching.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]
        reader.start()
        until = time.monotonic() + WAIT_S
        while not any(re.search(r"return .*lost 0, live$", line) for line in lines) and time.monotonic() < until:
            fleet.collect(steps=50, policy="random")
        recorded = len(fleet.run.steps())
    try:
        assert watching.wait(WAIT_S) == 0, watching.stderr.read() if watching.stderr else ""
        reader.join(WAIT_S)
    finally:
        watching.kill()
        watching.wait()
        for pipe in (watching.stdout, watching.stderr):
            if pipe is not None:
                pipe.close()
    assert any(re.search(r"running, .*return .*lost 0, live$", line) for line in lines), lines
    assert re.search(rf" completed, {recorded:,} steps, .*lost 0, lake$", lines[-1].rstrip()), lines[-3:]
    assert not any("\x1b" in line for line in lines)
