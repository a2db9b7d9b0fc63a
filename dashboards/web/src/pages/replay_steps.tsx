// The steps of an episode as a table, the current one marked.

import type { JSX } from "preact";
import { type Columns, rowsOf, useApi } from "../api";
import { clock, said } from "../core/numbers";
import { Panel, Shown } from "../ui/parts";
import type { EpisodeData } from "./replay_data";

export function StepTable(props: { base: string; t: { value: number }; seek: (t: number) => void; about: EpisodeData }): JSX.Element {
  const { about } = props;
  const at = props.t.value;
  const first = Math.floor(at / 40) * 40;
  const asked = useApi<{ total: number; columns: Columns; types: Record<string, string> }>(`${props.base}/steps`, { first, limit: 40 });
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
  if (name === "time") return value === null ? "–" : clock(value, true);
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
