// One episode, step by step: pictures or what stands for them, plots and steps, all at one time; a second one beside it.

import { useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { address, ask, type Columns, get, rowsOf, useApi } from "../api";
import { calm, ink, inkChanged, kept } from "../choices";
import { PictureBlocks } from "../core/blocks";
import { drawPayload } from "../core/draw";
import { count, figure, float, moment, said } from "../core/numbers";
import { inWords, type Payload } from "../core/payload";
import { link, note, place } from "../route";
import { Badge, Copy, Figure, Icon, Panel, Shown } from "../ui/parts";
import { type Line, Plot } from "../ui/plot";

interface EpisodeData {
  row: Record<string, any>;
  status: string;
  length: number;
  open: boolean;
  stride: number | null;
  env_id: string;
  fps: number | null;
  action_names: string[];
  observation_names: string[];
  kinds: string[];
  policy: string | null;
  gaps: [number, number][];
}
interface SeriesData {
  t: number[];
  seconds: (number | null)[];
  lines: Record<string, (number | null)[]>;
  rows: number;
  marks: { t: number; reward: number | string }[];
}
interface FramesData {
  t: number[];
  shape: number[] | null;
  dtype: string | null;
  why: string | null;
}

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];
const SYMBOLIC_FPS = 6;
const looped = kept("replay.loop", false);
const sped = kept("replay.speed", 1);

export function Replay({ run, episode }: { run: string; episode: number }): JSX.Element {
  const base = `runs/${run}/episodes/${episode}`;
  const about = useApi<EpisodeData>(base);
  return (
    <>
      {!about.data && <h1>Episode {episode}</h1>}
      <Shown asked={about} what={`episode ${episode}`}>
        {(data) => <Player run={run} episode={episode} about={data} />}
      </Shown>
    </>
  );
}

