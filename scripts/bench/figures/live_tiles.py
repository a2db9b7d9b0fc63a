"""64 tiles at 30 pictures a second in a real browser: how many are drawn, and how old they are then.

Rules:
1. The page is the one that is shipped, its socket and its acknowledgements are its own. A script beside it notes, for
   each picture, when it was taken (as its record says) and when the page said that it had drawn it.
2. All on one machine and by one clock: taken, pushed, encoded, sent, decoded, drawn.
"""

from __future__ import annotations

import time
from statistics import median, quantiles

import psutil

from rolltape.scripts.bench.chromium import SIZE, chromium
from rolltape.scripts.bench.figure import Figure, FigureOrder
from rolltape.scripts.bench.gateway_host import Settings, served

TITLE = "64 tiles at 30 pictures a second in Chromium: how old they are when they are drawn"
TILES, HZ = 64, 30.0
SETTLE_S, SECONDS = 5.0, 30.0
NOTES = """(() => {
  const taken = new Map();
  window.drawn = [];
  const Plain = WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", (event) => {
        if (typeof event.data === "string") return;
        const view = new DataView(event.data);
        for (let at = 0; at < view.byteLength; at += 24 + view.getUint32(at + 20, true)) {
          if (view.getUint8(at) === 2) taken.set(view.getUint32(at + 4, true), view.getFloat64(at + 8, true));
        }
      });
    }
    send(text) {
      const said = JSON.parse(text);
      const now = (performance.timeOrigin + performance.now()) / 1000;
      for (const seq of [...taken.keys()]) {
        if (said.mosaics === undefined || seq > said.mosaics) continue;
        if (seq === said.mosaics) window.drawn.push([now, now - taken.get(seq)]);
        taken.delete(seq);
      }
      super.send(text);
    }
  };
})();"""


def measure(order: FigureOrder) -> list[Figure]:
    """Serve, look, and count."""
    seconds = 3.0 if order.quick else SECONDS
    settings = Settings(order.folder, streams=TILES, producers=8, hz=HZ)
    with served(settings) as (address, pid), chromium() as browser:
        page = browser.new_context(viewport=SIZE).new_page()
        page.add_init_script(NOTES)
        page.goto(address)
        page.wait_for_selector(".mosaic .cells a")
        page.wait_for_timeout(1e3 * SETTLE_S)
        process = psutil.Process(pid)
        busy_s, began = sum(process.cpu_times()[:2]), time.monotonic()
        page.evaluate("window.drawn.length = 0")
        page.wait_for_timeout(1e3 * seconds)
        drawn: list[tuple[float, float]] = page.evaluate("window.drawn")
        busy = (sum(process.cpu_times()[:2]) - busy_s) / (time.monotonic() - began)
    ages = [1e3 * age for _, age in drawn]
    rate = len(drawn) / seconds
    how = f"{len(drawn):,} mosaics in {seconds:.0f} s, 8 producers; {busy:.2f} cores of the gateway and what feeds it"
    age = f"of the oldest new picture in each: median {median(ages):.0f} ms, at most {max(ages):.0f} ms"
    return [
        Figure("tiles.age", f"{TILES} tiles, taken to drawn, 95th percentile", quantiles(ages, n=20)[-1], "ms", age),
        Figure("tiles.rate", f"{TILES} tiles, pictures drawn a second of each", rate, "1/s", how),
    ]
