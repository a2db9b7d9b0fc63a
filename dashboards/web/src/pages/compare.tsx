// Two to five runs: returns over one another, and where their settings differ.

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../api";
import { count, figure, said } from "../core/numbers";
import { link, place } from "../route";
import { Badge, Empty, Loading, Panel } from "../ui/parts";
import { type Line, Plot } from "../ui/plot";
import type { ReturnsData } from "./episodes";
import type { SettingsData } from "./config";

/** Runs are told apart by more than colour, also where one line lies on another. */
const DASHES = [undefined, [6, 5], [2, 4], [10, 4, 2, 4], [14, 5]];

interface Side {
  id: string;
  run: any;
  returns: ReturnsData;
  settings: SettingsData;
}

export function Compare(): JSX.Element {
  const ids = (place.value.query.runs ?? "").split(",").filter(Boolean).slice(0, 5);
  const [sides, setSides] = useState<Side[] | null>(null);
  const [wrong, setWrong] = useState("");
  useEffect(() => {
    setSides(null);
    Promise.all(
      ids.map(async (id) => {
        const [run, returns, settings] = await Promise.all([
          get<any>(`runs/${id}`),
          get<ReturnsData>(`runs/${id}/returns`, { points: 300 }),
          get<SettingsData>(`runs/${id}/settings`),
        ]);
        return { id, run, returns, settings };
      }),
    ).then(setSides, (error: Error) => setWrong(error.message));
  }, [ids.join()]);
  const plot = useMemo(() => (sides ? overlay(sides) : null), [sides]);
  if (ids.length < 2)
    return (
      <Empty title="Choose two runs or more">
        <p>
          Tick their boxes in the list of <a href="#/">all runs</a>.
        </p>
      </Empty>
    );
  if (wrong) return <Empty title="Cannot be compared" tone="bad">{wrong}</Empty>;
  if (!sides || !plot) return <Loading what="the runs" />;
  const keys = [...new Set(sides.flatMap((side) => side.settings.values.map((row) => row.key)))];
  const different = keys.filter((key) => new Set(sides.map((side) => JSON.stringify(valueOf(side, key)))).size > 1);
  return (
    <>
      <h1>Compare {sides.length} runs</h1>
      <Panel class="flush">
        <div class="table" tabIndex={0} role="region" aria-label="Runs side by side">
          <table>
            <thead>
              <tr>
                <th scope="col">Run</th>
                {sides.map((side) => (
                  <th key={side.id} scope="col">
                    <a href={link(["run", side.id, "episodes"])}>
                      {side.run.env_id} <span class="mono">{side.id.slice(-6)}</span>
                    </a>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {(
                [
                  ["State", (side) => <Badge state={side.run.status} />],
                  ["Steps", (side) => count(side.run.steps)],
                  ["Completed episodes", (side) => count(side.returns.episodes)],
                  ["Mean return", (side) => figure(side.run.end?.mean_return)],
                  ["Sub-environments", (side) => count(side.run.num_envs)],
                  ["Seed", (side) => said(side.run.seed)],
                  ["Pictures", (side) => side.run.frames?.policy ?? "none"],
                ] as [string, (side: Side) => any][]
              ).map(([name, cell]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  {sides.map((side) => (
                    <td key={side.id}>{cell(side)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Panel>
      <Panel>
        <Plot title="Return, smoothed, by how far each run is" x={plot.x} lines={plot.lines} xName="% of its episodes" height={260} />
      </Panel>
      <Panel class="flush" title={different.length ? `${different.length} settings differ` : "The settings are the same"}>
        {different.length > 0 && (
          <div class="table" tabIndex={0} role="region" aria-label="Settings that differ">
            <table>
              <thead>
                <tr>
                  <th scope="col">Setting</th>
                  {sides.map((side) => (
                    <th key={side.id} scope="col" class="mono">
                      {side.id.slice(-6)}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {different.map((key) => (
                  <tr key={key}>
                    <th scope="row" class="mono">
                      {key}
                    </th>
                    {sides.map((side) => (
                      <td key={side.id} class="wrap">
                        {said(valueOf(side, key))}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </>
  );
}

function valueOf(side: Side, key: string): unknown {
  return side.settings.values.find((row) => row.key === key)?.value;
}

function overlay(sides: Side[]): { x: number[]; lines: Line[] } {
  const x = Array.from({ length: 101 }, (_, i) => i);
  const lines = sides.map((side, i) => {
    const smooth = side.returns.smooth;
    const values = x.map((p) => (smooth.length ? smooth[Math.min(smooth.length - 1, Math.round((p / 100) * (smooth.length - 1)))] : null));
    return { name: `${side.run.env_id} ${side.id.slice(-6)}`, values, dash: DASHES[i] };
  });
  return { x, lines };
}