function Player(props: { run: string; episode: number; about: EpisodeData }): JSX.Element {
  const { run, episode, about } = props;
  const query = place.value.query;
  const last = about.length;
  const t = useSignal(clamp(Number(query.t ?? 0) || 0, 0, last));
  const playing = useSignal(false);
  const base = `runs/${run}/episodes/${episode}`;
  const series = useApi<SeriesData>(`${base}/series`, { points: 2000 });
  const frames = useApi<FramesData>(`${base}/frames`);
  const [withRun, withEpisode] = (query.with ?? "").split(":");
  const fps = about.fps && frames.data?.t.length ? about.fps : frames.data?.t.length ? 30 : SYMBOLIC_FPS;
  const box = useRef<HTMLDivElement>(null);

  const seek = (to: number, stop = true): void => {
    if (stop) playing.value = false;
    t.value = clamp(Math.round(to), 0, last);
  };
  useSignalEffect(() => {
    const at = t.value;
    if (!playing.value) {
      const timer = setTimeout(() => note({ t: at || null }), 200);
      return () => clearTimeout(timer);
    }
  });
  // The address may change from outside: a link to another moment of the same episode.
  useEffect(() => {
    const to = Number(query.t ?? 0) || 0;
    if (!playing.peek() && Math.abs(to - t.peek()) > 0 && query.t !== undefined) t.value = clamp(to, 0, last);
  }, [query.t]);
  useSignalEffect(() => {
    if (!playing.value) return;
    let before = performance.now();
    let owed = 0;
    let frame = requestAnimationFrame(function tick(now) {
      owed += ((now - before) / 1000) * fps * sped.peek();
      before = now;
      const steps = Math.floor(owed);
      if (steps) {
        owed -= steps;
        let to = t.peek() + steps;
        if (to > last) {
          if (looped.peek() && last > 0) to = 0;
          else {
            to = last;
            playing.value = false;
          }
        }
        t.value = to;
      }
      if (playing.peek()) frame = requestAnimationFrame(tick);
    });
    return () => cancelAnimationFrame(frame);
  });
  const toggle = (): void => {
    if (!playing.peek() && t.peek() >= last) t.value = 0;
    playing.value = !playing.peek();
  };
  useEffect(() => {
    const keys = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target as Element;
      if (target.closest("input:not([type=range]),textarea,select")) return;
      if (event.key === " " && target.closest("button,a,summary")) return;
      const speed = SPEEDS.indexOf(sped.peek());
      const known: Record<string, () => void> = {
        " ": toggle,
        k: toggle,
        ".": () => seek(t.peek() + 1),
        ",": () => seek(t.peek() - 1),
        ArrowRight: () => seek(t.peek() + (event.shiftKey ? 10 : 1)),
        ArrowLeft: () => seek(t.peek() - (event.shiftKey ? 10 : 1)),
        Home: () => seek(0),
        End: () => seek(last),
        l: () => (looped.value = !looped.peek()),
        "+": () => (sped.value = SPEEDS[Math.min(SPEEDS.length - 1, speed + 1)]),
        "-": () => (sped.value = SPEEDS[Math.max(0, speed - 1)]),
      };
      const act = known[event.key];
      if (act) {
        event.preventDefault();
        act();
      }
    };
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, [last]);

  const lines = useMemo(() => linesOf(series.data), [series.data]);
  const [hidden, setHidden] = useState<string[]>([]);
  const neighbour = (by: number): string | null => {
    const to = episode + by * (about.stride ?? 1);
    return to < 0 ? null : link(["run", run, "episode", to]);
  };
  return (
    <div class="stack" ref={box}>
      <div class="head">
        <h1>
          Episode {episode} <span class="soft">of {about.env_id}</span>
        </h1>
        <Badge state={about.status} />
        <div class="push">
          {neighbour(-1) && (
            <a class="button" href={neighbour(-1) as string} title="The one before of the same sub-environment">
              ← Before
            </a>
          )}
          <a class="button" href={neighbour(1) as string} title="The next one of the same sub-environment">
            After →
          </a>
          <Beside run={run} now={query.with ?? ""} />
        </div>
      </div>
      <Panel label="Episode">
        <dl class="figures">
          <Figure name="Return" value={figure(about.row.return)} />
          <Figure name="Length" value={count(last)} note="steps" />
          <Figure name="End" value={about.open ? "still open" : about.row.terminated ? "terminated" : about.row.truncated ? "truncated" : about.status} />
          <Figure name="Seed" value={about.row.seed ?? "–"} note={about.row.replay ? `replays ${about.row.replay}` : ""} />
          <Figure name="Sub-environment" value={about.row.sub_env ?? "–"} />
          <Figure name="Began" value={<span style={{ fontSize: "14px" }}>{moment(about.row.start_time)}</span>} />
        </dl>
        {about.gaps.length > 0 && (
          <p class="prose" style={{ color: "var(--bad)", marginTop: "8px" }}>
            ✕ {about.gaps.length === 1 ? "A stretch" : `${about.gaps.length} stretches`} of this episode is not recorded: t {about.gaps.map(([a, b]) => (a === b ? a : `${a}–${b}`)).join(", ")}. The ledger says why.
          </p>
        )}
      </Panel>
      <div class="stage">
        <div class="stack">
          <Panel label="Player">
            <div class="screens">
              <Screen run={run} episode={episode} about={about} frames={frames.data} at={t} playing={playing} name={`Episode ${episode}`} />
              {withRun && withEpisode && (
                <Second run={withRun === "-" ? run : withRun} episode={Number(withEpisode)} at={t} playing={playing} align={query.align ?? "step"} mine={series.data} />
              )}
            </div>
            <Controls t={t} last={last} playing={playing} toggle={toggle} seek={seek} marks={series.data?.marks ?? []} gaps={about.gaps} fps={fps} />
            {withRun && withEpisode && (
              <div class="filters" style={{ marginTop: "8px" }}>
                <label class="field">
                  Aligned by
                  <select value={query.align ?? "step"} onChange={(event) => note({ align: event.currentTarget.value })}>
                    <option value="step">step</option>
                    <option value="time">wall time</option>
                    <option value="end">end</option>
                  </select>
                </label>
              </div>
            )}
          </Panel>
          <StepTable base={base} t={t} seek={seek} playing={playing} about={about} />
        </div>
        <div class="stack">
          <Shown asked={series} what="the steps">
            {(data) =>
              data.rows ? (
                <>
                  {lines.length > 3 && (
                    <div class="chips" role="group" aria-label="Lines shown">
                      {lines.map((group) => (
                        <button
                          key={group.title}
                          type="button"
                          class="chip"
                          aria-pressed={!hidden.includes(group.title)}
                          onClick={() => setHidden(hidden.includes(group.title) ? hidden.filter((one) => one !== group.title) : [...hidden, group.title])}
                        >
                          {group.title}
                        </button>
                      ))}
                    </div>
                  )}
                  {lines
                    .filter((group) => !hidden.includes(group.title))
                    .map((group) => (
                      <Panel key={group.title}>
                        <Plot title={group.title} x={group.x} lines={group.lines} xName="t" cursor={t} onSeek={seek} height={128} />
                      </Panel>
                    ))}
                </>
              ) : (
                <p class="soft">None of its steps is recorded.</p>
              )
            }
          </Shown>
        </div>
      </div>
      <p class="soft">
        <kbd>Space</kbd> plays, <kbd>,</kbd> <kbd>.</kbd> or <kbd>←</kbd> <kbd>→</kbd> step, <kbd>Shift</kbd> with them ten, <kbd>Home</kbd> <kbd>End</kbd> jump, <kbd>−</kbd> <kbd>+</kbd> change the speed, <kbd>L</kbd> loops. The address holds the moment:{" "}
        <Copy text={location.href} label="copy it" />
      </p>
    </div>
  );
}

