"""A Ray head of its own, with a dashboard that takes jobs, as `ray start --head` makes one."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

START_S = 120


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def head(cpus: int = 4) -> Iterator[str]:
    """The address of a job server; the head ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="rth"))  # short: Ray's sockets lie in it
    dashboard, client, agent, metrics, grpc = free_ports(5)
    command = [
        str(Path(sys.executable).with_name("ray")),
        *("start", "--head", "--block", "--port=0", f"--num-cpus={cpus}", "--object-store-memory=200000000"),
        *("--include-dashboard=true", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--metrics-export-port={metrics}"),
        *(f"--dashboard-agent-grpc-port={grpc}", f"--temp-dir={folder}", "--disable-usage-stats"),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_ADDRESS", "ROLLTAPE"))}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])  # jobs run its `python`
    log = (folder / "head.log").open("w+")
    started = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=kept, start_new_session=True)
    address = f"http://127.0.0.1:{dashboard}"
    try:
        _wait(address, started, folder / "head.log")
        yield address
    finally:
        started.send_signal(signal.SIGTERM)  # ends all that it started
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(address: str, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{address}/api/version", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it asks for a token: it is there
        except OSError:
            if started.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no head: {log.read_text()[-2000:]}") from None
            time.sleep(0.2)
