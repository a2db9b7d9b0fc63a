// The live connection of the run in view, and all that was heard: shared by Live, Focus, Flow, Health and the top bar.

import { type Signal, signal } from "@preact/signals";
import { Link, type LinkState } from "../core/link";
import { type Payload } from "../core/payload";
import {
  type Control,
  type EpisodeEnd,
  type Hello,
  imageOf,
  jsonOf,
  type Layout,
  type LogRow,
  MOSAIC,
  PAYLOAD,
  PICTURE,
  type Status,
  STEP,
  type StepRecord,
  type Stream,
  type WireRecord,
} from "../core/wire";

/** What a tile shows now. */
export interface Look {
  image?: ImageBitmap;
  payload?: Payload;
  seq: number;
  time: number;
}

type Painter = (look: Look) => void;
/** Statuses that are kept: 5 minutes at two a second. */
const HISTORY = 600;
const WINDOW_S = 30;

export class LiveRun {
  readonly state: Signal<LinkState> = signal<LinkState>("connecting");
  readonly reason = signal("");
  readonly hello: Signal<Hello | null> = signal<Hello | null>(null);
  readonly streams: Signal<Stream[]> = signal<Stream[]>([]);
  readonly status: Signal<Status | null> = signal<Status | null>(null);
  readonly controls: Signal<Control[]> = signal<Control[]>([]);
  readonly ends: Signal<EpisodeEnd[]> = signal<EpisodeEnd[]>([]);
  readonly logs: Signal<LogRow[]> = signal<LogRow[]>([]);
  readonly layout: Signal<Layout | null> = signal<Layout | null>(null);
  readonly history: Signal<Status[]> = signal<Status[]>([]);
  /** State of each stream at each status, by index: for the heat strips. */
  readonly strips = new Map<number, string[]>();
  private readonly moved = new Map<number, { place: string; time: number }>();
  readonly steps = new Map<number, StepRecord[]>();
  readonly stepped = signal(0);
  private readonly painters = new Map<number, Set<Painter>>();
  private mosaicPainter: ((image: ImageBitmap, layout: number) => void) | null = null;
  private readonly latest = new Map<number, Look>();
  private readonly waiting = new Map<string, WireRecord>();
  private drawing = false;
  readonly link: Link;

  constructor(readonly run: string) {
    const address = new URL("./api/live", location.href.split("#")[0]);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = "";
    address.searchParams.set("run", run);
    this.link = new Link(address, {
      state: (state, reason) => {
        this.state.value = state;
        this.reason.value = reason;
      },
      message: (message) => this.heard(message),
      record: (record) => this.came(record),
    });
    document.addEventListener("visibilitychange", this.seen);
    this.seen();
  }

  close(): void {
    document.removeEventListener("visibilitychange", this.seen);
    this.link.close();
  }

  private readonly seen = (): void => this.link.hide(document.hidden);

  /** Call `paint` with what the stream looks like now, and whenever that changes. Returns how to stop. */
  paint(stream: number, paint: Painter): () => void {
    const known = this.painters.get(stream) ?? new Set();
    known.add(paint);
    this.painters.set(stream, known);
    const look = this.latest.get(stream);
    if (look) paint(look);
    return () => known.delete(paint);
  }

  /** Share of the last 30 s that a stream was starved, 0 to 1. */
  starvedShare(stream: number): number {
    const history = this.history.value;
    const now = history.at(-1);
    const then = now && history.find((one) => one.time >= now.time - WINDOW_S);
    const at = now?.streams.index.indexOf(stream) ?? -1;
    const from = then?.streams.index.indexOf(stream) ?? -1;
    if (!now || !then || at < 0 || from < 0) return 0;
    const starved = now.streams.starved_s[at] - then.streams.starved_s[from];
    return Math.min(1, Math.max(0, starved) / WINDOW_S);
  }