function Controls(props: {
  t: { value: number };
  last: number;
  playing: { value: boolean };
  toggle: () => void;
  seek: (t: number) => void;
  marks: SeriesData["marks"];
  gaps: [number, number][];
  fps: number;
}): JSX.Element {
  const { t, last, seek } = props;
  const span = Math.max(1, last);
  return (
    <>
      <div class="scrub">
        <svg viewBox={`0 0 1000 9`} preserveAspectRatio="none" aria-hidden="true">
          {props.gaps.map(([a, b]) => (
            <rect key={a} x={(a / span) * 1000} width={Math.max(3, ((b - a + 1) / span) * 1000)} y="0" height="9" fill="var(--bad)" opacity="0.5" />
          ))}
          {props.marks.map((mark) => (
            <rect key={mark.t} x={(mark.t / span) * 1000 - 1} width="2.5" y={(float(mark.reward) ?? 0) >= 0 ? 0 : 4.5} height="4.5" fill={(float(mark.reward) ?? 0) >= 0 ? "var(--s3)" : "var(--s5)"} />
          ))}
        </svg>
        <input
          type="range"
          min="0"
          max={last}
          step="1"
          value={t.value}
          aria-label="Time in the episode"
          aria-valuetext={`t ${t.value} of ${last}`}
          onInput={(event) => seek(Number(event.currentTarget.value))}
        />
      </div>
      <div class="keys" role="group" aria-label="Playing">
        <button type="button" class="round" aria-label="One step back" onClick={() => seek(t.value - 1)}>
          <Icon name="back" />
        </button>
        <button type="button" class="round main" aria-label={props.playing.value ? "Pause" : "Play"} onClick={props.toggle}>
          <Icon name={props.playing.value ? "pause" : "play"} />
        </button>
        <button type="button" class="round" aria-label="One step on" onClick={() => seek(t.value + 1)}>
          <Icon name="next" />
        </button>
        <button type="button" class="round" aria-label="Loop" aria-pressed={looped.value} style={looped.value ? { color: "var(--accent)", borderColor: "var(--accent)" } : {}} onClick={() => (looped.value = !looped.value)}>
          <Icon name="loop" />
        </button>
        <label class="field">
          t
          <input type="number" min="0" max={last} value={t.value} onChange={(event) => seek(Number(event.currentTarget.value))} aria-label="Go to step" />
          <span class="tabnum">of {last}</span>
        </label>
        <label class="field push">
          <span class="tabnum">{Math.round(props.fps * sped.value * 10) / 10}/s</span>
          <select aria-label="Speed" value={String(sped.value)} onChange={(event) => (sped.value = Number(event.currentTarget.value))}>
            {SPEEDS.map((speed) => (
              <option key={speed} value={String(speed)}>
                {speed}×
              </option>
            ))}
          </select>
        </label>
      </div>
    </>
  );
}

