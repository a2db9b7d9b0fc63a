// The log of a run: facets with counts, text, follow the tail; what was chosen is found again.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Columns, get, rowsOf, useApi } from "../api";
import { kept } from "../choices";
import { clock, count, moment, said } from "../core/numbers";
import { link, note, place } from "../route";
import { Badge, Empty, Pager, Panel, Shown, Ticked } from "../ui/parts";

interface LogsData {
  total: number;
  all: number;
  columns: Columns;
  facets: Record<string, Record<string, number>>;
  codes: Record<string, { message: string; action: string; tags: string[] }>;
}

const LIMIT = 200;
const FACETS = ["level", "component", "code", "origin"];
/** What was chosen last holds for the next run too. */
const chosen = kept<Record<string, string>>("logs.chosen", {});
const follow = kept("logs.follow", true);

export function Logs({ run }: { run: string }): JSX.Element {
  const query = place.value.query;
  useEffect(() => {
    if (!FACETS.some((name) => query[name])) note(chosen.value);
  }, [run]);
  const asked = { level: query.level, component: query.component, code: query.code, origin: query.origin, text: query.text };
  const about = useApi<any>(`runs/${run}`, {}, 5000);
  const going = about.data?.status === "running";
  const [tail, setTail] = useState(0);
  const offset = going && follow.value ? tail : Number(query.offset ?? 0) || 0;
  const logs = useApi<LogsData>(`runs/${run}/logs`, { ...asked, offset, limit: LIMIT }, going ? 2000 : 0);
  const [open, setOpen] = useState<number | null>(null);
  const bottom = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (going && follow.value && logs.data) {
      setTail(Math.max(0, logs.data.total - LIMIT));
      bottom.current?.scrollTo({ top: bottom.current.scrollHeight });
    }
  }, [logs.data?.total, going, follow.value]);
  const toggle = (facet: string, value: string): void => {
    const now = (query[facet] ?? "").split(",").filter(Boolean);
    const next = now.includes(value) ? now.filter((one) => one !== value) : [...now, value];
    note({ [facet]: next.join(","), offset: null });
    chosen.value = { ...chosen.value, [facet]: next.join(",") };
  };
  return (
    <>
      <div class="head">
        <h1>Logs</h1>
        <div class="push">
          <label class="field">
            Search
            <input type="search" value={query.text ?? ""} placeholder="words of the message" onInput={(event) => note({ text: event.currentTarget.value, offset: null })} />
          </label>
          {going && (
            <label class="field">
              <input type="checkbox" checked={follow.value} onChange={() => (follow.value = !follow.value)} /> follow
            </label>
          )}
          <button type="button" class="quiet" onClick={() => void download(run, asked)}>
            Export JSON lines
          </button>
        </div>
      </div>
      <Shown asked={logs} what="the log">
        {(data) => (
          <>
            {FACETS.some((facet) => query[facet] || valuesOf(data, facet).length > 1) && (
            <Panel label="Filters">
              <div class="stack" style={{ gap: "8px" }}>
                {FACETS.map((facet) => {
                  const values = valuesOf(data, facet);
                  if (values.length < 2 && !query[facet]) return null;
                  return (
                    <div key={facet} class="chips" role="group" aria-label={facet}>
                      <span class="soft" style={{ width: "86px" }}>{facet}</span>
                      {values.map(([value, n]) => (
                        <button key={value} type="button" class="chip" aria-pressed={(query[facet] ?? "").split(",").includes(value)} onClick={() => toggle(facet, value)}>
                          {value} <span class="soft">{count(n)}</span>
                        </button>
                      ))}
                    </div>
                  );
                })}
              </div>
            </Panel>
            )}
            <Panel class="flush" label="Records">
              {!data.total ? (
                <Empty title={data.all ? "No record fits" : "Nothing was said"}>{data.all > 0 && <p>{count(data.all)} records are hidden by the filter.</p>}</Empty>
              ) : (
                <div class="table tall" ref={bottom} tabIndex={0} role="region" aria-label="Log records">
                  <table>
                    <thead>
                      <tr>
                        {["Time", "Level", "Component", coded(data) && "Code", "Message", placed(data) && "About"].filter(Boolean).map((name) => (
                          <th key={name} scope="col">
                            {name}
                          </th>
                        ))}
                      </tr>
                    </thead>
                    <tbody>
                      {rowsOf(data.columns).map((row, i) => (
                        <>
                          <tr key={i} class={`pick ${open === i ? "current" : ""}`} onClick={() => setOpen(open === i ? null : i)}>
                            <td class="mono" title={moment(row.time)}>
                              {clock(row.time, true)}
                            </td>
                            <td>
                              <Badge state={row.level} />
                            </td>
                            <td>
                              {row.component}
                              {row.subcomponent && <span class="soft">.{row.subcomponent}</span>}
                            </td>
                            {coded(data) && <td class="mono soft">{row.code}</td>}
                            <td class="wrap">
                              <button type="button" class="linkish" style={{ color: "inherit", textDecoration: "none" }} aria-expanded={open === i}>
                                <Ticked text={row.message} />
                              </button>
                            </td>
                            {placed(data) && <td class="soft">{where(row)}</td>}
                          </tr>
                          {open === i && (
                            <tr key={`${i}+`}>
                              <td colSpan={6} class="wrap">
                                <Details row={row} data={data} run={run} />
                              </td>
                            </tr>
                          )}
                        </>
                      ))}
                    </tbody>
                  </table>
                </div>
              )}
              {data.total > LIMIT && !(going && follow.value) && (
                <Pager total={data.total} offset={offset} limit={LIMIT} what="records" go={(at) => note({ offset: at || null })} />
              )}
            </Panel>
          </>
        )}
      </Shown>
    </>
  );
}

