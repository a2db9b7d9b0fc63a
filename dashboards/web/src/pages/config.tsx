// The settings of a run, each with where it comes from; what differs from another run's.

import type { JSX } from "preact";
import { rowsOf, useApi } from "../api";
import { ago, exactly, said } from "../core/numbers";
import { asToml } from "../core/settings";
import { link, note, place } from "../route";
import { Copy, Empty, Panel, Shown } from "../ui/parts";
import type { RunsData } from "./runs";

export interface SettingRow {
  key: string;
  value: any;
  unit: string;
  default: any;
  source: string;
  place: string;
  mutation: string;
}
export interface SettingsData {
  values: SettingRow[];
  evidence: Record<string, any>;
  legend: [string, string][];
  facts: { versions: Record<string, string> | null; host: Record<string, any> | null; seed: any };
}

export function Config({ run }: { run: string }): JSX.Element {
  const { q = "", changed = "", other = "" } = place.value.query;
  const settings = useApi<SettingsData>(`runs/${run}/settings`);
  const runs = useApi<RunsData>("runs");
  const against = useApi<SettingsData>(other ? `runs/${other}/settings` : null);
  const theirs = new Map((other ? (against.data?.values ?? []) : []).map((row) => [row.key, row]));
  const differs = (row: SettingRow): boolean => theirs.size > 0 && JSON.stringify(theirs.get(row.key)?.value) !== JSON.stringify(row.value);
  return (
    <>
      <div class="head">
        <h1>Config</h1>
        <div class="push tight">
          <label class="field">
            Find
            <input type="search" value={q} placeholder="part of a key" onInput={(event) => note({ q: event.currentTarget.value })} />
          </label>
          <label class="field">
            Compare with
            <select value={other} onChange={(event) => note({ other: event.currentTarget.value })}>
              <option value="">no other run</option>
              {rowsOf(runs.data?.columns ?? {})
                .filter((row) => row.run_id !== run)
                .slice(0, 200)
                .map((row) => (
                  <option key={row.run_id} value={row.run_id}>
                    {(row.env_id ?? "external").slice(0, 40)} · {row.run_id.slice(-6)} · {ago(row.created)}
                  </option>
                ))}
            </select>
          </label>
          <button type="button" class="quiet" aria-pressed={changed === "1"} onClick={() => note({ changed: changed === "1" ? null : 1 })}>
            Only what differs
          </button>
        </div>
      </div>
      <Shown asked={settings} what="the settings">
        {(data) => {
          if (!data.values.length)
            return (
              <Empty title="Recorded without settings">
                <p class="prose">An older version made this run, or something else did. What there is stands in its run.json: `rolltape info`.</p>
              </Empty>
            );
          const odd = (row: SettingRow): boolean => (theirs.size ? differs(row) : JSON.stringify(row.value) !== JSON.stringify(row.default));
          const rows = data.values.filter((row) => row.key.toLowerCase().includes(q.toLowerCase()) && (changed !== "1" || odd(row)));
          const sections = new Map<string, SettingRow[]>();
          for (const row of rows) {
            const section = row.key.split(".").slice(0, -1).join(".");
            sections.set(section, [...(sections.get(section) ?? []), row]);
          }
          const said_ = data.values.filter((row) => JSON.stringify(row.value) !== JSON.stringify(row.default));
          return (
            <div class="with-side">
              <div class="stack">
                {!rows.length && <Empty title={theirs.size ? "The settings are the same" : "Nothing to show"} />}
                {[...sections].map(([section, list]) => (
                  <Panel key={section} class="flush" title={<span class="mono">{section || "general"}</span>}>
                    <div class="table" tabIndex={0} role="region" aria-label={`Settings of ${section || "general"}`}>
                      <table class={`settings ${theirs.size ? "two" : ""}`}>
                        <thead>
                          <tr>
                            <th scope="col">Key</th>
                            <th scope="col">Value</th>
                            {theirs.size > 0 && <th scope="col">Other run</th>}
                            <th scope="col">Source</th>
                          </tr>
                        </thead>
                        <tbody>
                          {list.map((row) => (
                            <tr key={row.key} class={differs(row) ? "current" : ""}>
                              <th scope="row" class="mono">
                                {row.key.split(".").at(-1)}
                              </th>
                              <td class="wrap">
                                <b>{exactly(row.value)}</b> <span class="soft">{row.unit}</span>
                                {JSON.stringify(row.value) !== JSON.stringify(row.default) && (
                                  <>
                                    {" "}
                                    <s>
                                      <span class="hidden">instead of the default </span>
                                      {exactly(row.default)}
                                    </s>
                                  </>
                                )}
                              </td>
                              {theirs.size > 0 && <td class="wrap">{differs(row) ? exactly(theirs.get(row.key)?.value) : <span class="soft">the same</span>}</td>}
                              <td>
                                <span class={`source ${row.source === "default" ? "" : "said"}`}>
                                  {row.source}
                                  {row.mutation && ` (${row.mutation})`}
                                </span>{" "}
                                {row.place && row.place !== row.source && <span class="soft">{row.place}</span>}
                              </td>
                            </tr>
                          ))}
                        </tbody>
                      </table>
                    </div>
                  </Panel>
                ))}
              </div>
              <div class="stack">
                <Panel title="As TOML" actions={<Copy text={asToml(said_.map((row) => [row.key, row.value]))} />}>
                  <pre tabIndex={0}>{asToml(said_.map((row) => [row.key, row.value])) || "# all defaults"}</pre>
                  <p class="soft" style={{ marginTop: "8px" }}>
                    {said_.length} of {data.values.length} values are not the default. <a href={link(["settings"])}>Make your own</a>.
                  </p>
                </Panel>
                <Panel title="Where values come from">
                  <dl class="facts">
                    {data.legend.map(([name, meaning]) => (
                      <>
                        <dt key={name} class="mono">
                          {name}
                        </dt>
                        <dd>{meaning}</dd>
                      </>
                    ))}
                  </dl>
                </Panel>
                {data.facts.versions && (
                  <Panel title="Recorded by">
                    <dl class="facts">
                      {Object.entries({ ...data.facts.versions, ...(data.facts.host ?? {}) }).map(([name, value]) => (
                        <>
                          <dt key={name}>{name}</dt>
                          <dd class="mono">{said(value)}</dd>
                        </>
                      ))}
                    </dl>
                  </Panel>
                )}
              </div>
            </div>
          );
        }}
      </Shown>
    </>
  );
}