function Second(props: { run: string; episode: number; at: { value: number }; playing: { value: boolean }; align: string; mine: SeriesData | null }): JSX.Element {
  const base = `runs/${props.run}/episodes/${props.episode}`;
  const about = useApi<EpisodeData>(base);
  const frames = useApi<FramesData>(`${base}/frames`);
  const series = useApi<SeriesData>(`${base}/series`, { points: 2000 });
  const own = useSignal(0);
  const at = props.at.value;
  useEffect(() => {
    const last = about.data?.length ?? 0;
    let to = at;
    if (props.align === "end" && props.mine) to = last - ((props.mine.t.at(-1) ?? -1) + 1 - at);
    if (props.align === "time" && props.mine && series.data) {
      const seconds = interpolate(props.mine.t, props.mine.seconds, at);
      to = Math.floor(interpolate(series.data.seconds as number[], series.data.t, seconds));
    }
    own.value = clamp(Math.round(to), 0, last);
  }, [at, about.data, series.data, props.mine, props.align]);
  return (
    <Shown asked={about} what="the other episode">
      {(data) => (
        <Screen
          run={props.run}
          episode={props.episode}
          about={data}
          frames={frames.data}
          at={own}
          playing={props.playing}
          name={`Episode ${props.episode}`}
          title={
            <>
              <a href={link(["run", props.run, "episode", props.episode])}>{props.episode}</a> return <b>{figure(data.row.return)}</b>
            </>
          }
        />
      )}
    </Shown>
  );
}

function interpolate(xs: (number | null)[], ys: (number | null)[], x: number): number {
  let i = 0;
  while (i < xs.length - 1 && (xs[i + 1] ?? 0) <= x) i++;
  return ys[i] ?? 0;
}

function Beside({ run, now }: { run: string; now: string }): JSX.Element {
  const [text, setText] = useState(now.split(":")[1] ?? "");
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        const [, ofRun, number] = /^(?:([0-9A-HJKMNP-TV-Z]{26}):)?(\d+)$/i.exec(text.trim()) ?? [];
        note({ with: number ? `${ofRun && ofRun !== run ? ofRun : "-"}:${number}` : null });
      }}
    >
      <label class="field">
        Beside it
        <input style={{ width: "110px" }} type="text" placeholder="episode" aria-label="Show another episode beside this one" value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
      <button type="submit" class="quiet">
        {now && !text ? "Remove" : "Show"}
      </button>
    </form>
  );
}

