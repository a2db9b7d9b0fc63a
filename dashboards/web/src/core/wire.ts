// The live wire, version 1 (docs/decisions/0023-live-path.md): binary records and the JSON messages beside them.

export const PROTOCOL = 1;
export const HEADER = 24;

export const PICTURE = 1;
export const MOSAIC = 2;
export const PAYLOAD = 3;
export const STEP = 4;

export const RAW = 0;
export const JPEG = 1;
export const PNG = 2;

export interface WireRecord {
  kind: number;
  codec: number;
  stream: number;
  seq: number;
  /** UTC seconds. */
  time: number;
  width: number;
  height: number;
  /** A view of the frame that it came in. */
  payload: Uint8Array<ArrayBuffer>;
}

/** All records of a binary frame. Throws RangeError where the frame ends within one. */
export function records(frame: ArrayBuffer): WireRecord[] {
  const view = new DataView(frame);
  const found: WireRecord[] = [];
  let at = 0;
  while (at < frame.byteLength) {
    if (at + HEADER > frame.byteLength) throw new RangeError(`a record of ${frame.byteLength - at} bytes has no header`);
    const length = view.getUint32(at + 20, true);
    const start = at + HEADER;
    if (start + length > frame.byteLength) throw new RangeError(`a payload of ${length} bytes ends after its frame`);
    found.push({
      kind: view.getUint8(at),
      codec: view.getUint8(at + 1),
      stream: view.getUint16(at + 2, true),
      seq: view.getUint32(at + 4, true),
      time: view.getFloat64(at + 8, true),
      width: view.getUint16(at + 16, true),
      height: view.getUint16(at + 18, true),
      payload: new Uint8Array(frame, start, length),
    });
    at = start + length;
  }
  return found;
}

/** The JSON of a record with codec 3. */
export function jsonOf(record: WireRecord): unknown {
  return JSON.parse(new TextDecoder().decode(record.payload));
}

/** A picture or mosaic as something a canvas draws. */
export async function imageOf(record: WireRecord): Promise<ImageBitmap> {
  if (record.codec === RAW) {
    const { width, height, payload } = record;
    const pixels = new Uint8ClampedArray(width * height * 4);
    for (let from = 0, to = 0; from < payload.length; from += 3, to += 4) {
      pixels[to] = payload[from];
      pixels[to + 1] = payload[from + 1];
      pixels[to + 2] = payload[from + 2];
      pixels[to + 3] = 255;
    }
    return createImageBitmap(new ImageData(pixels, width, height));
  }
  const type = record.codec === PNG ? "image/png" : "image/jpeg";
  return createImageBitmap(new Blob([record.payload], { type }));
}

export type Kind = "rgb" | "grid" | "graph" | "text";
export type StreamState = "live" | "starved" | "no_viewer";

export interface Stream {
  index: number;
  id: string;
  env: string;
  sub_environment: number;
  agent: string;
  worker: number;
  kind: Kind;
}

export interface Hello {
  type: "hello";
  protocol: number;
  epoch: string;
  viewer: string;
  resumed: boolean;
  run: { id: string; env_id: string; kind: string; num_envs: number; workers: number; frames: string; created: number };
  streams: Stream[];
  causes: Record<string, { stage: string; meaning: string }>;
  limits: { tiles: number; mosaic_above: number; steps: number; hz: [number, number] } & Record<string, unknown>;
  view: { hz: number; size: number; quality: number };
}

export interface StreamColumns {
  index: number[];
  state: StreamState[];
  kind: Kind[];
  credits: number[];
  pool: number[];
  published: number[];
  shown: number[];
  in_flight: number[];
  skipped: Record<string, number>[];
  transitions: number[];
  starved_s: number[];
  episode: (number | null)[];
  t: (number | null)[];
  return: (number | null)[];
}

export interface ViewerRow {
  id: string;
  me: boolean;
  hidden: boolean;
  mode: string;
  subscribed: number;
  starved: number;
  window: number;
  fps: number;
  latency_ms: number;
  latency_p95_ms: number;
  published: number;
  shown: number;
  in_flight: number;
  skipped: Record<string, number>;
  advice: string;
}

export interface Status {
  type: "status";
  time: number;
  run: {
    state: "live" | "hub_gone" | "ended";
    steps: number;
    episodes: number;
    frames: number;
    return_sum: number;
    steps_per_s: number;
    producers: number;
    durable_lag_s: number;
    durable_lost: number;
    waited_s: number;
  };
  queues: { name: string; depth: number; bytes: number }[];
  skipped: Record<string, number>;
  streams: StreamColumns;
  viewers: ViewerRow[];
  gateway: { uptime_s: number; memory_bytes: number; lag_s: number; sent_bytes: number; hub: "here" | "gone" };
}

export interface Control {
  type: "control";
  viewer: string;
  stream: number;
  number: number;
  transition: "STARVED" | "RESUMED";
  time: number;
}

export interface EpisodeEnd {
  stream: number;
  episode: number;
  length: number;
  return: number;
  status: string;
  time: number;
}

export interface Layout {
  type: "layout";
  number: number;
  columns: number;
  tile: [number, number];
  size: [number, number];
  streams: number[];
}

export interface LogRow {
  time: number;
  severity: string;
  component: string;
  code: string;
  message: string;
  stream: number | null;
}

export type Message =
  | Hello
  | { type: "streams"; streams: Stream[] }
  | Status
  | Control
  | { type: "episodes"; ends: EpisodeEnd[]; omitted: number }
  | Layout
  | { type: "log"; rows: LogRow[] }
  | { type: "end"; status: string };

export interface StepRecord {
  episode: number | null;
  t: number | null;
  action: unknown;
  reward: number | null;
  return: number | null;
  terminated: boolean | null;
  truncated: boolean | null;
  observation: unknown;
}

export interface Wanted {
  sub: number[];
  depth?: number | null;
  size?: number;
  mode?: "tiles" | "mosaic" | "auto";
  lossless?: boolean;
  hz?: number;
  steps?: number[];
}
