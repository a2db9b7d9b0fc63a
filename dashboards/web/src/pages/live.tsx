// The fleet now: a tile for each stream in view, by what it is: picture, grid, graph or text. And one of them, large.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useApi } from "../api";
import { ink, inkChanged, kept } from "../choices";
import { drawPayload } from "../core/draw";
import { clock, count, figure, percent, said, seconds } from "../core/numbers";
import { inWords } from "../core/payload";
import type { Status, Stream } from "../core/wire";
import { go, link, note, place } from "../route";
import { Badge, Empty, Figure, Loading, Panel } from "../ui/parts";
import { Plot } from "../ui/plot";
import { type LiveRun, liveOf, type Look } from "./live_link";

/** Longer side of tiles in pixels; 0: as `ui_controls.tile_px` says. */
const size = kept("live.size", 0);
const paused = kept("live.paused", false);
/** Seconds without a step after which a tile says so. */
const STILL_S = 3;

export function useLive(run: string): LiveRun {
  const [live, setLive] = useState(() => liveOf(run));
  useEffect(() => setLive(liveOf(run)), [run]);
  return live;
}

/** What to show in place of live pictures, or null where they are there. */
export function Unlive({ live, run }: { live: LiveRun; run: string }): JSX.Element | null {
  const about = useApi<any>(`runs/${run}`, {}, 5000);
  const history = (
    <p>
      <a class="button strong" href={link(["run", run, "episodes"])}>
        Open its recording
      </a>
    </p>
  );
  const state = live.state.value;
  if (state === "refused")
    return (
      <Empty title="The token was refused" tone="bad">
        <p>Open the address that the server printed.</p>
      </Empty>
    );
  if (state === "protocol")
    return (
      <Empty title="This page and the run do not understand each other" tone="bad">
        <p>{live.reason.value}. Load the page again; if that does not help, their versions differ.</p>
      </Empty>
    );
  if (state === "not_live" || (state === "ended" && !live.hello.value)) {
    const going = about.data?.status === "running";
    return (
      <Empty title={going ? "This run is live elsewhere" : "This run is over"}>
        <p class="prose">
          {going
            ? "This server shows the history of the lake, and the run's own page has the live pictures. What is committed so far can be seen here as well."
            : `It is ${about.data?.status ?? "not live"}; nothing moves any more. Everything that was recorded can be played back.`}
        </p>
        {going && about.data.live_page && (
          <p>
            <a class="button strong" href={`${about.data.live_page}#/run/${run}/live`}>
              Open its live page
            </a>
          </p>
        )}
        {history}
      </Empty>
    );
  }
  if (!live.hello.value) {
    return state === "reconnecting" ? (
      <Empty title="No connection">
        <p>The live server does not answer; {live.reason.value}. What is recorded is not affected.</p>
        {history}
      </Empty>
    ) : (
      <Loading what="the live streams" />
    );
  }
  return null;
}