  /** Seconds since a stream was seen to step; 0 where that is not known. */
  stillFor(stream: number): number {
    const now = this.status.value;
    const moved = this.moved.get(stream);
    return now && moved && now.run.state === "live" ? now.time - moved.time : 0;
  }

  private noteStep(stream: number, time: number, place: string): void {
    if (this.moved.get(stream)?.place !== place) this.moved.set(stream, { place, time });
  }

  paintMosaic(paint: ((image: ImageBitmap, layout: number) => void) | null): void {
    this.mosaicPainter = paint;
  }

  private heard(message: Parameters<ConstructorParameters<typeof Link>[1]["message"]>[0]): void {
    switch (message.type) {
      case "hello":
        this.hello.value = message;
        this.streams.value = message.streams;
        break;
      case "streams":
        this.streams.value = message.streams;
        break;
      case "status":
        this.status.value = message;
        this.history.value = [...this.history.value.slice(1 - HISTORY), message];
        message.streams.index.forEach((index, i) => {
          this.noteStep(index, message.time, `${message.streams.episode[i]}/${message.streams.t[i]}`);
          const strip = this.strips.get(index) ?? [];
          strip.push(message.streams.state[i]);
          if (strip.length > 240) strip.shift();
          this.strips.set(index, strip);
        });
        break;
      case "control": {
        const key = `${message.viewer}/${message.stream}/${message.number}`;
        const known = this.controls.value.some((one) => `${one.viewer}/${one.stream}/${one.number}` === key);
        if (!known) this.controls.value = [...this.controls.value.slice(-511), message];
        break;
      }
      case "episodes":
        this.ends.value = [...this.ends.value, ...message.ends].slice(-2000);
        break;
      case "layout":
        this.layout.value = message;
        break;
      case "log":
        this.logs.value = [...this.logs.value, ...message.rows].slice(-500);
        break;
    }
  }

  private came(record: WireRecord): void {
    if (record.kind === STEP) {
      const steps = this.steps.get(record.stream) ?? [];
      steps.push(jsonOf(record) as StepRecord);
      if (steps.length > 200) steps.shift();
      this.steps.set(record.stream, steps);
      this.stepped.value += 1;
      return;
    }
    if (![PICTURE, MOSAIC, PAYLOAD].includes(record.kind)) return;
    // A newer one takes the place of one that is not drawn yet; the acknowledgement is cumulative, so no credit is lost.
    this.waiting.set(record.kind === MOSAIC ? "mosaic" : String(record.stream), record);
    if (!this.drawing) {
      this.drawing = true;
      // At once, and not with the screen's next frame: decoding takes most of the time until then.
      queueMicrotask(() => void this.draw());
    }
  }

  private async draw(): Promise<void> {
    const batch = [...this.waiting.values()];
    this.waiting.clear();
    await Promise.all(
      batch.map(async (record) => {
        try {
          if (record.kind === MOSAIC) {
            const image = await imageOf(record);
            this.mosaicPainter?.(image, record.stream);
            image.close();
          } else {
            const look: Look = { seq: record.seq, time: record.time };
            if (record.kind === PAYLOAD) look.payload = jsonOf(record) as Payload;
            else look.image = await imageOf(record);
            this.latest.get(record.stream)?.image?.close();
            this.latest.set(record.stream, look);
            for (const paint of this.painters.get(record.stream) ?? []) paint(look);
          }
        } finally {
          this.link.rendered(record);
        }
      }),
    );
    if (this.waiting.size) queueMicrotask(() => void this.draw());
    else this.drawing = false;
  }
}

export const liveLink = signal<LiveRun | null>(null);

/** The connection to that run; one at a time. */
export function liveOf(run: string): LiveRun {
  const now = liveLink.peek();
  if (now && now.run === run && now.state.peek() !== "not_live" && now.state.peek() !== "refused") return now;
  now?.close();
  const made = new LiveRun(run);
  liveLink.value = made;
  return made;
}
