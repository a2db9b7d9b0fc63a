"""How heavy the page is, and how soon it shows a lake of 10,000 episodes.

Rules:
1. A visit is the first of a server that has just begun to listen, from a browser with empty caches: nothing is warm but
   the files that the system keeps in memory.
2. The clock begins with the navigation, redirect to the address without the token included. It ends with the frame in
   which the first row of the table stands, not with the first word of the page.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium as gym
import ray

import rolltape as rt
from rolltape.dashboards.app import STATIC
from rolltape.scripts.bench.chromium import SIZE, chromium
from rolltape.scripts.bench.figure import Figure, FigureOrder

TITLE = "how heavy the page is, and when the first visitor of a lake of 10,000 episodes sees its rows"
SUB_ENVS = 256
EPISODES = (9_000, 250, 250, 250, 250)
"""Of each run, in the order in which they are recorded."""
VISITS = 7
ROW = "table tbody tr td a"
WATCH = """(() => {
  const seen = new MutationObserver(() => {
    if (!document.querySelector("%s")) return;
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => { document.documentElement.dataset.drawn = performance.now(); }));
  });
  seen.observe(document, {childList: true, subtree: true});
})();"""
FIRST = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
SERVE = "from rolltape.scripts.cli import main; main()"


def measure(order: FigureOrder) -> list[Figure]:
    """The weight of what is shipped, and visits of Runs and of the longest run's Episodes."""
    lake = Path(order.folder)
    share = 100 if order.quick else 1
    recorded = {_record(lake, count // share): count // share for count in EPISODES}
    ray.shutdown()
    longest = max(recorded, key=lambda run: recorded[run])
    pages = {"runs": ("Runs", "#/"), "episodes": ("Episodes", f"#/run/{longest}/episodes")}
    visits = 2 if order.quick else VISITS
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in pages}
    with chromium() as browser:
        for _ in range(visits):
            for name, (_, place) in pages.items():
                with _served(lake) as address:
                    times[name].append(_visit(browser, address + place))
    found = [_weight()]
    for name, (title, _) in pages.items():
        first, rows = (sorted(column) for column in zip(*times[name], strict=True))
        detail = f"median of {visits} first visits, {rows[0]:.2f} to {rows[-1]:.2f} s; first paint of the frame around "
        detail += f"them {median(first):.2f} s; {sum(recorded.values()):,} episodes in {len(recorded)} runs"
        found.append(Figure(f"page.{name}", f"Rows of {title} are drawn", median(rows), "s", detail))
    return found


def _weight() -> Figure:
    """What a browser loads for the page, each file with gzip at its usual level; the widget is none of it."""
    files = [STATIC / "index.html", STATIC / "favicon.svg", *sorted((STATIC / "assets").iterdir())]
    weight = sum(len(gzip.compress(file.read_bytes())) for file in files)
    detail = f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e3:.0f} kB as they are"
    return Figure("page.weight", "All files of the page, gzip", weight / 1e3, "kB", detail)


def _record(lake: Path, episodes: int) -> str:
    """Record CartPoles until so many episodes have ended, about; the run's id."""
    env = rt.record(gym.make_vec("CartPole-v1", SUB_ENVS, vectorization_mode="vector_entry_point"), lake)
    env.action_space.seed(0)
    env.reset(seed=0)
    ended = 0
    while ended < episodes:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        ended += int((terminated | truncated).sum())
    env.close()
    return env.run_id


@contextmanager
def _served(lake: Path) -> Iterator[str]:
    """`rolltape dashboard`, in a process of its own; its address with the token."""
    command = [sys.executable, "-c", SERVE, "dashboard", str(lake), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def _visit(browser: Any, address: str) -> tuple[float, float]:
    """Seconds until something is painted, and until a row of the table is."""
    context = browser.new_context(viewport=SIZE)
    try:
        page = context.new_page()
        page.add_init_script(WATCH % ROW)
        page.goto(address)
        page.wait_for_selector("html[data-drawn]", state="attached")
        first, rows = page.evaluate(f"[{FIRST}, Number(document.documentElement.dataset.drawn)]")
        return (first or rows) / 1e3, rows / 1e3
    finally:
        context.close()
