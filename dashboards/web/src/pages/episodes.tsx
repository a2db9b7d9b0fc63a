// The episodes of a run: how returns went, how they are spread, and each of them to open.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { address, type Columns, rowsOf, useApi } from "../api";
import { ago, bytes, count, figure, float, many, moment, seconds } from "../core/numbers";
import { go, link, note, place } from "../route";
import { Badge, type Column, Empty, Figure, Histogram, Pager, Panel, Shown, Table } from "../ui/parts";
import { Plot } from "../ui/plot";

export interface ReturnsData {
  episodes: number;
  place: number[];
  return: (number | null)[];
  length: (number | null)[];
  smooth: (number | null)[];
  spread: Record<"return" | "length", { edges: number[]; counts: number[] }>;
}
interface EpisodesData {
  total: number;
  offset: number;
  columns: Columns;
}
type Row = Record<string, any>;

const LIMIT = 50;

export function Episodes({ run }: { run: string }): JSX.Element {
  const query = place.value.query;
  const offset = Number(query.offset ?? 0) || 0;
  const about = useApi<any>(`runs/${run}`, {}, 3000);
  const going = about.data?.status === "running";
  const every = going ? 4000 : 0;
  const returns = useApi<ReturnsData>(`runs/${run}/returns`, {}, every);
  const episodes = useApi<EpisodesData>(
    `runs/${run}/episodes`,
    {
      offset,
      limit: LIMIT,
      sort: query.sort ?? "episode",
      order: query.order ?? "asc",
      status: query.status,
      ended: query.ended,
      min_return: query.min_return,
      max_return: query.max_return,
      min_length: query.min_length,
      max_length: query.max_length,
    },
    every,
  );
  const [other, setOther] = useState("");
  const set = (changes: Record<string, string | number | null>): void => note({ offset: null, ...changes });
  const filtered = ["status", "ended", "min_return", "max_return", "min_length", "max_length"].some((name) => query[name]);
  const lines = useMemo(() => {
    const data = returns.data;
    if (!data) return [];
    return [
      { name: "return", values: data.return.map(float), ghost: true },
      { name: "smoothed", values: data.smooth.map(float) },
    ];
  }, [returns.data]);
  return (
    <>
      <div class="head">
        <h1>Episodes</h1>
        <span class="soft mono">{run}</span>
      </div>
      <Shown asked={about} what="the run">
        {(data) => <Summary data={data} />}
      </Shown>
      <div class="grid wide">
        <Panel>
          <Shown asked={returns} what="the returns">
            {(data) =>
              data.episodes ? (
                <Plot title={`Return of ${count(data.episodes)} completed episodes, in the order of their end`} x={data.place} lines={lines} xName="episode" height={190} />
              ) : (
                <p class="soft">{going ? "The first episode has not ended yet." : "No episode of this run was completed."}</p>
              )
            }
          </Shown>
        </Panel>
        <Panel
          title="How they are spread"
          actions={
            filtered && (
              <button type="button" class="quiet small" onClick={() => set({ status: null, ended: null, min_return: null, max_return: null, min_length: null, max_length: null })}>
                Clear filters
              </button>
            )
          }
        >
          <Shown asked={returns} what="the returns">
            {(data) => (
              <div class="grid">
                {(["return", "length"] as const).map((name) => (
                  <div key={name} class="stack" style={{ gap: "6px" }}>
                    <h3>{name === "return" ? "Return" : "Length in steps"}</h3>
                    <Histogram
                      {...data.spread[name]}
                      name={name}
                      low={query[`min_${name}`] ? Number(query[`min_${name}`]) : null}
                      high={query[`max_${name}`] ? Number(query[`max_${name}`]) : null}
                      onRange={(low, high) => {
                        const whole = name === "length";
                        set({ [`min_${name}`]: low === null ? null : whole ? Math.ceil(low) : tidy(low), [`max_${name}`]: high === null ? null : whole ? Math.floor(high) : tidy(high) });
                      }}
                    />
                    <div class="filters">
                      {(["min", "max"] as const).map((side) => (
                        <label key={side} class="field">
                          {side === "min" ? "from" : "to"}
                          <input
                            type="number"
                            step="any"
                            aria-label={`${side === "min" ? "Least" : "Greatest"} ${name}`}
                            value={query[`${side}_${name}`] ?? ""}
                            placeholder={edge(data.spread[name].edges, side, name === "length")}
                            onChange={(event) => set({ [`${side}_${name}`]: event.currentTarget.value })}
                          />
                        </label>
                      ))}
                    </div>
                  </div>
                ))}
              </div>
            )}
          </Shown>
        </Panel>
      </div>
      <Panel
        class="flush"
        title="All episodes"
        label="Episodes"
        actions={
          <>
            <label class="field">
              Status
              <select value={query.status ?? ""} onChange={(event) => set({ status: event.currentTarget.value })}>
                <option value="">any</option>
                <option>completed</option>
                <option>aborted</option>
                <option>lost</option>
              </select>
            </label>
            <label class="field">
              End
              <select value={query.ended ?? ""} onChange={(event) => set({ ended: event.currentTarget.value })}>
                <option value="">any</option>
                <option>terminated</option>
                <option>truncated</option>
              </select>
            </label>
            <form
              onSubmit={(event) => {
                event.preventDefault();
                if (/^\d+$/.test(other)) go(link(["run", run, "episode", other]));
              }}
            >
              <label class="field">
                Open
                <input type="number" min="0" aria-label="Open the episode of that number" placeholder="number" value={other} onInput={(event) => setOther(event.currentTarget.value)} />
              </label>
            </form>
          </>
        }
      >
        <Shown asked={episodes} what="the episodes">
          {(data) =>
            data.total || filtered ? (
              <>
                <Table
                  caption="Episodes"
                  columns={columnsOf(run, about.data)}
                  rows={rowsOf(data.columns)}
                  rowKey={(row) => row.episode}
                  sort={{ by: query.sort ?? "episode", order: query.order === "desc" ? "desc" : "asc" }}
                  onSort={(by, order) => note({ sort: by, order, offset: null })}
                  onPick={(row) => go(link(["run", run, "episode", row.episode]))}
                />
                <Pager total={data.total} offset={offset} limit={LIMIT} what="episodes" go={(at) => note({ offset: at || null })} />
              </>
            ) : (
              <Empty title={going ? "The first episode is still going on" : "No episode ended in this run"}>
                <p class="prose">{going ? "It appears here when it ends. Steps are recorded meanwhile." : "Its steps are recorded nevertheless: see the tables above, or open episode 0."}</p>
              </Empty>
            )
          }
        </Shown>
      </Panel>
    </>
  );
}

