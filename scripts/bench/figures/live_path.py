"""What those who watch cost a producer, and how much memory the gateway takes.

A step is timed by the processor time of the process that steps, with the threads that hand pictures to Ray, so that
other processes of the machine do not count: with nobody watching, with a viewer that is frozen, and with one that is
well.

Rules:
1. The ways take turns in slices, and each slice begins with some steps that are not counted: what the way before left
   to be done is done then.
2. A machine's speed wavers within seconds, by more than what is to be seen. So every step is followed by one of the
   same environment unrecorded, and a step's time is counted in those.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
import psutil
import ray

import rolltape as rt
from rolltape.actors.synthetic import Synthetic
from rolltape.dashboards.switchboard import Switchboard
from rolltape.dashboards.wire import Message
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.live_messages import LiveDemand, LiveItem, StreamDemand
from rolltape.scripts.bench.figure import Figure, FigureOrder

TITLE = (
    "Processor time of a step while nobody, a frozen viewer or a healthy one watches 16 tiles; memory of the gateway"
)
TILES: Final = 16
LIKE_ATARI: Final = 0.99
"""What stays the same of a picture: of the 100 kB of a Breakout picture 0.7 are new in a step, of Seaquest's 3."""
SLICE_S: Final = 0.5
HEAD_S: Final = 0.1
"""The part of a slice that is not counted."""
NOBODY: Final = LiveDemand("bench", "gateway-of-the-bench", 1)
VIEWERS, STREAMS = 8, 1000


def measure(order: FigureOrder) -> list[Figure]:
    """Steps in alternating slices, then the switchboard's memory."""
    pairs, rounds = (3, 1) if order.quick else (20, 4)
    found = _steps(Path(order.folder) / "atari", pairs, rounds, LIKE_ATARI, ("frozen", "healthy"))
    found += _steps(Path(order.folder) / "noise", pairs, rounds, 0.0, ("healthy",))
    return [*found, *_memory(200 if order.quick else 500)]


class Taker:
    """What a gateway is to a producer: an actor that is called with samples."""

    def push(self, owner: str, items: tuple[LiveItem, ...]) -> int:
        """Take them; how many they are."""
        return len(items)


class _Swallow:
    """A way to a gateway that takes samples and answers with the same demand, and credits as it is told."""

    def __init__(self, taker: Any) -> None:
        self._taker = taker
        self.demand = NOBODY
        self.number = 1
        self.pushed = 0
        self.healthy = True
        self.held: dict[int, int] = {}

    def want(self, streams: int, limit: int) -> LiveDemand:
        self.number += 1
        wanted = tuple(StreamDemand(n, limit, 160, held=self.held.get(n, 0)) for n in range(streams))
        return LiveDemand("bench", "gateway-of-the-bench", self.number, 10.0 if streams else 0.0, wanted)

    def push(self, demand: LiveDemand, owner: str, items: tuple[LiveItem, ...]) -> Any:
        self.pushed += len(items)
        self.held |= {item.stream: item.sequence for item in items}
        return self._taker.push.remote(owner, items).future()

    def answer(self, handle: Any) -> LiveDemand:
        return self.want(TILES, 1 << 30 if self.healthy else 0)


class _Slice(NamedTuple):
    """Steps, the processor time that they took, and that of as many unrecorded ones, in seconds."""

    steps: int
    seconds: float
    bare_s: float

    @property
    def in_bare(self) -> float:
        """Its time in unrecorded steps."""
        return self.seconds / self.bare_s


