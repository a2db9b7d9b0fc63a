// Tiles of a run that is recorded now. The widget is a viewer of its own, on its own socket: a busy cell does not stop it.

import { drawPayload } from "../core/draw";
import { Link, type LinkState } from "../core/link";
import { count, figure, seconds } from "../core/numbers";
import { inWords, type Payload } from "../core/payload";
import { imageOf, jsonOf, type Message, PAYLOAD, PICTURE, records, type Status, type Stream, type WireRecord } from "../core/wire";
import type { Comm, Model } from "./comm";
import { protocolsOf, type Route, routesTo } from "./routes";
import { inkOf, make } from "./style";

const TRY_MS = 4000;
const SLOW = "Pictures come through the kernel, at most 5 a second and none while a cell begins: neither the Jupyter server's proxy nor the port could be reached.";

interface About {
  run: string;
  tiles: number;
  size: number;
  hz: number | null;
}

interface Door {
  host: string;
  port: number;
  token: string;
}

class Tile {
  readonly canvas = make("canvas", { width: 160, height: 120 });
  private readonly where = make("span");
  private readonly state = make("span", { className: "rt-state" });
  readonly element: HTMLElement;

  constructor(readonly stream: Stream) {
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${stream.id}: nothing yet`);
    this.element = make("figure", {}, this.canvas, make("figcaption", {}, this.where, this.state));
    this.say(null, null, null, "");
  }

  say(episode: number | null, t: number | null, total: number | null, state: string): void {
    const at = episode === null ? "" : ` ep ${count(episode)} t ${count(t)} r ${figure(total)}`;
    this.where.textContent = `${this.stream.id}${at}`;
    this.stands(state);
  }

  stands(state: string): void {
    this.state.textContent = state.replace("_", " ").toUpperCase();
  }

  async draw(record: WireRecord): Promise<void> {
    const to = this.canvas.getContext("2d");
    if (!to) return;
    if (record.kind === PICTURE) {
      const image = await imageOf(record);
      if (this.canvas.width !== image.width || this.canvas.height !== image.height) Object.assign(this.canvas, { width: image.width, height: image.height });
      to.drawImage(image, 0, 0);
      image.close();
      this.canvas.setAttribute("aria-label", `${this.stream.id}: picture ${record.seq}`);
    } else {
      const payload = jsonOf(record) as Payload;
      if (this.canvas.width !== 240) Object.assign(this.canvas, { width: 240, height: 180 });
      drawPayload(to, payload, this.canvas.width, this.canvas.height, inkOf(this.canvas));
      this.canvas.setAttribute("aria-label", `${this.stream.id}: ${inWords(payload)}`);
    }
  }
}

export function showLive(root: HTMLElement, model: Model, comm: Comm, door: Door | null): () => void {
  const about = model.get("about") as About;
  const head = make("div", { className: "rt-bar" });
  head.setAttribute("role", "status");
  const note = make("div", { className: "rt-note" });
  const grid = make("div", { className: "rt-tiles" });
  grid.style.setProperty("--rt-tile", `${Math.max(96, Math.min(about.size, 400))}px`);
  root.append(head, note, grid);

  const tiles = new Map<number, Tile>();
  const waiting = new Map<number, WireRecord>();
  let drawing = false;
  let link: Link | null = null;
  let carried = false;
  let closed = false;
  let streams = 0;
  let env = "";

  const title = (words: string): void => head.replaceChildren(make("b", { textContent: env || "Rolltape" }), make("span", { className: "rt-faint", textContent: words }));
  title("connecting");

  const wish = () => ({ sub: [...tiles.keys()], size: about.size, mode: "tiles" as const, ...(about.hz === null ? {} : { hz: about.hz }) });
  const lay = (known: Stream[]): void => {
    streams = known.length;
    const shown = known.slice(0, about.tiles);
    for (const [index, tile] of tiles) {
      if (shown.some((stream) => stream.index === index)) continue;
      tile.element.remove();
      tiles.delete(index);
    }
    for (const stream of shown) {
      if (tiles.has(stream.index)) continue;
      const tile = new Tile(stream);
      tiles.set(stream.index, tile);
      grid.append(tile.element);
    }
    link?.want(wish());
  };
  const status = (now: Status): void => {
    const { run } = now;
    const many = streams > tiles.size ? `${tiles.size} of ${count(streams)} streams` : `${streams} ${streams === 1 ? "stream" : "streams"}`;
    const lost = run.durable_lost ? `LOST ${count(run.durable_lost)}` : "lost 0";
    title(`${run.state.replace("_", " ")}, ${many}, ${count(run.steps)} steps, ${count(run.steps_per_s)} steps/s, lag ${seconds(run.durable_lag_s)}, ${lost}`);
    now.streams.index.forEach((index, i) => tiles.get(index)?.say(now.streams.episode[i], now.streams.t[i], now.streams.return[i], now.streams.state[i]));
  };
  const ended = (words: string): void => {
    title(words);
    for (const tile of tiles.values()) tile.stands("ended");
  };
  const message = (said: Message): void => {
    if (said.type === "hello") {
      env = said.run.env_id;
      lay(said.streams);
    } else if (said.type === "streams") lay(said.streams);
    else if (said.type === "status") status(said);
    else if (said.type === "end") ended(`the run has ended: ${said.status}`);
  };

  const draw = async (): Promise<void> => {
    const batch = [...waiting.values()];
    waiting.clear();
    await Promise.allSettled(batch.map((record) => tiles.get(record.stream)?.draw(record)));
    for (const record of batch) link?.rendered(record);
    drawing = false;
    if (waiting.size && !closed) schedule();
  };
  const schedule = (): void => {
    drawing = true;
    requestAnimationFrame(() => void draw());
  };
  const record = (came: WireRecord): void => {
    if (came.kind !== PICTURE && came.kind !== PAYLOAD) return;
    waiting.set(came.stream, came); // a newer one takes the place of one not drawn; acknowledgements are cumulative
    if (!drawing) schedule();
  };

  const carry = (): void => {
    if (carried || closed) return;
    carried = true;
    link = null;
    note.textContent = SLOW;
    root.dataset.route = "kernel";
    comm.listen(({ said, buffers }) => {
      if (said.type === "told") message(said.told as Message);
      else if (said.type === "records") for (const frame of buffers) records(frame).forEach(record);
      else if (said.type === "gone") title(String(said.message));
    });
    comm.tell({ type: "carry" });
  };

  const attempt = (routes: Route[]): void => {
    const [route, ...rest] = routes;
    if (closed) return;
    if (!route || !door) {
      carry();
      return;
    }
    let opened = false;
    let left = false;
    const next = (): void => {
      if (left || opened || closed) return;
      left = true;
      clearTimeout(timer);
      trying.close();
      attempt(rest);
    };
    const timer = setTimeout(next, TRY_MS);
    const trying: Link = new Link(
      route.address,
      {
        message: (said) => {
          if (left) return;
          opened = true;
          link = trying;
          root.dataset.route = route.name;
          message(said);
        },
        record: (came) => {
          if (!left) record(came);
        },
        state: (state: LinkState, reason: string) => {
          if (left || closed) return;
          if (!opened && state !== "open") next();
          else if (state === "reconnecting") title(`reconnecting: ${reason}`);
          else if (state === "ended") ended(`the run has ended${reason ? `: ${reason}` : ""}`);
          else if (state === "not_live") ended("the run is not live any more");
        },
      },
      protocolsOf(door.token),
    );
  };
  attempt(door ? routesTo(door, about.run) : []);

  let onScreen = true;
  const seen = (): void => link?.hide(document.hidden || !onScreen);
  const watcher = new IntersectionObserver((entries) => {
    onScreen = entries[entries.length - 1].isIntersecting;
    seen();
  });
  watcher.observe(grid);
  document.addEventListener("visibilitychange", seen);

  return () => {
    closed = true;
    watcher.disconnect();
    document.removeEventListener("visibilitychange", seen);
    link?.close();
    if (carried) comm.tell({ type: "leave" });
  };
}
