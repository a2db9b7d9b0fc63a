// A player of one recorded episode. Its pictures come from the kernel in blocks, when they are needed: no server.

import { PictureBlocks } from "../core/blocks";
import { drawPayload } from "../core/draw";
import { count, figure } from "../core/numbers";
import { inWords, type Payload } from "../core/payload";
import type { Comm, Model } from "./comm";
import { inkOf, make } from "./style";

interface About {
  env: string;
  episode: number;
  length: number;
  status: string;
  total: number | null;
  fps: number;
  /** t of each recorded picture; empty: there are none, and what stands for the look is asked for. */
  ts: number[];
  rewards: number[];
  why: string;
}

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];
const PAYLOADS = 32;

export function showReplay(root: HTMLElement, model: Model, comm: Comm): () => void {
  const about = model.get("about") as About;
  const last = Math.max(about.length, 0);
  root.classList.add("rt-player");
  const note = make("div", { className: "rt-note", textContent: about.why });
  note.setAttribute("role", "status");
  const canvas = make("canvas", { width: 320, height: 240 });
  canvas.setAttribute("role", "img");
  const play = make("button", { type: "button", textContent: "Play" });
  const scrub = make("input", { type: "range", min: "0", max: String(last), value: "0", step: "1" });
  scrub.setAttribute("aria-label", "Step of the episode");
  const speed = make("select", {}, ...SPEEDS.map((x) => make("option", { value: String(x), textContent: `${x}×`, selected: x === 1 })));
  speed.setAttribute("aria-label", "Speed");
  const where = make("span", { className: "rt-faint" });
  const plot = make("canvas", { className: "rt-plot", width: 640, height: 46 });
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `Return over the ${about.length} steps`);
  const result = about.total === null ? "" : `, return ${figure(about.total)}`;
  const title = make("div", { className: "rt-bar" }, make("b", { textContent: `${about.env}, episode ${about.episode}` }), make("span", { className: "rt-faint", textContent: `${about.status}, ${count(about.length)} steps${result}` }));
  root.append(title, note, canvas, plot, make("div", { className: "rt-bar" }, play, scrub, speed, where));

  let t = 0;
  let playing = false;
  let closed = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const so_far: number[] = [];
  about.rewards.reduce((sum, reward, i) => (so_far[i] = sum + (Number.isFinite(reward) ? reward : 0)), 0);

  const blocks = new PictureBlocks(about.ts, async (first, many) => {
    const { buffers } = await comm.ask({ type: "pictures", first, count: many });
    return buffers[0];
  });
  const payloads = new Map<number, Payload | null>();
  const wanted = async (at: number): Promise<void> => {
    if (about.ts.length) return blocks.need(at);
    if (payloads.has(at)) return;
    const { said } = await comm.ask({ type: "payloads", first: at, count: PAYLOADS });
    for (const [name, payload] of Object.entries(said.payloads as Record<string, Payload | null>)) payloads.set(Number(name), payload);
  };

  const draw = (): void => {
    const to = canvas.getContext("2d");
    if (!to) return;
    const picture = about.ts.length ? blocks.now(t) : null;
    const payload = payloads.get(t);
    if (picture) {
      const { image } = picture;
      if (canvas.width !== image.width || canvas.height !== image.height) Object.assign(canvas, { width: image.width, height: image.height });
      to.drawImage(image, 0, 0);
      canvas.setAttribute("aria-label", `Picture before step ${picture.t}`);
      root.dataset.shown = String(picture.t);
    } else if (payload) {
      drawPayload(to, payload, canvas.width, canvas.height, inkOf(canvas));
      canvas.setAttribute("aria-label", `Before step ${t}: ${inWords(payload)}`);
      root.dataset.shown = String(t);
    }
  };
  const drawPlot = (): void => {
    const to = plot.getContext("2d");
    if (!to || !so_far.length) return;
    const ink = inkOf(plot);
    const [low, high] = so_far.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [0, 0]);
    const x = (step: number): number => (step / Math.max(1, last)) * plot.width;
    const y = (value: number): number => 43 - ((value - low) / (high - low || 1)) * 40;
    to.clearRect(0, 0, plot.width, plot.height);
    to.strokeStyle = ink.accent;
    to.lineWidth = 1.5;
    to.beginPath();
    to.moveTo(0, y(0));
    so_far.forEach((value, i) => to.lineTo(x(i + 1), y(value)));
    to.stroke();
    to.strokeStyle = ink.ink;
    to.beginPath();
    to.moveTo(x(t), 0);
    to.lineTo(x(t), plot.height);
    to.stroke();
  };
  const say = (): void => {
    const reward = t > 0 && about.rewards.length >= t ? `, reward ${figure(about.rewards[t - 1])}, return ${figure(so_far[t - 1])}` : "";
    where.textContent = `t ${count(t)} of ${count(last)}${reward}`;
    scrub.value = String(t);
    scrub.setAttribute("aria-valuetext", where.textContent);
    drawPlot();
  };
  const go = async (to: number): Promise<void> => {
    t = Math.max(0, Math.min(last, to));
    say();
    const asked = t;
    try {
      await wanted(asked);
      if (closed || t !== asked) return;
      draw();
    } catch (error) {
      note.textContent = error instanceof Error ? error.message : String(error);
      pause();
    }
  };
  const pause = (): void => {
    playing = false;
    clearTimeout(timer);
    play.textContent = "Play";
  };
  const step = async (): Promise<void> => {
    const began = performance.now();
    const faster = about.fps * Number(speed.value);
    const by = Math.max(1, Math.round(faster / 60)); // no more than 60 pictures a second are drawn
    await go(t + by);
    if (!playing || closed) return;
    if (t >= last) pause();
    else timer = setTimeout(() => void step(), Math.max(0, (1000 * by) / faster - (performance.now() - began)));
  };
  play.onclick = () => {
    if (playing) {
      pause();
      return;
    }
    playing = true;
    play.textContent = "Pause";
    if (t >= last) t = -1;
    void step();
  };
  scrub.oninput = () => {
    pause();
    void go(Number(scrub.value));
  };
  void go(0);

  return () => {
    closed = true;
    pause();
    blocks.dispose();
  };
}
