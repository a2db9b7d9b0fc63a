// One viewer's connection: it subscribes, says what it has drawn, and comes back by itself after a break.

import { MOSAIC, PAYLOAD, PICTURE, PROTOCOL, records, type Message, type Wanted, type WireRecord } from "./wire";

export type LinkState = "connecting" | "open" | "reconnecting" | "ended" | "refused" | "not_live" | "protocol";

export interface LinkEvents {
  message(message: Message): void;
  /** Call `link.rendered(record)` once it is drawn, or replaced by a newer one. */
  record(record: WireRecord): void;
  state(state: LinkState, reason: string): void;
}

/** Somebody else came back with this name: a new one is taken. */
const REPLACED = 4409;
const WAITS_MS = [500, 1000, 2000, 4000, 8000];

export class Link {
  private socket: WebSocket | null = null;
  private viewer = "";
  private tries = 0;
  private wanted: Wanted = { sub: [] };
  private hidden = false;
  private readonly drawn = new Map<number, number>();
  private mosaics = 0;
  private scheduled = false;
  private closed = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  state: LinkState = "connecting";

  constructor(
    private readonly address: URL,
    private readonly events: LinkEvents,
    /** Offered to the server: what a page of another origin shows to be let in. */
    private readonly protocols: string[] = [],
  ) {
    this.connect();
  }

  /** Replace what is subscribed; sent again after a break. */
  want(wanted: Wanted): void {
    this.wanted = { ...this.wanted, ...wanted };
    this.send(wanted);
  }

  /** Whether nobody can see it: nothing is sent meanwhile. */
  hide(hidden: boolean): void {
    if (hidden === this.hidden) return;
    this.hidden = hidden;
    this.send({ hidden });
  }

  /** Cumulative: all of that stream up to this one counts as shown. Sent once a frame of the screen. */
  rendered(record: WireRecord): void {
    if (record.kind === MOSAIC) this.mosaics = Math.max(this.mosaics, record.seq);
    else if (record.kind === PICTURE || record.kind === PAYLOAD) {
      this.drawn.set(record.stream, Math.max(this.drawn.get(record.stream) ?? 0, record.seq));
    }
    if (!this.scheduled) {
      this.scheduled = true;
      queueMicrotask(() => this.acknowledge());
    }
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.close(1000);
  }

  private acknowledge(): void {
    this.scheduled = false;
    const said: Record<string, unknown> = {};
    if (this.drawn.size) said.rendered = [...this.drawn];
    if (this.mosaics) said.mosaics = this.mosaics;
    this.drawn.clear();
    this.mosaics = 0;
    if (Object.keys(said).length) this.send(said);
  }

  private send(content: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(content));
  }

  private connect(): void {
    const address = new URL(this.address);
    if (this.viewer) address.searchParams.set("viewer", this.viewer);
    const socket = new WebSocket(address, this.protocols);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      // Windows start anew on the other side; what was drawn before the break means nothing now.
      this.drawn.clear();
      this.mosaics = 0;
      this.send({ ...this.wanted, ...(this.hidden ? { hidden: true } : {}) });
    };
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      if (this.socket !== socket) return;
      if (typeof event.data === "string") this.heard(JSON.parse(event.data) as Message);
      else for (const record of records(event.data)) this.events.record(record);
    };
    socket.onclose = (event) => {
      if (this.socket === socket) this.lost(event.code, event.reason);
    };
  }

  private heard(message: Message): void {
    if (message.type === "hello") {
      if (message.protocol !== PROTOCOL) {
        this.finish("protocol", `the server speaks version ${message.protocol} of the live wire, this page ${PROTOCOL}`);
        return;
      }
      this.viewer = message.viewer;
      this.tries = 0;
      this.change("open", "");
    }
    this.events.message(message);
    if (message.type === "end") this.finish("ended", message.status);
  }

  private lost(code: number, reason: string): void {
    if (this.closed || this.state === "ended" || this.state === "protocol") return;
    if (code === 1000) this.finish("ended", reason);
    else if (code === 4401 || code === 4403) this.finish("refused", reason);
    else if (code === 4404) this.finish("not_live", reason);
    else if (code === 4400) this.finish("protocol", reason);
    else {
      if (code === REPLACED) this.viewer = "";
      const wait = WAITS_MS[Math.min(this.tries, WAITS_MS.length - 1)];
      this.tries += 1;
      this.change("reconnecting", `trying again in ${wait / 1000} s`);
      this.timer = setTimeout(() => this.connect(), wait);
    }
  }

  private finish(state: LinkState, reason: string): void {
    this.closed = true;
    this.change(state, reason);
    this.socket?.close(1000);
  }

  private change(state: LinkState, reason: string): void {
    this.state = state;
    this.events.state(state, reason);
  }
}