export function Live({ run }: { run: string }): JSX.Element {
  const live = useLive(run);
  const { env = "", sort = "env", state = "" } = place.value.query;
  const instead = Unlive({ live, run });
  const status = live.status.value;
  const shown = useMemo(() => chosenStreams(live.streams.value, status, env, state, sort), [live.streams.value, sort === "starved" || state ? status : null, env, state, sort]);
  const limit = live.hello.value?.limits.tiles ?? 64;
  const tiles = shown.slice(0, limit);
  const mosaic = live.layout.value !== null && tiles.filter((stream) => stream.kind === "rgb").length > (live.hello.value?.limits.mosaic_above ?? 16);
  const [inView, setInView] = useState<number[]>([]);
  const wanted = paused.value ? [] : mosaicWanted(tiles, live) ? tiles.map((stream) => stream.index) : inView;
  useEffect(() => {
    live.link.want({ sub: wanted, size: sideOf(live), mode: "auto", lossless: false, steps: [] });
  }, [live, wanted.join(), sideOf(live)]);
  useEffect(() => () => live.link.want({ sub: [] }), [live]); // nobody looks any more: nothing is sampled
  useEffect(() => {
    const keys = (event: KeyboardEvent): void => {
      if ((event.target as Element).closest("input,select,textarea,button,a") && event.key === " ") return;
      if ((event.target as Element).closest("input,select,textarea")) return;
      if (event.key === " ") paused.value = !paused.peek();
      else if (event.key.toLowerCase() === "s") note({ sort: sort === "starved" ? null : "starved" });
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, [sort]);
  if (instead)
    return (
      <>
        <h1>Live</h1>
        {instead}
      </>
    );
  const envs = [...new Set(live.streams.value.map((stream) => stream.env))];
  return (
    <>
      <div class="head">
        <h1>Live</h1>
        <div class="push">
          {envs.length > 1 && (
            <label class="field">
              Env
              <select value={env} onChange={(event) => note({ env: event.currentTarget.value })}>
                <option value="">all</option>
                {envs.map((name) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            </label>
          )}
          <label class="field">
            Show
            <select value={state} onChange={(event) => note({ state: event.currentTarget.value })}>
              <option value="">all</option>
              <option value="live">live</option>
              <option value="starved">starved</option>
            </select>
          </label>
          <label class="field">
            Sort
            <select value={sort} onChange={(event) => note({ sort: event.currentTarget.value })}>
              <option value="env">by number</option>
              <option value="starved">starved first</option>
              <option value="return">by return</option>
            </select>
          </label>
          <label class="field">
            Size
            <select value={String(size.value)} onChange={(event) => (size.value = Number(event.currentTarget.value))}>
              <option value="0">as set</option>
              <option value="96">S</option>
              <option value="160">M</option>
              <option value="320">L</option>
            </select>
          </label>
          <button type="button" class="quiet" aria-pressed={paused.value} onClick={() => (paused.value = !paused.value)}>
            {paused.value ? "Go on" : "Pause"}
          </button>
        </div>
      </div>
      <Breaks live={live} />
      <div class="with-side">
        <div class="stack">
          {!tiles.length ? (
            <Empty title={live.streams.value.length ? "No stream fits" : "Waiting for the first environment"}>
              <p>{live.streams.value.length ? "Change the filter above." : "Workers are starting; tiles appear by themselves."}</p>
            </Empty>
          ) : mosaic ? (
            <Mosaic live={live} run={run} streams={tiles} status={status} />
          ) : (
            <Fleet live={live} run={run} streams={tiles} status={status} onView={setInView} />
          )}
          {shown.length > limit && <p class="soft">Showing {limit} of {count(shown.length)} streams: filter or sort to see others.</p>}
          {live.hello.value?.run.frames === "none" && live.streams.value.every((stream) => stream.kind === "text") && (
            <p class="soft">This run makes no pictures (frames = none) and its adapter knows no grid or graph, so that tiles show its numbers as text.</p>
          )}
        </div>
        <div class="stack">
          <Vitals live={live} />
        </div>
      </div>
    </>
  );
}

function sideOf(live: LiveRun): number {
  return size.value || (live.hello.value?.view.size ?? 160);
}

function mosaicWanted(tiles: Stream[], live: LiveRun): boolean {
  return tiles.filter((stream) => stream.kind === "rgb").length > (live.hello.value?.limits.mosaic_above ?? 16);
}

function chosenStreams(streams: Stream[], status: Status | null, env: string, state: string, sort: string): Stream[] {
  const columns = status?.streams;
  const at = new Map(columns?.index.map((index, i) => [index, i]));
  const of = <K extends keyof Status["streams"]>(stream: Stream, name: K): Status["streams"][K][number] | undefined => {
    const i = at.get(stream.index);
    return i === undefined ? undefined : (columns as any)[name][i];
  };
  const kept_ = streams.filter((stream) => (!env || stream.env === env) && (!state || of(stream, "state") === state));
  if (sort === "starved") return [...kept_].sort((a, b) => Number(of(b, "starved_s") ?? 0) - Number(of(a, "starved_s") ?? 0) || a.index - b.index);
  if (sort === "return") return [...kept_].sort((a, b) => Number(of(b, "return") ?? -Infinity) - Number(of(a, "return") ?? -Infinity) || a.index - b.index);
  return kept_;
}

/** What breaks the picture without breaking the recording. */
export function Breaks({ live }: { live: LiveRun }): JSX.Element | null {
  const state = live.state.value;
  const run = live.status.value?.run.state;
  if (state === "ended")
    return (
      <p class="banner" role="status">
        The run has ended; these are its last pictures.
      </p>
    );
  if (state === "reconnecting" || state === "connecting")
    return (
      <p class="banner" role="status">
        Connection lost, {live.reason.value || "connecting"}. The recording goes on unaffected.
      </p>
    );
  if (run === "hub_gone")
    return (
      <p class="banner" role="status">
        The hub does not answer: pictures go on, counts stand still. The recording goes on.
      </p>
    );
  return null;
}

function stateOf(status: Status | null, stream: number): { state: string; episode: number | null; t: number | null; return: number | null } {
  const i = status?.streams.index.indexOf(stream) ?? -1;
  if (!status || i < 0) return { state: "no_viewer", episode: null, t: null, return: null };
  const { state, episode, t, return: sum } = status.streams;
  return { state: state[i], episode: episode[i], t: t[i], return: sum[i] };
}

function Fleet(props: { live: LiveRun; run: string; streams: Stream[]; status: Status | null; onView: (streams: number[]) => void }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const keys = props.streams.map((stream) => stream.index).join();
  useEffect(() => {
    const seen = new Set<number>();
    const watcher = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) {
          const index = Number((entry.target as HTMLElement).dataset.stream);
          if (entry.isIntersecting) seen.add(index);
          else seen.delete(index);
        }
        props.onView([...seen].sort((a, b) => a - b));
      },
      { rootMargin: "80px" },
    );
    for (const tile of box.current?.querySelectorAll("[data-stream]") ?? []) watcher.observe(tile);
    return () => watcher.disconnect();
  }, [keys]);
  return (
    <div class="fleet" ref={box} style={{ "--tile": `${sideOf(props.live)}px` }} onKeyDown={arrows}>
      {props.streams.map((stream) => (
        <Tile key={stream.index} live={props.live} run={props.run} stream={stream} status={props.status} />
      ))}
    </div>
  );
}

/** Arrow keys go from tile to tile, as they lie. */
function arrows(event: KeyboardEvent): void {
  const ways: Record<string, [number, number]> = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  const way = ways[event.key];
  const from = (event.target as HTMLElement).closest("a");
  if (!way || !from) return;
  event.preventDefault();
  const all = [...(event.currentTarget as HTMLElement).querySelectorAll("a")];
  const here = from.getBoundingClientRect();
  const columns = all.filter((tile) => Math.abs(tile.getBoundingClientRect().top - all[0].getBoundingClientRect().top) < here.height / 2).length || 1;
  all[all.indexOf(from) + way[0] + way[1] * columns]?.focus();
}

function Tile(props: { live: LiveRun; run: string; stream: Stream; status: Status | null }): JSX.Element {
  const { live, stream } = props;
  const now = stateOf(props.status, stream.index);
  const starved = live.starvedShare(stream.index);
  const still = live.stillFor(stream.index);
  return (
    <a class="tile" href={link(["run", props.run, "live", stream.index])} data-stream={stream.index} aria-label={`Environment ${stream.sub_environment}, ${now.state.replace("_", " ")}, return ${figure(now.return)}`}>
      <LiveCanvas live={live} stream={stream} />
      <span class="name">
        <span>
          env {stream.sub_environment}
          {stream.agent !== "agent_0" && ` ${stream.agent}`}
        </span>
        <span class="soft">
          {now.return !== null && `return ${figure(now.return)}`} {now.t !== null && `t ${now.t}`}
        </span>
        {now.state === "starved" && <Badge state="starved" />}
      </span>
      {starved > 0.02 && <span class="name soft">starved {percent(starved)} of 30 s</span>}
      {still >= STILL_S && <span class="name soft">not stepping for {seconds(Math.floor(still))}</span>}
    </a>
  );
}

function LiveCanvas(props: { live: LiveRun; stream: Stream; height?: string }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [shape, setShape] = useState(1);
  const [words, setWords] = useState("");
  const [waits, setWaits] = useState(true);
  const colors = inkChanged.value;
  useEffect(
    () =>
      props.live.paint(props.stream.index, (look: Look) => {
        const to = canvas.current;
        const context = to?.getContext("2d");
        if (!to || !context) return;
        setWaits(false);
        if (look.image) {
          if (to.width !== look.image.width || to.height !== look.image.height) {
            to.width = look.image.width;
            to.height = look.image.height;
            setShape(look.image.width / look.image.height);
          }
          context.drawImage(look.image, 0, 0);
        } else if (look.payload) {
          const scale = Math.min(3, devicePixelRatio || 1);
          const [width, height] = [Math.max(96, to.clientWidth), Math.max(96, to.clientHeight)];
          to.width = width * scale;
          to.height = height * scale;
          context.scale(scale, scale);
          drawPayload(context, look.payload, width, height, ink() as never);
          setWords(inWords(look.payload));
        }
        to.dataset.seq = String(look.seq);
      }),
    [props.live, props.stream.index, colors],
  );
  const label = `${props.stream.kind} of environment ${props.stream.sub_environment}${words ? `: ${words}` : ""}`;
  return (
    <span class="live-screen">
      <canvas ref={canvas} class="live-picture" role="img" aria-label={label} style={{ "--shape": shape, ...(props.height ? { height: props.height } : {}) }} width="160" height="160" />
      {waits && <span class="waits soft">shown with its next step</span>}
    </span>
  );
}

function Mosaic(props: { live: LiveRun; run: string; streams: Stream[]; status: Status | null }): JSX.Element {
  const { live } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const layout = live.layout.value;
  useEffect(() => {
    live.paintMosaic((image) => {
      const to = canvas.current;
      if (!to) return;
      if (to.width !== image.width || to.height !== image.height) {
        to.width = image.width;
        to.height = image.height;
      }
      to.getContext("2d")?.drawImage(image, 0, 0);
    });
    return () => live.paintMosaic(null);
  }, [live]);
  if (!layout) return <Loading what="the mosaic" />;
  const byIndex = new Map(props.streams.map((stream) => [stream.index, stream]));
  const rows = Math.ceil(layout.streams.length / layout.columns);
  const others = props.streams.filter((stream) => !layout.streams.includes(stream.index));
  return (
    <>
      <div class="mosaic" style={{ maxWidth: `${layout.size[0] * 1.6}px` }}>
        <canvas ref={canvas} width={layout.size[0]} height={layout.size[1]} aria-hidden="true" />
        <div class="cells" role="group" aria-label={`${layout.streams.length} environments`} style={{ gridTemplateColumns: `repeat(${layout.columns}, 1fr)`, gridTemplateRows: `repeat(${rows}, 1fr)` }} onKeyDown={arrows}>
          {layout.streams.map((index) => {
            const now = stateOf(props.status, index);
            const stream = byIndex.get(index) ?? live.streams.value[index];
            return (
              <a key={index} href={link(["run", props.run, "live", index])} aria-label={`Environment ${stream?.sub_environment ?? index}, ${now.state.replace("_", " ")}, return ${figure(now.return)}`}>
                {stream?.sub_environment ?? index}
                {now.state === "starved" && " ▲"}
              </a>
            );
          })}
        </div>
      </div>
      {others.length > 0 && (
        <div class="fleet" style={{ "--tile": `${sideOf(live)}px` }} onKeyDown={arrows}>
          {others.map((stream) => (
            <Tile key={stream.index} live={live} run={props.run} stream={stream} status={props.status} />
          ))}
        </div>
      )}
    </>
  );
}

function Vitals({ live }: { live: LiveRun }): JSX.Element {
  const status = live.status.value;
  const history = live.history.value;
  const ends = live.ends.value;
  const start = history[0]?.time ?? 0;
  const x = useMemo(() => history.map((one) => one.time - start), [history]);
  const speed = useMemo(() => [{ name: "steps/s", values: history.map((one) => one.run.steps_per_s) }], [history]);
  const returns = useMemo(() => [{ name: "return", values: ends.map((end) => end.return), ghost: true }, { name: "smoothed", values: smoothed(ends.map((end) => end.return)) }], [ends]);
  const place_ = useMemo(() => ends.map((_, i) => i), [ends]);
  if (!status) return <Loading what="the counts" />;
  const states = status.streams.state;
  const skipped = Object.entries(status.skipped).filter(([, n]) => n);
  return (
    <>
      <Panel label="Counts">
        <dl class="figures">
          <Figure name="Steps/s" value={count(status.run.steps_per_s)} />
          <Figure name="Steps" value={count(status.run.steps)} />
          <Figure name="Episodes" value={count(status.run.episodes)} />
          <Figure name="Mean return" value={status.run.episodes ? figure(status.run.return_sum / status.run.episodes) : "–"} />
          <Figure name="Durable lag" value={seconds(status.run.durable_lag_s)} />
          <Figure name="Durable lost" value={count(status.run.durable_lost)} tone={status.run.durable_lost ? "bad" : "good"} note={status.run.durable_lost ? "see the ledger" : "nothing"} />
        </dl>
        <p class="chips" style={{ marginTop: "10px" }}>
          <span class="badge live">live {states.filter((one) => one === "live").length}</span>
          <span class="badge warn">starved {states.filter((one) => one === "starved").length}</span>
          <span class="badge">no viewer {states.filter((one) => one === "no_viewer").length}</span>
        </p>
      </Panel>
      {x.length > 2 && (
        <Panel>
          <Plot title="Steps a second" x={x} lines={speed} xName="seconds in view" height={110} />
        </Panel>
      )}
      {ends.length > 2 && (
        <Panel>
          <Plot title="Return of episodes since you look" x={place_} lines={returns} xName="episode" height={130} />
        </Panel>
      )}
      <Panel title="Not shown, by cause">
        {skipped.length ? (
          <dl class="facts">
            {skipped.map(([cause, n]) => (
              <>
                <dt key={cause} title={live.hello.value?.causes[cause]?.meaning}>
                  {cause}
                </dt>
                <dd class="tabnum">{count(n)}</dd>
              </>
            ))}
          </dl>
        ) : (
          <p class="soft">Every picture asked for was shown.</p>
        )}
        <p class="soft" style={{ marginTop: "6px", fontSize: "12px" }}>
          Skips are of the view alone. The recording has every step.
        </p>
      </Panel>
      {live.logs.value.length > 0 && (
        <Panel title="Last events">
          <ul class="tree">
            {live.logs.value.slice(-8).map((row, i) => (
              <li key={`${row.time}${i}`}>
                <span class="mono soft">{clock(row.time * 1000)}</span> {row.message}
              </li>
            ))}
          </ul>
        </Panel>
      )}
    </>
  );
}

function smoothed(values: number[]): number[] {
  let mean = values[0] ?? 0;
  return values.map((value) => (mean += 0.08 * (value - mean)));
}

export function Focus({ run, stream }: { run: string; stream: number }): JSX.Element {
  const live = useLive(run);
  const lossless = kept_lossless;
  const instead = Unlive({ live, run });
  const about = live.streams.value.find((one) => one.index === stream);
  useEffect(() => {
    live.link.want({ sub: [stream], size: lossless.value ? 0 : 640, mode: "tiles", lossless: lossless.value, steps: [stream] });
    return () => live.link.want({ sub: [], steps: [] });
  }, [live, stream, lossless.value]);
  useEffect(() => {
    const keys = (event: KeyboardEvent): void => {
      if (event.key === "Escape") go(link(["run", run, "live"]));
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, [run]);
  const tick = live.stepped.value;
  const steps = live.steps.get(stream) ?? [];
  const x = useMemo(() => steps.map((_, i) => i - steps.length + 1), [tick]);
  const rewards = useMemo(() => [{ name: "reward", values: steps.map((step) => step.reward), steps: true }], [tick]);
  const returns = useMemo(() => [{ name: "return so far", values: steps.map((step) => step.return) }], [tick]);
  if (instead)
    return (
      <>
        <h1>Environment {stream}</h1>
        {instead}
      </>
    );
  if (!about)
    return (
      <Empty title="No such stream">
        <a href={link(["run", run, "live"])}>All streams of the run</a>
      </Empty>
    );
  const now = stateOf(live.status.value, stream);
  const last = steps.at(-1);
  return (
    <>
      <div class="head">
        <h1>
          Environment {about.sub_environment} <span class="soft">{about.env}</span>
        </h1>
        <Badge state={now.state} />
        <div class="push">
          {about.kind === "rgb" && (
            <label class="field">
              <input type="checkbox" checked={lossless.value} onChange={() => (lossless.value = !lossless.value)} /> lossless
            </label>
          )}
          {now.episode !== null && (
            <a class="button" href={link(["run", run, "episode", now.episode])}>
              Open this episode in Replay
            </a>
          )}
          <a class="button" href={link(["run", run, "live"])}>
            All environments
          </a>
        </div>
      </div>
      <Breaks live={live} />
      <div class="stage">
        <Panel label="Picture">
          <div class="screen">
            <LiveCanvas live={live} stream={about} height="min(60vh, 520px)" />
          </div>
          <div class="under">
            <span>
              episode <b>{last?.episode ?? now.episode ?? "–"}</b>
            </span>
            <span>
              t <b>{last?.t ?? now.t ?? "–"}</b>
            </span>
            <span>
              return <b>{figure(last?.return ?? now.return)}</b>
            </span>
            <span>starved {percent(live.starvedShare(stream))} of the last 30 s</span>
            {live.stillFor(stream) >= STILL_S && <span>not stepping for {seconds(Math.floor(live.stillFor(stream)))}</span>}
            {about.kind === "rgb" && <span>{lossless.value ? "PNG: the pixels as they are" : "JPEG: reduced for the view, the recording is lossless"}</span>}
          </div>
        </Panel>
        <div class="stack">
          <Panel title="This step">
            {last ? (
              <dl class="facts">
                {(["t", "action", "reward", "return", "terminated", "truncated", "observation"] as const).map((name) => (
                  <>
                    <dt key={name}>{name}</dt>
                    <dd class="mono">{said(last[name]).slice(0, 400)}</dd>
                  </>
                ))}
              </dl>
            ) : (
              <p class="soft">Waiting for its next step.</p>
            )}
          </Panel>
          {steps.length > 2 && (
            <>
              <Panel>
                <Plot title="Reward of the last 200 samples" x={x} lines={rewards} xName="samples ago" height={120} />
              </Panel>
              <Panel>
                <Plot title="Return so far" x={x} lines={returns} xName="samples ago" height={120} />
              </Panel>
            </>
          )}
        </div>
      </div>
    </>
  );
}

const kept_lossless = kept("live.lossless", false);
