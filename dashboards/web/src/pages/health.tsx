// How the server, the disk and the processes of a run are doing.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { useApi } from "../api";
import { bytes, count, float, seconds } from "../core/numbers";
import { Figure, Panel, Shown } from "../ui/parts";
import { Plot } from "../ui/plot";
import { liveLink } from "./live_link";

export interface HealthData {
  version: string;
  python: string;
  pid: number;
  host: string;
  lake: string;
  runs: number;
  uptime_s: number;
  memory_bytes: number;
  cpu_s: number;
  disk_free_bytes: number;
  disk_total_bytes: number;
  live: boolean;
  now: number;
}
interface MetricsData {
  groups: Record<string, { time: number[]; lines: Record<string, (number | null)[]> }>;
  meanings: Record<string, [string, string]>;
}

const SHOWN: Record<string, string> = {
  queue_depth: "Queue depth",
  inflight_bytes: "Bytes in flight",
  flush_s: "Flush latency in seconds",
  lag_s: "Lag in seconds",
  waited_s: "Producers stood still, seconds so far",
  memory_bytes: "Memory",
};

export function Health({ run }: { run: string }): JSX.Element {
  const health = useApi<HealthData>("health", {}, 2000);
  const metrics = useApi<MetricsData>(run ? `runs/${run}/metrics` : null, {}, 5000);
  const gateway = liveLink.value?.status.value?.gateway;
  return (
    <>
      <h1>Health</h1>
      <Shown asked={health} what="the server's state">
        {(data) => {
          const used = 1 - data.disk_free_bytes / data.disk_total_bytes;
          return (
            <div class="grid wide">
              <Panel title="This server">
                <dl class="figures">
                  <Figure name="Rolltape" value={data.version} note={`Python ${data.python}`} />
                  <Figure name="Up for" value={seconds(data.uptime_s)} />
                  <Figure name="Memory" value={bytes(data.memory_bytes)} />
                  <Figure name="CPU time" value={seconds(data.cpu_s)} />
                  <Figure name="Process" value={data.pid} note={data.host} />
                </dl>
              </Panel>
              <Panel title="The lake">
                <dl class="figures">
                  <Figure name="Runs" value={count(data.runs)} />
                  <Figure name="Room on its disk" value={bytes(data.disk_free_bytes)} tone={used > 0.95 ? "bad" : ""} note={`of ${bytes(data.disk_total_bytes)}`} />
                </dl>
                <p class="mono soft" style={{ marginTop: "8px", overflowWrap: "anywhere" }}>
                  {data.lake}
                </p>
              </Panel>
              <Panel title="Live gateway" class="whole">
                {gateway ? (
                  <dl class="figures">
                    <Figure name="Up for" value={seconds(gateway.uptime_s)} />
                    <Figure name="Memory" value={bytes(gateway.memory_bytes)} />
                    <Figure name="Event loop late by" value={seconds(gateway.lag_s)} />
                    <Figure name="Sent" value={bytes(gateway.sent_bytes)} />
                    <Figure name="Hub" value={gateway.hub} tone={gateway.hub === "here" ? "good" : "bad"} />
                  </dl>
                ) : (
                  <p class="soft">
                    {data.live ? "Open Live or Flow to see it." : "This server shows history alone. A run that is being recorded serves live pictures at the address that it printed at its start."}
                  </p>
                )}
              </Panel>
            </div>
          );
        }}
      </Shown>
      {run && (
        <Shown asked={metrics} what="the metrics">
          {(data) => <Metrics data={data} />}
        </Shown>
      )}
    </>
  );
}

function Metrics({ data }: { data: MetricsData }): JSX.Element {
  const names = Object.keys(data.groups);
  const plots = useMemo(() => {
    const start = Math.min(...names.map((name) => data.groups[name].time[0] ?? Number.POSITIVE_INFINITY));
    return Object.keys(SHOWN).map((metric) => {
      const having = names.filter((name) => data.groups[name].lines[metric]);
      const x = [...new Set(having.flatMap((name) => data.groups[name].time))].sort((a, b) => a - b);
      const lines = having.map((name) => {
        const { time, lines: values } = data.groups[name];
        const at = new Map(time.map((t, i) => [t, float(values[metric][i])]));
        let last: number | null = null;
        return { name, values: x.map((t) => (last = at.get(t) ?? last)) };
      });
      return { metric, x: x.map((t) => t - start), lines };
    }).filter((plot) => plot.lines.length && plot.x.length > 1);
  }, [data]);
  if (!plots.length) return <p class="soft">This run has too few samples of its processes to draw: it was over in a moment, or an older version made it.</p>;
  return (
    <>
      <h2 style={{ fontSize: "16px" }}>Processes of this run</h2>
      <div class="grid">
        {plots.map(({ metric, x, lines }) => (
          <Panel key={metric}>
            <Plot title={SHOWN[metric]} format={metric.endsWith("bytes") ? bytes : undefined} x={x} lines={lines.slice(0, 8)} xName="seconds since the start" height={140} />
            <p class="soft" style={{ fontSize: "12px" }}>
              {data.meanings[metric]?.[0]}
            </p>
          </Panel>
        ))}
      </div>
    </>
  );
}
