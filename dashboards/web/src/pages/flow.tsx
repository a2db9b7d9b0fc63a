// Who waits for whom: credits, starvation, what was skipped and why, how full each queue is, and how viewers keep up.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { useApi } from "../api";
import { ink, inkChanged } from "../choices";
import { bytes, clock, count, many, moment, percent, seconds } from "../core/numbers";
import type { Control, Status } from "../core/wire";
import { Badge, Empty, Figure, Loading, Panel, Shown, Table } from "../ui/parts";
import { Plot } from "../ui/plot";
import { Breaks, Unlive, useLive } from "./live_state";
import type { LiveRun } from "./live_link";
import { rowsOf, type Columns } from "../api";

export function Flow({ run }: { run: string }): JSX.Element {
  const live = useLive(run);
  const instead = Unlive({ live, run });
  const status = live.status.value;
  return (
    <>
      <h1>Flow</h1>
      {instead ?? (
        <>
          <Breaks live={live} />
          {status && <Now live={live} status={status} />}
        </>
      )}
      <Recorded run={run} />
    </>
  );
}

function Now({ live, status }: { live: LiveRun; status: Status }): JSX.Element {
  const marks = useRef<Record<string, number>>({});
  for (const queue of status.queues) marks.current[queue.name] = Math.max(marks.current[queue.name] ?? 0, queue.depth);
  const history = live.history.value;
  const causes = useMemo(() => skippedLines(history), [history]);
  const streams = status.streams;
  return (
    <>
      <Panel title="The way of a step">
        <ol class="pipe" aria-label="Pipeline">
          <li>
            <b>Environments</b>
            {many(status.run.producers, "producer")}, {count(status.run.steps_per_s)} steps/s
            <br />
            <span class="soft">waited {seconds(status.run.waited_s)}</span>
          </li>
          {status.queues.slice(0, 6).map((queue) => (
            <li key={queue.name}>
              <b>{queue.name === "writer" ? "Writer" : `Producer ${queue.name.slice(1)}`}</b>
              {many(queue.depth, "fragment")} <span class="soft">most {count(marks.current[queue.name])}</span>
              <br />
              <span class="soft">{bytes(queue.bytes)}</span>
            </li>
          ))}
          <li>
            <b>Disk</b>
            lag {seconds(status.run.durable_lag_s)}
            <br />
            <span style={{ color: status.run.durable_lost ? "var(--bad)" : "var(--good)" }}>{status.run.durable_lost ? `✕ lost ${count(status.run.durable_lost)}` : "✓ lost 0"}</span>
          </li>
          <li>
            <b>Gateway</b>
            {bytes(status.gateway.memory_bytes)}, late {seconds(status.gateway.lag_s)}
            <br />
            <span class="soft">sent {bytes(status.gateway.sent_bytes)}</span>
          </li>
          <li>
            <b>Viewers</b>
            {count(status.viewers.length)}
          </li>
        </ol>
      </Panel>
        <Panel title="Viewers" class="flush">
        <Table
          caption="Viewers"
          rows={status.viewers}
          rowKey={(row) => row.id}
          current={(row) => row.me}
          columns={[
            {
              name: "id",
              title: "Viewer",
              cell: (row) => (
                <>
                  <span class="mono">{row.id}</span> {row.me && <b>you</b>} {row.hidden && <span class="soft">hidden</span>}
                </>
              ),
            },
            { name: "fps", title: "fps", number: true, cell: (row) => row.fps.toFixed(1) },
            { name: "lat", title: "Latency", number: true, cell: (row) => `${Math.round(row.latency_ms)} ms` },
            { name: "p95", title: "p95", number: true, cell: (row) => `${Math.round(row.latency_p95_ms)} ms` },
            { name: "sub", title: "Streams", number: true, cell: (row) => count(row.subscribed) },
            { name: "win", title: "Window", number: true, cell: (row) => row.window },
            { name: "starved", title: "Starved", number: true, cell: (row) => (row.starved ? <Badge state="starved" /> : "0") },
            { name: "conf", title: "Conflated", number: true, cell: (row) => count(row.skipped.conflated ?? 0) },
            ...(status.viewers.some((row) => row.advice) ? [{ name: "advice", title: "Advice", cell: (row: Status["viewers"][number]) => <span class="soft" style={{ whiteSpace: "normal" }}>{row.advice}</span> }] : []),
          ]}
        />
      </Panel>
        <Panel>
          {causes.lines.length ? (
            <Plot title="Not shown a second, by cause" x={causes.x} lines={causes.lines} xName="seconds in view" height={170} />
          ) : (
            <p class="soft">Nothing that was asked for was left out of the view so far.</p>
          )}
        </Panel>
      <Panel title="Streams over time" actions={<Legend />}>
        <div class="strip">
          {streams.index.slice(0, 64).map((index, i) => (
            <Strip key={index} live={live} index={index} tick={status.time} credits={`${streams.credits[i]}/${streams.pool[i]}`} />
          ))}
        </div>
        {streams.index.length > 64 && <p class="soft">The first 64 of {count(streams.index.length)}.</p>}
      </Panel>
      <Panel class="flush" title="Streams">
        <div class="table tall" tabIndex={0} role="region" aria-label="Streams">
          <Table
            caption="Credits of streams"
            rows={streams.index.slice(0, 200).map((index, i) => ({ index, i }))}
            rowKey={(row) => row.index}
            columns={[
              { name: "s", title: "Stream", cell: ({ index }) => live.streams.value[index]?.id ?? index },
              { name: "st", title: "State", cell: ({ i }) => <Badge state={streams.state[i]} /> },
              {
                name: "c",
                title: "Credits",
                cell: ({ i }) => (
                  <span class="filters" style={{ gap: "8px", flexWrap: "nowrap" }}>
                    <span class="bar">
                      <i style={{ width: `${Math.min(100, (streams.credits[i] / (streams.pool[i] || 1)) * 100)}%` }} />
                    </span>
                    <span class="tabnum">
                      {streams.credits[i]} of {streams.pool[i]}
                    </span>
                  </span>
                ),
              },
              { name: "p", title: "Published", number: true, cell: ({ i }) => count(streams.published[i]) },
              { name: "sh", title: "Shown", number: true, cell: ({ i }) => count(streams.shown[i]) },
              { name: "f", title: "Under way", number: true, cell: ({ i }) => count(streams.in_flight[i]) },
              {
                name: "k",
                title: "Skipped",
                cell: ({ i }) => (
                  <span class="soft">
                    {Object.entries(streams.skipped[i])
                      .map(([cause, n]) => `${cause} ${count(n)}`)
                      .join(", ") || "–"}
                  </span>
                ),
              },
              { name: "tr", title: "Transitions", number: true, cell: ({ i }) => count(streams.transitions[i]) },
              { name: "sv", title: "Starved of 30 s", number: true, cell: ({ index }) => percent(live.starvedShare(index)) },
            ]}
          />
        </div>
      </Panel>
      <Controls controls={live.controls.value} />
    </>
  );
}

