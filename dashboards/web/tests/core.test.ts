import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { pictureBytes } from "../src/core/blocks";
import { placesOf } from "../src/core/draw";
import { Link, type LinkState } from "../src/core/link";
import { bytes, figure, seconds } from "../src/core/numbers";
import { inWords } from "../src/core/payload";
import { records, type WireRecord } from "../src/core/wire";

const GOLDEN = new URL("../../../tests/golden/live_wire_v1.json", import.meta.url);

function buffer(hex: string): ArrayBuffer {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)).buffer;
}

describe("the wire", () => {
  it.runIf(existsSync(GOLDEN))("reads the bytes that Python wrote", () => {
    const golden = JSON.parse(readFileSync(GOLDEN, "utf8"));
    expect(golden.binary.length).toBeGreaterThan(3);
    for (const { name, hex, records: expected } of golden.binary) {
      const read = records(buffer(hex)).map((record) => ({ ...record, payload: Buffer.from(record.payload).toString("hex") }));
      expect(read, name).toEqual(expected);
    }
  });

  it("refuses a frame that ends within a record", () => {
    const whole = buffer(`0100000001000000${"00".repeat(8)}0000000002000000ffff`);
    expect(records(whole)).toHaveLength(1);
    expect(() => records(whole.slice(0, 25))).toThrow(RangeError);
    expect(() => records(whole.slice(0, 20))).toThrow(RangeError);
  });

  it("splits a block of pictures", () => {
    expect(pictureBytes(buffer("0700000002000000aabb0800000001000000cc")).map(({ t, png }) => [t, ...png])).toEqual([
      [7, 0xaa, 0xbb],
      [8, 0xcc],
    ]);
  });
});

class FakeSocket {
  static readonly OPEN = 1;
  static made: FakeSocket[] = [];
  readyState = 1;
  sent: any[] = [];
  onopen?: () => void;
  onmessage?: (event: { data: unknown }) => void;
  onclose?: (event: { code: number; reason: string }) => void;
  constructor(readonly url: URL) {
    FakeSocket.made.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.readyState = 3;
  }
}

function linked(): { link: Link; states: LinkState[]; socket: () => FakeSocket } {
  FakeSocket.made = [];
  vi.stubGlobal("WebSocket", FakeSocket);
  const states: LinkState[] = [];
  const link = new Link(new URL("ws://here/api/live?run=R"), { message: () => {}, record: () => {}, state: (state) => states.push(state) });
  return { link, states, socket: () => FakeSocket.made.at(-1) as FakeSocket };
}

const shown = (stream: number, seq: number): WireRecord => ({ kind: 1, codec: 1, stream, seq, time: 0, width: 1, height: 1, payload: new Uint8Array() });
const hello = { type: "hello", protocol: 1, viewer: "v.1" };

describe("the link", () => {
  it("acknowledges cumulatively, once for all that was drawn together", async () => {
    const { link, socket } = linked();
    socket().onopen?.();
    socket().sent.length = 0;
    link.rendered(shown(3, 7));
    link.rendered(shown(3, 9));
    link.rendered(shown(3, 8));
    link.rendered(shown(4, 1));
    await Promise.resolve();
    expect(socket().sent).toEqual([{ rendered: [[3, 9], [4, 1]] }]);
  });

  it("comes back with its id and what it wanted, and forgets what was drawn before", async () => {
    vi.useFakeTimers();
    const { link, states, socket } = linked();
    socket().onopen?.();
    socket().onmessage?.({ data: JSON.stringify(hello) });
    link.want({ sub: [1, 2], size: 96 });
    link.rendered(shown(1, 5));
    socket().onclose?.({ code: 1006, reason: "" });
    vi.advanceTimersByTime(600);
    expect(FakeSocket.made).toHaveLength(2);
    expect(socket().url.searchParams.get("viewer")).toBe("v.1");
    socket().onopen?.();
    await Promise.resolve();
    expect(socket().sent).toEqual([{ sub: [1, 2], size: 96 }]);
    expect(states).toEqual(["open", "reconnecting"]);
    vi.useRealTimers();
  });

  it.each([
    [1000, "ended"],
    [4401, "refused"],
    [4404, "not_live"],
    [4400, "protocol"],
  ] as const)("closed with %i it is %s, and does not try again", (code, state) => {
    vi.useFakeTimers();
    const { states, socket } = linked();
    socket().onclose?.({ code, reason: "" });
    vi.advanceTimersByTime(60_000);
    expect(states).toEqual([state]);
    expect(FakeSocket.made).toHaveLength(1);
    vi.useRealTimers();
  });

  it("refuses another protocol", () => {
    const { states, socket } = linked();
    socket().onmessage?.({ data: JSON.stringify({ ...hello, protocol: 2 }) });
    expect(states).toEqual(["protocol"]);
  });
});

describe("words and numbers", () => {
  it("says what a grid and a graph show", () => {
    const item = { name: "agent", row: 0, column: 2, label: "", facing: "up", color: "" };
    const grid = { kind: "grid" as const, rows: 2, columns: 3, tiles: ["x"], cells: [[0]], items: [item], walls: [], facts: { key: "held" } };
    expect(inWords(grid)).toBe("Grid of 2 rows and 3 columns: agent at row 1, column 3 facing up; key held");
  });

  it("lays out graphs that say no places, whatever their shape", () => {
    const node = (id: string): any => ({ id, label: "", role: "", x: null, y: null });
    const graph: any = { kind: "graph", nodes: ["a", "b", "c", "d"].map(node), edges: [{ source: "a", target: "b" }, { source: "b", target: "a" }], directed: true, facts: {} };
    const places = placesOf(graph);
    expect(places.size).toBe(4);
    for (const [x, y] of places.values()) expect(x >= 0 && x <= 1 && y >= 0 && y <= 1).toBe(true);
  });

  it("writes numbers as a person reads them", () => {
    expect([figure(0), figure(1234), figure(0.008333333), figure("NaN"), figure(null), figure(1.5e9)]).toEqual(["0", "1,234", "0.008333", "NaN", "–", "1.50e+9"]);
    expect([bytes(999), bytes(354_478), bytes(2.5e6)]).toEqual(["999 B", "354 kB", "2.5 MB"]);
    expect([seconds(0.0123), seconds(35.5), seconds(3700)]).toEqual(["12 ms", "35.5 s", "61 min 40 s"]);
  });
});
