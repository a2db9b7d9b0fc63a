"""What those who watch cost a producer, and how much memory the gateway takes.

A step is timed by the processor time of the thread that steps, in one process, in alternating slices, so that other
processes of the machine do not count: with nobody watching, with a viewer that is frozen, and with one that is well.
"""

from __future__ import annotations

import os
import pickle
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

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
NOBODY: Final = LiveDemand("bench", "gateway-of-the-bench", 1)
VIEWERS, STREAMS = 8, 1000


def measure(order: FigureOrder) -> list[Figure]:
    """Steps in alternating slices, then the switchboard's memory."""
    pairs, slice_s = (3, 0.2) if order.quick else (20, 0.5)
    found = _steps(Path(order.folder), pairs, slice_s)
    return [*found, *_memory(200 if order.quick else 500)]


class _Swallow:
    """A gateway that answers at once with the same demand, and credits as it is told."""

    def __init__(self) -> None:
        self.demand = NOBODY
        self.number = 1
        self.pushed = 0
        self.healthy = True

    def want(self, streams: int, limit: int) -> LiveDemand:
        self.number += 1
        wanted = tuple(StreamDemand(n, limit, 160) for n in range(streams))
        return LiveDemand("bench", "gateway-of-the-bench", self.number, 10.0 if streams else 0.0, wanted)

    def push(self, demand: LiveDemand, owner: str, items: tuple[LiveItem, ...]) -> Any:
        self.pushed += len(items)
        size = len(pickle.dumps(items, protocol=5))  # what handing it to Ray costs this process, about
        done: Future[int] = Future()
        done.set_result(size)
        return done

    def answer(self, handle: Any) -> LiveDemand:
        return self.want(TILES, 1 << 30 if self.healthy else 0)


def _steps(lake: Path, pairs: int, slice_s: float) -> list[Figure]:
    env = gym.vector.SyncVectorEnv([lambda: Synthetic(frame_size=(210, 160), observes_frames=True)] * TILES)
    recorded = rt.record(env, lake, frames="none", live={"enabled": False})
    gateway = _Swallow()
    producer = recorded._recorder.producer  # type: ignore[attr-defined]
    feed = producer._live
    feed._link = gateway
    actions = np.zeros((TILES, *env.single_action_space.shape), env.single_action_space.dtype)  # type: ignore[arg-type]
    recorded.reset(seed=0)

    def slice_of(demand: Callable[[], LiveDemand]) -> float:
        with producer.lock:
            feed._heard_at = float("-inf")
            feed.accept(demand())
        deadline, steps = time.monotonic() + slice_s, 0
        before = time.process_time()
        while time.monotonic() < deadline:
            recorded.step(actions)
            steps += 1
        return (time.process_time() - before) / steps

    ways = {
        "nobody": lambda: gateway.want(0, 0),
        "frozen": lambda: gateway.want(TILES, 0),
        "healthy": lambda: gateway.want(TILES, 1 << 30),
    }
    slice_of(ways["nobody"])
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(pairs):
        for way, demand in ways.items():
            gateway.healthy = way == "healthy"
            times[way].append(slice_of(demand))
    recorded.close()
    ray.shutdown()
    figures = []
    for way in ("frozen", "healthy"):
        ratios = sorted(nobody / seen for nobody, seen in zip(times["nobody"], times[way], strict=True))
        middle = statistics.median(ratios)
        error = statistics.stdev(ratios) / len(ratios) ** 0.5
        us = 1e6 * statistics.median(times[way])
        detail = f"{len(ratios)} pairs, {us:.1f} us a vector step of {TILES}, lower bound {middle - 1.64 * error:.3f}"
        figures.append(Figure(f"live.{way}", f"Speed of steps, {way} viewer / nobody", middle, "ratio", detail))
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
