// One stream, large: its picture, its step, its last rewards.

import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { kept } from "../choices";
import { figure, percent, said, seconds } from "../core/numbers";
import { go, link } from "../route";
import { Badge, Empty, Panel } from "../ui/parts";
import { Plot } from "../ui/plot";
import { LiveCanvas } from "./live_canvas";
import { LiveHead, STILL_S, stateOf, Unlive, useLive } from "./live_state";

const lossless = kept("live.lossless", false);

export function Focus({ run, stream }: { run: string; stream: number }): JSX.Element {
  const live = useLive(run);
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
      <LiveHead
        live={live}
        title={
          <>
            <h1>
              Environment {about.sub_environment} <span class="soft">{about.env}</span>
            </h1>
            {live.state.value === "open" && <Badge state={now.state} />}
          </>
        }
      >
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
      </LiveHead>
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