/** The look of an episode at `at`: its picture, or the grid, graph or text that stands for it, or why there is none. */
function Screen(props: {
  run: string;
  episode: number;
  about: EpisodeData;
  frames: FramesData | null;
  at: { value: number };
  playing: { value: boolean };
  name: string;
  title?: JSX.Element;
}): JSX.Element {
  const { run, episode, about, frames } = props;
  const base = `runs/${run}/episodes/${episode}`;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [words, setWords] = useState("");
  const [why, setWhy] = useState("");
  const [shownT, setShownT] = useState<number | null>(null);
  const colors = inkChanged.value;
  const symbolic = frames !== null && !frames.t.length && about.kinds.some((kind) => kind !== "rgb");

  const blocks = useMemo(() => {
    if (!frames?.t.length) return null;
    return new PictureBlocks(frames.t, async (first, number) => (await ask(`${base}/pictures`, { first, count: number })).arrayBuffer());
  }, [frames, base]);
  useEffect(() => () => blocks?.dispose(), [blocks]);
  const payloads = useMemo(() => new Map<number, Payload | null>(), [base]);

  const at = props.at.value;
  useEffect(() => {
    const to = canvas.current;
    if (!to) return;
    let stale = false;
    const picture = (): boolean => {
      const found = blocks?.now(at);
      if (!found) return false;
      if (to.width !== found.image.width || to.height !== found.image.height) {
        to.width = found.image.width;
        to.height = found.image.height;
      }
      to.getContext("2d")?.drawImage(found.image, 0, 0);
      to.dataset.t = String(found.t);
      setShownT(found.t);
      setWords(`${props.name} at t ${found.t}`);
      return true;
    };
    const symbol = (): boolean => {
      const found = payloads.get(at);
      if (found === undefined) return false;
      if (found === null || found.kind === "rgb") {
        setWhy("The environment's adapter knows of no look for this moment.");
        return true;
      }
      const scale = Math.min(3, devicePixelRatio || 1);
      const width = Math.max(200, to.clientWidth);
      const height = Math.max(160, to.clientHeight);
      to.width = width * scale;
      to.height = height * scale;
      const context = to.getContext("2d") as CanvasRenderingContext2D;
      context.scale(scale, scale);
      drawPayload(context, found, width, height, ink() as never);
      to.dataset.t = String(at);
      setShownT(at);
      setWords(`${props.name} at t ${at}: ${inWords(found)}`);
      return true;
    };
    if (blocks) {
      const ahead = props.playing.value ? Math.ceil(1 + sped.peek() / 2) : 1;
      const here = picture();
      blocks
        .need(at, ahead)
        .then(() => !stale && !here && picture())
        .catch((error: Error) => !stale && setWhy(error.message));
    } else if (symbolic && !symbol()) {
      const first = Math.floor(at / 16) * 16;
      get<{ payloads: Record<string, Payload | null> }>(`${base}/payloads`, { first, count: 32 })
        .then(({ payloads: got }) => {
          for (const [key, value] of Object.entries(got)) payloads.set(Number(key), value);
          if (!stale) symbol();
        })
        .catch((error: Error) => !stale && setWhy(error.message));
    } else if (symbolic && !payloads.has(at + 8) && at + 8 <= about.length) {
      const first = Math.floor((at + 8) / 16) * 16;
      void get<{ payloads: Record<string, Payload | null> }>(`${base}/payloads`, { first, count: 32 })
        .then(({ payloads: got }) => {
          for (const [key, value] of Object.entries(got)) payloads.set(Number(key), value);
        })
        .catch(() => undefined); // said when it is needed
    }
    return () => {
      stale = true;
    };
  }, [at, blocks, symbolic, payloads, colors]);
  const nothing = frames !== null && !blocks && !symbolic;
  return (
    <div class="stack" style={{ gap: "0" }}>
      <div class="screen">
        {nothing || why ? (
          <div class="why">
            <p>
              <b>No picture</b>
            </p>
            <p>{why || frames?.why}</p>
            {nothing && !why && (
              <p style={{ marginTop: "8px" }}>
                Record with <code>--frames render</code> to have pictures, or <code>--frames replay</code> to have them drawn again when asked for. Plots and steps are complete.
              </p>
            )}
          </div>
        ) : (
          <canvas ref={canvas} class="picture" role="img" aria-label={words || `${props.name}: loading`} data-run={run} data-episode={episode} width="160" height="160" />
        )}
        {shownT === null && !why && !nothing && (
          <span class="note" role="status">
            {symbolic ? "Making the environment again to draw it …" : "Reading pictures …"}
          </span>
        )}
        {shownT !== null && shownT !== props.at.value && !why && <span class="note">picture of t {shownT}</span>}
      </div>
      <div class="under">
        <span>
          t <b>{props.at.value}</b>
        </span>
        {props.title}
        {frames?.shape && (
          <span>
            {frames.dtype} {frames.shape.join("×")}
          </span>
        )}
        {blocks && (
          <a href={address(`${base}/frame.png`, { t: shownT ?? 0 })} download={`${run}-${episode}-${shownT}.png`}>
            this picture, lossless
          </a>
        )}
      </div>
    </div>
  );
}

