// How a fleet goes, in numbers and lines: speed, returns, what was not shown, what was said.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { clock, count, figure, seconds } from "../core/numbers";
import { Figure, Loading, Panel } from "../ui/parts";
import { Plot } from "../ui/plot";
import type { LiveRun } from "./live_link";

export function Vitals({ live }: { live: LiveRun }): JSX.Element {
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