/** Where a histogram begins or ends; a length in whole steps. */
function edge(edges: number[], side: "min" | "max", whole: boolean): string {
  const at = edges.at(side === "min" ? 0 : -1);
  return at === undefined ? "" : figure(whole ? (side === "min" ? Math.ceil(at) : Math.floor(at)) : at);
}

function tidy(value: number): number {
  return Number(value.toPrecision(6));
}

function columnsOf(run: string, about: any): Column<Row>[] {
  const pictures = ["observation", "render"].includes(about?.frames?.policy);
  return [
    ...(pictures
      ? [
          {
            name: "thumb",
            title: "Last",
            cell: (row: Row) => (
              <img class="thumb" loading="lazy" alt="" src={address(`runs/${run}/episodes/${row.episode}/frame.png`, { t: row.length ?? 0, nearest: true })} />
            ),
          },
        ]
      : []),
    { name: "episode", title: "Episode", number: true, sortable: true, cell: (row) => <a href={link(["run", run, "episode", row.episode])}>{row.episode}</a> },
    { name: "sub_env", title: "Sub-env", number: true, sortable: true, cell: (row) => row.sub_env },
    { name: "return", title: "Return", number: true, sortable: true, cell: (row) => <b>{figure(row.return)}</b> },
    { name: "length", title: "Length", number: true, sortable: true, cell: (row) => count(row.length) },
    {
      name: "status",
      title: "End",
      sortable: true,
      cell: (row) => (row.status === "completed" ? <span>{row.terminated ? "terminated" : "truncated"}</span> : <Badge state={row.status} />),
    },
    { name: "seed", title: "Seed", number: true, sortable: true, cell: (row) => <span class="mono soft">{row.seed ?? "–"}</span> },
    { name: "replay", title: "Replays", hint: "How it can be executed again", cell: (row) => <span class="soft">{row.replay}</span> },
    { name: "start_time", title: "Began", sortable: true, cell: (row) => <span class="soft">{moment(row.start_time)}</span> },
    {
      name: "took",
      title: "Took",
      number: true,
      cell: (row) => <span class="soft">{row.end_time && row.start_time ? seconds((row.end_time - row.start_time) / 1000) : "–"}</span>,
    },
  ];
}

function Summary({ data }: { data: any }): JSX.Element {
  const lost = data.losses.filter((loss: any) => loss.stage === "lost");
  const unsettled = data.status === "crashed" && !data.end;
  const size = (data.tables.bytes ?? []).reduce((a: number, b: number) => a + b, 0);
  return (
    <Panel label="Run">
      <dl class="figures">
        <Figure name="Environment" value={data.env_id ?? "external"} note={data.num_envs ? `${many(data.num_envs, "sub-environment")}, ${many(data.workers, "worker")}` : ""} />
        <Figure name="Steps" value={count(data.steps)} />
        <Figure name="Mean return" value={figure(data.mean_return)} note={data.status === "running" ? "so far" : ""} />
        {data.status === "running" ? <Figure name="Began" value={ago(data.created)} /> : <Figure name="Took" value={seconds(data.end?.seconds)} />}
        <Figure name="On disk" value={bytes(size)} />
        <Figure name="Seed" value={data.seed ?? "–"} />
        <Figure
          name="Lost"
          tone={lost.length ? "bad" : unsettled ? "warn" : "good"}
          value={lost.length ? `${many(lost.length, "loss", "losses")} declared` : unsettled ? "not known yet" : "0"}
          note={unsettled ? "nobody has verified it" : lost.length ? "" : data.end ? "reconciled" : "so far"}
        />
      </dl>
      {unsettled && (
        <p class="prose" style={{ marginTop: "10px" }}>
          This run has no end: its process is gone. Everything committed is here; <code>rolltape verify {data.run_id.slice(-8)}</code> declares what is missing.
        </p>
      )}
      {data.losses.length > 0 && (
        <details>
          <summary>What it lacks</summary>
          <ul class="tree">
            {data.losses.slice(0, 50).map((loss: any) => (
              <li key={loss.text}>
                {loss.text} <span class="soft">{data.causes[loss.cause]}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </Panel>
  );
}
