"""The page of one recording: the gateway that serves it while the run goes on, started and ended here.

Nothing of a recording waits for it or depends on it.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from rolltape.schema.config_tree import Config

from .blame import said
from .gateway_process import missing_packages
from .on_ray import launch, remote

SERVED_S: Final = 10.0
END_S: Final = 3.0


class ServedPage:
    """One run's page.

    Args:
        run_path: the run's folder.
        run_id: the run.
        tree: the whole configuration; None: nothing is served.
        about: what the page says of the run: env_id, kind, num_envs, workers, frames.

    Attributes:
        problem: why there is no page; "" where it is switched off, or not known yet.
    """

    def __init__(self, run_path: Path, run_id: str, tree: Config | None, about: dict[str, Any]) -> None:
        self.problem = ""
        self._gateway: Any = None
        if tree is None or not tree.live.enabled:
            return
        if missing := missing_packages():
            self.problem = f"The live page needs {', '.join(missing)}: pip install 'rolltape[dashboard]'"
            return
        about = {**about, "created": time.time()}
        self._gateway = launch.start_gateway(run_path, run_id, tree.live, tree.ui_controls, about)
        self._served = self._gateway.address.remote()

    def address(self, timeout_s: float = SERVED_S) -> str | None:
        """Where the run can be watched, token included, once the page is served; None where it is not, or not yet."""
        if self._gateway is None:
            return None
        try:
            return remote.result(self._served) if remote.ready([self._served], timeout_s) else None
        except Exception as error:  # nothing of the recording depends on it
            self.problem = f"The live page is not served: {said(error)} The recording goes on."
            return None

    def announce(self) -> None:
        """Say on the terminal where the run can be watched, as soon as it can be; nothing where there is none."""
        if self._gateway is None or not (sys.stderr and sys.stderr.isatty()):
            return

        def say() -> None:
            if (page := self.address()) is not None:
                print(f"Watch it live: {page}", file=sys.stderr)

        threading.Thread(target=say, name="rolltape-announce", daemon=True).start()

    def end(self, status: str) -> None:
        """Those who watch are told of the end, and the hub of the last counts; nobody waits for them. Twice is once."""
        gateway, self._gateway = self._gateway, None
        if gateway is None:
            return
        try:
            if remote.ready([self._served], 0):  # otherwise it has not begun, and nobody watches
                remote.call(gateway.stop, status, timeout_s=END_S)
        except Exception as error:  # it has died, or does not answer
            self.problem = said(error)
        finally:
            launch.kill(gateway)
