// One episode, step by step: pictures or what stands for them, plots and steps, all at one time; a second one beside it.

import { useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useApi } from "../api";
import { count, figure, moment } from "../core/numbers";
import { link, note, place } from "../route";
import { Badge, Copy, Figure, Panel, Shown } from "../ui/parts";
import { Plot } from "../ui/plot";
import { Beside, Second } from "./replay_beside";
import { Controls } from "./replay_controls";
import { clamp, type EpisodeData, type FramesData, looped, type SeriesData, sped, SPEEDS } from "./replay_data";
import { linesOf } from "./replay_lines";
import { Screen } from "./replay_screen";
import { StepTable } from "./replay_steps";

const SYMBOLIC_FPS = 6;

export function Replay({ run, episode }: { run: string; episode: number }): JSX.Element {
  const base = `runs/${run}/episodes/${episode}`;
  const about = useApi<EpisodeData>(base);
  return (
    <>
      {!about.data && <h1>Episode {episode}</h1>}
      <Shown asked={about} what={`episode ${episode}`}>
        {(data) => <Player run={run} episode={episode} about={data} />}
      </Shown>
      {about.error && !about.data && (
        <p style={{ textAlign: "center" }}>
          <a href={link(["run", run, "episodes"])}>All episodes of the run</a>
        </p>
      )}
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
  const noted = useRef(Number(query.t ?? 0) || 0);

  const seek = (to: number, stop = true): void => {
    if (stop) playing.value = false;
    t.value = clamp(Math.round(to), 0, last);
  };
  useSignalEffect(() => {
    const at = t.value;
    if (!playing.value) {
      const timer = setTimeout(() => {
        noted.current = at;
        note({ t: at || null });
      }, 200);
      return () => clearTimeout(timer);
    }
  });
  // The address may change from outside: a link to another moment of the same episode. What this page noted itself is not
  // from outside, and may be older than the key that was pressed since.
  useEffect(() => {
    const to = Number(query.t ?? 0) || 0;
    if (to === noted.current) return;
    noted.current = to;
    if (!playing.peek() && query.t !== undefined) t.value = clamp(to, 0, last);
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
            ✕ {about.gaps.length === 1 ? "A stretch" : `${about.gaps.length} stretches`} of this episode is not recorded: t {about.gaps.map(([a, b]) => (a === b ? a : `${a}–${b}`)).join(", ")}. <a href={link(["run", run, "flow"])}>The ledger</a> says why, once it is settled.
          </p>
        )}
      </Panel>
      <div class="stage">
        <div class="stack">
          <Panel label="Player">
            <div class="screens">
              <Screen run={run} episode={episode} about={about} frames={frames.data} at={t} playing={playing} name={`Episode ${episode}`} title={withRun && withEpisode ? <b>episode {episode}</b> : undefined} />
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
          <StepTable base={base} t={t} seek={seek} about={about} />
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
