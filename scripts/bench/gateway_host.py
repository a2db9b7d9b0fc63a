"""A gateway in a process of its own, fed with prerecorded pictures as producers would feed it, without Ray.

`python -m rolltape.scripts.bench.gateway_host SETTINGS`, SETTINGS as JSON; it prints the address of the page and ends
with its standard input. The gateway, its sockets and its viewers are the real ones; only the hub is played.

Rules:
1. A picture is pushed when it is due, in the demand of the gateway and not beyond, by as many producers as there are.
   One that is late is left out, as a producer would.
2. The pictures are real ones and change with every push: nothing can be encoded once and kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rolltape.dashboards.gateway import Gateway
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.live_messages import GatewayReport, HubView, LiveDemand, LiveItem, StreamOwner
from rolltape.schema.messages import RunCounts
from rolltape.storage.layout import RunFolder, new_run_id
from rolltape.storage.run_info import create_run

from .workloads.breakout import make_single


@dataclass(frozen=True)
class Settings:
    """What is served.

    Attributes:
        lake: an empty folder.
        streams: how many there are.
        producers: how many have them, in equal parts.
        hz: pictures a second of each stream.
        pictures: how many different ones are prerecorded.
    """

    lake: str
    streams: int
    producers: int
    hz: float
    pictures: int = 256


class _Hub:
    """Says who produces what, and has nothing else to tell."""

    def __init__(self, settings: Settings) -> None:
        each = settings.streams // settings.producers
        self.owners = tuple(StreamOwner(f"p{n}.0", n * each, each) for n in range(settings.producers))

    async def __call__(self, report: GatewayReport) -> HubView:
        taken = report.control_position
        return HubView("bench", self.owners, {}, RunCounts(), taken, (), 0, (), 0)


class _Producer:
    """One producer: what it publishes of its streams, within the demand that it knows."""

    def __init__(self, owner: StreamOwner) -> None:
        self.owner = owner
        self.demand = LiveDemand("", "")
        self._sequences = [0] * owner.count

    def items(self, pictures: list[np.ndarray], turn: int) -> tuple[LiveItem, ...]:
        found, now = [], time.time()
        for wanted in self.demand.streams:
            place = wanted.stream - self.owner.first
            if self._sequences[place] < wanted.limit:
                self._sequences[place] += 1
                picture = pictures[(turn + 7 * wanted.stream) % len(pictures)].copy()
                found.append(LiveItem(wanted.stream, self._sequences[place], now, 0, turn, 0.0, picture))
        return tuple(found)


class _Feeding(threading.Thread):
    """Pushes for all producers, one after another, `hz` times a second."""

    def __init__(self, gateway: Gateway, producers: list[_Producer], pictures: list[np.ndarray], hz: float) -> None:
        super().__init__(name="feeding", daemon=True)
        self._gateway, self._producers, self._pictures, self._interval_s = gateway, producers, pictures, 1 / hz
        self._ended = threading.Event()

    def run(self) -> None:
        """Push."""
        began, turn = time.monotonic(), 0
        while not self._ended.wait(max(0.0, began + turn * self._interval_s - time.monotonic())):
            for producer in self._producers:
                items = producer.items(self._pictures, turn)
                producer.demand = self._gateway.push(producer.owner.key, items)
            turn = max(turn + 1, int((time.monotonic() - began) / self._interval_s))

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.join()


def main(given: str) -> None:
    """Serve until the standard input ends."""
    settings = Settings(**json.loads(given))
    run = RunFolder.of(Path(settings.lake), new_run_id())
    create_run(run, {"run_id": run.run_id, "env_id": "ALE/Breakout-v5", "num_envs": settings.streams})
    hub = _Hub(settings)
    about = {"env_id": "ALE/Breakout-v5", "num_envs": settings.streams, "workers": settings.producers}
    gateway = Gateway(str(run.path), "gateway", hub, LiveConfig(), UiConfig(view_hz=settings.hz), about)
    pictures = prerecorded(settings.pictures)
    address = gateway.address()
    print(address, flush=True)
    feeding = _Feeding(gateway, [_Producer(owner) for owner in hub.owners], pictures, settings.hz)
    feeding.start()
    sys.stdin.read()
    feeding.stop()
    gateway.stop("completed")


def prerecorded(count: int) -> list[np.ndarray]:
    """Pictures of one Breakout under random actions, uint8 (210, 160, 3)."""
    env = make_single()
    env.action_space.seed(0)
    found = [env.reset(seed=0)[0]]
    while len(found) < count:
        seen, _, terminated, truncated, _ = env.step(env.action_space.sample())
        found.append(env.reset()[0] if terminated or truncated else seen)
    env.close()
    return found


@contextmanager
def served(settings: Settings) -> Iterator[tuple[str, int]]:
    """Such a process: the address of its page, and its process id."""
    command = [sys.executable, "-m", f"{__package__}.gateway_host", json.dumps(asdict(settings))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.communicate(timeout=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