function Legend(): JSX.Element {
  return (
    <span class="chips">
      <span class="badge live">live</span>
      <span class="badge warn">starved</span>
      <span class="badge">no viewer</span>
    </span>
  );
}

function Strip(props: { live: LiveRun; index: number; tick: number; credits: string }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const colors = inkChanged.value;
  const states = props.live.strips.get(props.index) ?? [];
  useEffect(() => {
    const to = canvas.current?.getContext("2d");
    if (!to) return;
    const paint = ink();
    to.clearRect(0, 0, 240, 12);
    const wide = 240 / Math.max(states.length, 1);
    states.forEach((state, i) => {
      to.fillStyle = state === "live" ? paint.s2 : state === "starved" ? paint.warn : paint.faint;
      // Height tells them apart as well as colour.
      const high = state === "starved" ? 12 : state === "live" ? 6 : 2;
      to.fillRect(i * wide, (12 - high) / 2, wide + 0.5, high);
    });
  }, [props.tick, colors]);
  const starved = states.filter((state) => state === "starved").length;
  return (
    <>
      <span class="mono">{props.live.streams.value[props.index]?.id ?? props.index}</span>
      <canvas ref={canvas} width="240" height="12" role="img" aria-label={`${starved} of the last ${states.length} samples starved`} />
      <span class="tabnum soft">{props.credits}</span>
    </>
  );
}

function Controls({ controls }: { controls: Control[] }): JSX.Element {
  const intervals = useMemo(() => paired(controls), [controls]);
  return (
    <Panel class="flush" title="CONTROL">
      {intervals.length ? (
        <Table
          caption="Intervals of starvation"
          rows={intervals.slice(-100).reverse()}
          rowKey={(row) => row.key}
          columns={[
            { name: "v", title: "Viewer", cell: (row) => <span class="mono">{row.viewer}</span> },
            { name: "s", title: "Stream", number: true, cell: (row) => row.stream },
            { name: "f", title: "Starved at", cell: (row) => clock(row.from * 1000, true) },
            { name: "t", title: "Resumed at", cell: (row) => (row.to === null ? <Badge state="starved" /> : clock(row.to * 1000, true)) },
            { name: "d", title: "For", number: true, cell: (row) => (row.to === null ? "–" : seconds(row.to - row.from)) },
          ]}
        />
      ) : (
        <p class="soft" style={{ padding: "0 16px 14px" }}>
          No viewer was starved.
        </p>
      )}
    </Panel>
  );
}