def _steps(lake: Path, pairs: int, rounds: int, same: float, watched: Sequence[str]) -> list[Figure]:
    """Figures of those who watch pictures of which a share stays the `same`."""

    def make() -> Synthetic:
        return Synthetic(frame_size=(210, 160), observes_frames=True, compressibility=same)

    env, bare = gym.vector.SyncVectorEnv([make] * TILES), gym.vector.SyncVectorEnv([make] * TILES)
    recorded = rt.record(env, lake, frames="none", live={"enabled": False})
    taker = ray.remote(num_cpus=0)(Taker).remote()
    gateway = _Swallow(taker)
    producer = recorded._recorder.producer  # type: ignore[attr-defined]
    feed = producer._live
    feed._link = gateway
    actions = np.zeros((TILES, *env.single_action_space.shape), env.single_action_space.dtype)  # type: ignore[arg-type]
    recorded.reset(seed=0)
    bare.reset(seed=0)

    def slice_of(demand: Callable[[], LiveDemand]) -> _Slice:
        with producer.lock:
            feed._heard_at = float("-inf")
            feed.accept(demand())
        spent(HEAD_S)
        return spent(SLICE_S - HEAD_S)

    def spent(seconds: float) -> _Slice:
        deadline, steps, bare_s, began_s = time.monotonic() + seconds, 0, 0.0, time.process_time()
        while time.monotonic() < deadline:
            recorded.step(actions)
            bare_s -= time.thread_time()
            bare.step(actions)
            bare_s += time.thread_time()
            steps += 1
        return _Slice(steps, time.process_time() - began_s - bare_s, bare_s)

    ways = {
        "nobody": lambda: gateway.want(0, 0),
        "frozen": lambda: gateway.want(TILES, 0),
        "healthy": lambda: gateway.want(TILES, 1 << 30),
    }
    ways = {way: ways[way] for way in ("nobody", *watched)}
    slice_of(ways["nobody"])
    times: dict[str, list[_Slice]] = {way: [] for way in ways}
    for _ in range(pairs):
        taken: dict[str, list[_Slice]] = {way: [] for way in ways}
        for turn in range(rounds):
            for way in list(ways)[:: 1 if turn % 2 else -1]:
                gateway.healthy = way == "healthy"
                taken[way].append(slice_of(ways[way]))
        for way, slices in taken.items():
            times[way].append(_Slice(*map(sum, zip(*slices, strict=True))))
    recorded.close()
    bare.close()
    ray.shutdown()
    figures = []
    for way in watched:
        ratios = [nobody.in_bare / seen.in_bare for nobody, seen in zip(times["nobody"], times[way], strict=True)]
        middle = statistics.median(ratios)
        error = statistics.stdev(ratios) / len(ratios) ** 0.5
        us = 1e6 * statistics.median(seen.seconds / seen.steps for seen in times[way])
        detail = f"{len(ratios)} pairs, {us:.1f} us a vector step of {TILES}, lower bound {middle - 1.64 * error:.3f}"
        name, what = ("noise", ", pictures that change everywhere") if same < LIKE_ATARI else (way, "")
        figures.append(Figure(f"live.{name}", f"Speed of steps, {way} viewer / nobody{what}", middle, "ratio", detail))
    return figures


def _memory(rounds: int) -> list[Figure]:
    board = Switchboard("bench", "gateway", LiveConfig(), UiConfig())
    for index in range(STREAMS):
        board.know(index, "p0.0", 0)
    viewers = [board.join()[0] for _ in range(VIEWERS)]
    for viewer in viewers:
        board.hear(viewer, Message({"sub": tuple(range(STREAMS)), "hz": 60.0}))
    process, sizes = psutil.Process(os.getpid()), []
    picture = np.zeros((105, 80, 3), np.uint8)
    for n in range(1, rounds + 1):
        items = [LiveItem(s, n // 10 + 1, 0.0, 0, n, 0.0, picture=picture.copy()) for s in range(n % 10, STREAMS, 10)]
        board.take("p0.0", items)
        for place, viewer in enumerate(viewers):
            for item in items:
                sequence = viewer.pairs[item.stream].send()
                if sequence is not None and place % 2:  # half of them are frozen
                    board.hear(viewer, Message({}, rendered=((item.stream, sequence),)))
        if n == rounds // 2 or n == rounds:
            sizes.append(process.memory_info().rss)
    grown = (sizes[-1] - sizes[0]) / 1e6
    detail = f"{STREAMS} streams, {VIEWERS} viewers, half of them frozen, {rounds * STREAMS // 10:,} events"
    detail += f"; {sizes[-1] / 1e6:.0f} MB in the end"
    return [Figure("live.memory", "Memory that the gateway's state grew by in the second half", grown, "MB", detail)]
