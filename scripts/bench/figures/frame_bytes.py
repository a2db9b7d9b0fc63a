"""What a picture takes, lossless and as recorded, before any compaction. Each is compared with what was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym

import rolltape as rt
from rolltape.scripts.bench.env_workload import Disagreement
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.scripts.bench.workloads import breakout

from .recordings import digest, record_pictures

TITLE = "bytes a frame, bit-exact: Breakout, Seaquest, CarRacing observation, CartPole render"

SOURCES: tuple[tuple[str, str, Callable[[], Any], str, int], ...] = (
    ("Breakout", "Breakout observation", breakout.make_single, "observation", 10_000),
    ("Seaquest", "Seaquest observation", lambda: breakout.make_single("Seaquest"), "observation", 10_000),
    ("CarRacing", "CarRacing observation", lambda: gym.make("CarRacing-v3"), "observation", 3_000),
    ("CartPole", "CartPole render", lambda: gym.make("CartPole-v1", render_mode="rgb_array"), "render", 5_000),
)


def measure(order: FigureOrder) -> list[Figure]:
    """Record each, read it back, compare. Raises Disagreement."""
    figures = []
    for name, title, make, frames, count in SOURCES:
        lake = Path(order.folder) / name
        run_id, seen = record_pictures(make, frames, count // 100 if order.quick else count, lake)
        _compare(name, lake, run_id, frames, seen)
        size = sum(part.stat().st_size for part in rt.parts(lake, run_id, "frames"))
        raw = int(rt.open(lake).frames(run_id, 0, kind=frames).layout.nbytes)
        smaller = raw * len(seen) / size
        detail = f"{len(seen):,} frames of {raw:,} bytes, each read back and equal; {smaller:,.0f} times smaller"
        figures.append(Figure(f"bytes.{name}", f"{title}, as recorded", size / len(seen), "bytes a frame", detail))
    return figures


def _compare(name: str, lake: Path, run_id: str, kind: str, seen: list[bytes]) -> None:
    opened = rt.open(lake)
    episodes = [row[0] for row in opened.episodes(run=run_id).select("episode").fetchall()]
    found = [digest(f) for e in sorted(episodes) for f in opened.frames(run_id, e, kind=kind)]
    if found != seen:
        differ = (place for place, (a, b) in enumerate(zip(found, seen, strict=False)) if a != b)
        first = next(differ, min(len(found), len(seen)))
        raise Disagreement(
            f"{name}: {len(seen):,} pictures were given, {len(found):,} read back; the first that differs: {first}."
        )