/** STARVED and the RESUMED that ends it, as one interval. */
export function paired(controls: Control[]): { key: string; viewer: string; stream: number; from: number; to: number | null }[] {
  const ends = new Map(controls.filter((one) => one.transition === "RESUMED").map((one) => [`${one.viewer}/${one.stream}/${one.number}`, one.time]));
  return controls
    .filter((one) => one.transition === "STARVED")
    .map((one) => ({
      key: `${one.viewer}/${one.stream}/${one.number}`,
      viewer: one.viewer,
      stream: one.stream,
      from: one.time,
      to: ends.get(`${one.viewer}/${one.stream}/${one.number + 1}`) ?? null,
    }))
    .sort((a, b) => a.from - b.from);
}

function skippedLines(history: Status[]): { x: number[]; lines: { name: string; values: number[] }[] } {
  const names = [...new Set(history.flatMap((one) => Object.keys(one.skipped)))];
  const x = history.slice(1).map((one) => one.time - history[0].time);
  const lines = names.map((name) => ({
    name,
    values: history.slice(1).map((one, i) => Math.max(0, ((one.skipped[name] ?? 0) - (history[i].skipped[name] ?? 0)) / Math.max(0.1, one.time - history[i].time))),
  }));
  return { x, lines: lines.filter((one) => one.values.some(Boolean)) };
}

interface LedgerData {
  total: number;
  columns: Columns;
  causes: Record<string, [string, string]>;
}

/** What the recording itself says it lacks: there with and without a live connection. */
function Recorded({ run }: { run: string }): JSX.Element {
  const ledger = useApi<LedgerData>(`runs/${run}/ledger`, {}, 10_000);
  const about = useApi<any>(`runs/${run}`, {}, 5000);
  return (
    <Panel class="flush" title="Ledger: what the recording lacks" label="Ledger">
      {about.data?.end?.reconciled && (
        <dl class="figures" style={{ padding: "0 16px 12px" }}>
          <Figure name="Steps produced" value={count(sum(about.data.end.reconciled, "produced"))} />
          <Figure name="Durable" value={count(sum(about.data.end.reconciled, "durable"))} />
          <Figure name="Declared lost" value={count(about.data.end.lost_steps)} tone={about.data.end.lost_steps ? "bad" : about.data.end.lost_steps === 0 ? "good" : ""} />
          <Figure name="Greatest lag" value={seconds(about.data.end.lag_high_s)} />
          <Figure name="Producers waited" value={seconds(about.data.end.waited_s)} />
          <Figure name="Sent again" value={count(about.data.end.resent)} />
        </dl>
      )}
      <Shown asked={ledger} what="the ledger">
        {(data) =>
          data.total ? (
            <Table
              caption="Ledger"
              rows={rowsOf(data.columns)}
              rowKey={(row) => `${row.table_name}${row.time}${row.of_worker}${row.first_step}`}
              columns={[
                { name: "table", title: "Table", cell: (row) => <b>{row.table_name}</b> },
                { name: "cause", title: "Cause", cell: (row) => <span title={data.causes[row.cause]?.[1]}>{row.cause}</span> },
                { name: "why", title: "Meaning", cell: (row) => <span class="soft">{data.causes[row.cause]?.[1]}</span> },
                { name: "rows", title: "Rows", number: true, cell: (row) => (row.rows === null ? `unknown, at most ${count(row.at_most)}` : count(row.rows)) },
                { name: "of", title: "Producer", cell: (row) => (row.of_worker === null ? "several" : `p${row.of_worker}.${row.of_incarnation}`) },
                { name: "time", title: "Declared", cell: (row) => <span class="soft">{moment(row.time)}</span> },
              ]}
            />
          ) : (
            <Nothing run={run} about={about.data} />
          )
        }
      </Shown>
    </Panel>
  );
}

/** Why the ledger is empty: nothing is lost, or nobody has declared it yet. */
function Nothing({ run, about }: { run: string; about: any }): JSX.Element {
  if (!about) return <Loading what="the run" />;
  if (about.status === "crashed" && !about.end)
    return (
      <Empty title="Nothing is declared yet">
        <p class="soft">
          This run has no end, so that nobody has counted what it lacks. <code>rolltape verify {run.slice(-8)}</code> does, and declares it here.
        </p>
      </Empty>
    );
  if (about.end && !about.end.reconciled)
    return (
      <Empty title="Nothing is declared lost">
        <p class="soft">
          The end of this run has no account of its steps. <code>rolltape verify {run.slice(-8)}</code> counts them, and declares here what is missing.
        </p>
      </Empty>
    );
  return (
    <Empty title="It lacks nothing">
      <p class="soft">
        {about.status === "running"
          ? "Every step that was produced is durable, or still on its way. Losses would be declared here, with their cause."
          : "Every step that was produced is durable. Losses would be declared here, with their cause."}
      </p>
    </Empty>
  );
}

function sum(accounts: Record<string, Record<string, number>> | undefined, name: string): number | null {
  return accounts ? Object.values(accounts).reduce((all, one) => all + (one[name] ?? 0), 0) : null;
}
