"""The program under test: fleets, one after the other, in a process with a Ray of its own.

A run goes on until the file `stop` lies beside its lake; `go` starts the next. A line of stdout each: `RUN <path>`, and
`END <status>` or `FAILED <error>`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

QUICK: dict[str, Any] = {"fragment": {"max_age_s": 0.08}, "commit": {"max_age_s": 0.15}}
USUAL: dict[str, Any] = {}


def main(folder: Path, runs: int, usual: bool) -> None:
    from rolltape.actors import fleet
    from tests.faults.noting import EnvWorkerNoting
    from tests.ray.environments import Paced

    fleet.EnvWorker = EnvWorkerNoting  # type: ignore[misc]
    for number in range(runs):
        settings = USUAL if usual else QUICK
        here = folder / f"run-{number}"
        while not (here / "keeper.socket").exists():
            time.sleep(0.02)  # the pace of the environment
        try:
            with fleet.Fleet(Paced, 4, here / "lake", num_workers=2, cpus_per_worker=0.01, **settings) as one:
                print(f"RUN {one.run.path}", flush=True)
                while not (here / "stop").exists():
                    one.collect(steps=200, progress=False)
            assert one.summary is not None
            print(f"END {one.summary.status}", flush=True)
        except Exception as error:
            print(f"FAILED {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "usual")