function valuesOf(data: LogsData, facet: string): [string, number][] {
  return Object.entries(data.facets[facet] ?? {}).filter(([value]) => value);
}

/** Columns that no record of the page fills take no room from the message. */
function coded(data: LogsData): boolean {
  return data.columns.code?.some(Boolean);
}

function placed(data: LogsData): boolean {
  return rowsOf(data.columns).some(where);
}

function where(row: Record<string, any>): string {
  const known = [
    row.worker !== null && row.worker !== undefined && row.worker >= 0 ? `worker ${row.worker}` : "",
    row.sub_env !== null && row.sub_env !== undefined && row.sub_env >= 0 ? `env ${row.sub_env}` : "",
    row.episode !== null && row.episode !== undefined && row.episode >= 0 ? `episode ${row.episode}` : "",
  ];
  return known.filter(Boolean).join(" · ");
}

function Details(props: { row: Record<string, any>; data: LogsData; run: string }): JSX.Element {
  const { row } = props;
  const code = props.data.codes[row.code];
  const facts = Object.entries({ ...(row.data ?? {}), origin: row.origin, host: row.host, pid: row.pid }).filter(([, value]) => value !== null && value !== undefined);
  return (
    <div class="stack" style={{ gap: "8px" }}>
      {code && (
        <p>
          <b>What to do:</b> <Ticked text={code.action} />
        </p>
      )}
      <dl class="facts">
        {facts.map(([name, value]) => (
          <>
            <dt key={name}>{name}</dt>
            <dd class="mono">{said(value)}</dd>
          </>
        ))}
      </dl>
      {row.episode !== null && row.episode >= 0 && (
        <p>
          <a href={link(["run", props.run, "episode", row.episode])}>Open episode {row.episode}</a>
        </p>
      )}
    </div>
  );
}

async function download(run: string, asked: Record<string, string | undefined>): Promise<void> {
  const lines: string[] = [];
  for (let offset = 0; ; offset += 1000) {
    const page = await get<LogsData>(`runs/${run}/logs`, { ...asked, offset, limit: 1000 });
    for (const row of rowsOf(page.columns)) lines.push(JSON.stringify({ ...row, time: new Date(row.time).toISOString() }));
    if (offset + 1000 >= page.total) break;
  }
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "application/x-ndjson" }));
  anchor.download = `${run}.logs.jsonl`;
  anchor.click();
  URL.revokeObjectURL(anchor.href);
}