function StepTable(props: { base: string; t: { value: number }; seek: (t: number) => void; playing: { value: boolean }; about: EpisodeData }): JSX.Element {
  const { about } = props;
  const at = props.t.value;
  const first = Math.floor(at / 40) * 40;
  const asked = useApi<{ total: number; columns: Columns; types: Record<string, string> }>(`${props.base}/steps`, { first, limit: 40 });
  const box = useRef<HTMLTableRowElement>(null);
  useEffect(() => {
    if (!calm.matches || !props.playing.value) box.current?.scrollIntoView?.({ block: "nearest" });
  }, []);
  return (
    <Panel class="flush" title="Steps" label="Steps">
      <Shown asked={asked} what="the steps">
        {(data) => {
          const rows = rowsOf(data.columns);
          const names = Object.keys(data.columns).filter((name) => !["t", "info_json", "observation_digest"].includes(name) || (name === "info_json" && rows.some((row) => row.info_json)));
          return (
            <div class="table short" tabIndex={0} role="region" aria-label="Steps of the episode">
              <table>
                <thead>
                  <tr>
                    <th scope="col" class="number">
                      t
                    </th>
                    {names.map((name) => (
                      <th key={name} scope="col" title={data.types[name]}>
                        {name}
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {rows.map((row) => (
                    <tr key={row.t} class={`pick ${row.t === at ? "current" : ""}`} aria-current={row.t === at ? "step" : undefined} onClick={() => props.seek(row.t)}>
                      <td class="number">{row.t}</td>
                      {names.map((name) => (
                        <td key={name} class={typeof row[name] === "number" ? "tabnum" : ""}>
                          {cell(name, row[name], about)}
                        </td>
                      ))}
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          );
        }}
      </Shown>
    </Panel>
  );
}

function cell(name: string, value: any, about: EpisodeData): JSX.Element | string {
  if (name === "time") return value === null ? "–" : moment(value).slice(11);
  if (name === "action" && typeof value === "number" && about.action_names[value]) {
    return (
      <span>
        {value} <span class="soft">{about.action_names[value]}</span>
      </span>
    );
  }
  if (typeof value === "boolean") return value ? "✓ true" : "–";
  const text = said(value);
  return text.length > 60 ? <span title={text}>{text.slice(0, 57)}…</span> : text;
}

/** Plots of an episode: reward and return, actions, then observations and infos, four lines a plot at most. */
function linesOf(data: SeriesData | null): { title: string; x: number[]; lines: Line[] }[] {
  if (!data) return [];
  const { x, at } = broken(data.t);
  const values = (name: string): (number | null)[] => at.map((i) => (i < 0 ? null : float(data.lines[name][i])));
  const names = Object.keys(data.lines);
  const groups: { title: string; members: string[] }[] = [];
  if (names.includes("reward")) groups.push({ title: "reward", members: ["reward"] }, { title: "return so far", members: ["return so far"] });
  const rest = names.filter((name) => !["reward", "return so far"].includes(name));
  const infos = rest.filter((name) => name.startsWith("info."));
  const others = rest.filter((name) => !name.startsWith("info."));
  const actions = others.filter((name) => name === "action" || name.startsWith("action"));
  const seen = others.filter((name) => !actions.includes(name));
  if (actions.length) groups.push({ title: "action", members: actions.slice(0, 8) });
  for (let i = 0; i < Math.min(seen.length, 16); i += 4) {
    const members = seen.slice(i, i + 4);
    groups.push({ title: seen.length > 4 ? `observation ${i}–${i + members.length - 1}` : "observation", members });
  }
  const families = new Map<string, string[]>();
  for (const name of infos) {
    const family = name.replace(/\[\d+\]$/, "");
    families.set(family, [...(families.get(family) ?? []), name]);
  }
  for (const [title, members] of [...families].slice(0, 8)) groups.push({ title, members: members.slice(0, 8) });
  return groups
    .map(({ title, members }) => ({
      title: members.length === 1 && title === "observation" ? members[0] : title,
      x,
      lines: members.map((name) => ({ name, values: values(name), steps: ["reward", "action"].includes(name) })),
    }))
    .filter((group) => group.lines.some((line) => line.values.some((value) => value !== null)));
}

/** Where t jumps although nothing was thinned, a null breaks the lines: a gap is drawn as one. */
function broken(t: number[]): { x: number[]; at: number[] } {
  const x: number[] = [];
  const at: number[] = [];
  const usual = t.length > 1 ? Math.max(1, (t[t.length - 1] - t[0]) / (t.length - 1)) : 1;
  t.forEach((value, i) => {
    if (i && value - t[i - 1] > Math.max(1, usual * 3)) {
      x.push((value + t[i - 1]) / 2);
      at.push(-1);
    }
    x.push(value);
    at.push(i);
  });
  return { x, at };
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

