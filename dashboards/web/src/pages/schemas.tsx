// Which payload versions are spoken, what did not fit, and how one run's values are typed.

import type { JSX } from "preact";
import { type Columns, rowsOf, useApi } from "../api";
import { bytes, count, many, percent, said } from "../core/numbers";
import { link } from "../route";
import { Copy, Empty, Figure, Panel, Shown, Table } from "../ui/parts";

interface SchemasData {
  adoption: Columns;
  payloads: Columns;
  mismatches: Columns;
  tables: Columns;
  meanings: Record<string, [string, string, string, string][]>;
}

export function Schemas({ run }: { run: string }): JSX.Element {
  const lake = useApi<SchemasData>("schemas", {}, 10_000);
  const own = useApi<any>(run ? `runs/${run}/schema` : null);
  return (
    <>
      <h1>Schemas</h1>
      <Shown asked={lake} what="the schemas">
        {(data) => <Lake data={data} />}
      </Shown>
      {run && (
        <Shown asked={own} what="the run's schema">
          {(data) => <Own run={run} data={data} meanings={lake.data?.meanings ?? {}} />}
        </Shown>
      )}
    </>
  );
}

function Lake({ data }: { data: SchemasData }): JSX.Element {
  const versions = rowsOf(data.adoption);
  const mismatches = rowsOf(data.mismatches);
  if (!versions.length)
    return (
      <Empty title="No schema yet">
        <p>It appears with the first run.</p>
      </Empty>
    );
  return (
    <div class="grid wide">
      <Panel title="Payload versions">
        <div class="share" role="img" aria-label={versions.map((row) => `version ${row.payload_version}: ${percent(row.step_share)} of steps`).join(", ")}>
          {versions.map((row) => (
            <i key={row.payload_version} style={{ width: `${(row.step_share ?? 0) * 100}%`, background: row.payload_version === 0 ? "var(--s5)" : "var(--s3)" }} />
          ))}
        </div>
        <Table
          caption="Payload versions"
          rows={versions}
          rowKey={(row) => row.payload_version}
          columns={[
            { name: "v", title: "Version", cell: (row) => <b>{row.payload_version === 0 ? "0 (legacy)" : row.payload_version}</b> },
            { name: "runs", title: "Runs", number: true, cell: (row) => count(row.runs) },
            { name: "rs", title: "of all runs", number: true, cell: (row) => percent(row.run_share) },
            { name: "steps", title: "Steps", number: true, cell: (row) => count(row.steps) },
            { name: "ss", title: "of all steps", number: true, cell: (row) => percent(row.step_share) },
            { name: "mis", title: "Mismatches", number: true, cell: (row) => count(row.mismatches) },
          ]}
        />
        {versions.some((row) => row.payload_version === 0) && (
          <p class="soft" style={{ marginTop: "8px" }}>
            Some producers still speak version 0. The runs below say which; docs/schema.md says how to move on.
          </p>
        )}
      </Panel>
      <Panel title="What is stored">
        <Table
          caption="Tables"
          rows={rowsOf(data.tables)}
          rowKey={(row) => row.table_name}
          columns={[
            { name: "t", title: "Table", cell: (row) => <b>{row.table_name}</b> },
            { name: "r", title: "Rows", number: true, cell: (row) => count(row.rows) },
            { name: "b", title: "Bytes", number: true, cell: (row) => bytes(row.bytes) },
            { name: "p", title: "Parts", number: true, cell: (row) => count(row.parts) },
            { name: "u", title: "Runs", number: true, cell: (row) => count(row.runs) },
          ]}
        />
      </Panel>
      <Panel title="What did not fit" class="flush whole">
        {mismatches.length ? (
          <Table
            caption="Mismatches"
            rows={mismatches.slice(0, 100)}
            rowKey={(row) => `${row.run_id}${row.code}${row.field}${row.payload_version}`}
            columns={[
              { name: "run", title: "Run", cell: (row) => <a href={link(["run", row.run_id, "episodes"])} class="mono">{row.run_id.slice(-6)}</a> },
              { name: "code", title: "Code", cell: (row) => row.code },
              { name: "field", title: "Field", cell: (row) => <code>{row.field}</code> },
              { name: "count", title: "Count", number: true, cell: (row) => count(row.count) },
            ]}
          />
        ) : (
          <p style={{ padding: "0 16px 14px" }} class="soft">
            No mismatch was counted. Values are checked where a run has validation = "warn" or "enforce".
          </p>
        )}
      </Panel>
    </div>
  );
}

function Own(props: { run: string; data: any; meanings: SchemasData["meanings"] }): JSX.Element {
  const { data } = props;
  const meaning = (table: string, name: string): string => props.meanings[table]?.find(([column]) => column === name)?.[3] ?? "";
  return (
    <>
      <div class="head">
        <h2 style={{ fontSize: "16px" }}>
          This run <span class="mono soft">{props.run.slice(-6)}</span>
        </h2>
      </div>
      <div class="grid wide">
        <Panel title="Spaces">
          {data.spaces ? (
            Object.entries(data.spaces).map(([name, space]) => (
              <div key={name} style={{ marginBottom: "10px" }}>
                <h3>
                  {name} <span class="mono">{data.space_signature?.[name]}</span>
                </h3>
                <SpaceTree space={space} />
              </div>
            ))
          ) : (
            <p class="soft">No spaces: the run was not of an environment.</p>
          )}
        </Panel>
        <Panel title="Adapter and vector">
          <dl class="figures" style={{ marginBottom: "12px" }}>
            <Figure name="Adapter" value={data.adapter?.name ?? "none"} />
            <Figure name="Payload version" value={data.payload_version ?? "–"} />
            <Figure name="Sub-environments" value={count(data.vector?.num_envs)} note={data.vector ? many(data.vector.workers, "worker") : ""} />
          </dl>
          <dl class="facts">
            {Object.entries({ ...data.vector, actions: data.adapter?.action_names, observations: data.adapter?.observation_names })
              .filter(([, value]) => value !== null && value !== undefined && !(Array.isArray(value) && !value.length))
              .map(([name, value]) => (
                <>
                  <dt key={name}>{name}</dt>
                  <dd>{Array.isArray(value) ? value.join(", ") : said(value)}</dd>
                </>
              ))}
          </dl>
        </Panel>
        {data.spaces && (
          <Panel title="Normalization">
            {data.normalization ? (
              <pre tabIndex={0}>{JSON.stringify(data.normalization, null, 2)}</pre>
            ) : (
              <p class="soft">No wrapper that normalizes was found around this environment, so that values are recorded as it gives them.</p>
            )}
          </Panel>
        )}
        {data.spaces && (
          <Panel title="Environment" actions={<Copy text={JSON.stringify(data.env, null, 2)} />}>
            <dl class="facts">
              {Object.entries(data.env ?? {}).map(([name, value]) => (
                <>
                  <dt key={name}>{name}</dt>
                  <dd class="mono">{said(value)}</dd>
                </>
              ))}
            </dl>
          </Panel>
        )}
      </div>
      <Panel title="Columns" class="flush">
        {Object.entries(data.columns as Record<string, [string, string][]>).map(([table, columns]) => (
          <details key={table} class="columns" style={{ padding: "0 16px" }} open={table === "steps"}>
            <summary>
              {table} <span class="soft">{columns.length} columns</span>
            </summary>
            <Table
              caption={`Columns of ${table}`}
              rows={columns}
              rowKey={([name]) => name}
              columns={[
                { name: "n", title: "Column", cell: ([name]) => <code>{name}</code> },
                { name: "t", title: "Type", cell: ([, type]) => <span class="mono soft">{type.replace(/dictionary<values=(\w+).*/, "$1")}</span> },
                { name: "m", title: "Meaning", cell: ([name]) => <span class="soft">{meaning(table, name)}</span> },
              ]}
            />
          </details>
        ))}
      </Panel>
    </>
  );
}

function SpaceTree({ space }: { space: any }): JSX.Element {
  const { type, spaces, space: inner, ...rest } = space;
  const below: [string, any][] = spaces ? (Array.isArray(spaces) ? spaces.map((one: any, i: number) => [String(i), one]) : Object.entries(spaces)) : inner ? [["each", inner]] : [];
  const facts = Object.entries(rest).map(([name, value]) => `${name} ${short(value)}`);
  return (
    <ul class="tree">
      <li>
        <b>{type}</b> <span class="soft mono">{facts.join(" · ")}</span>
        {below.map(([name, one]) => (
          <div key={name}>
            <span class="mono">{name}</span>
            <SpaceTree space={one} />
          </div>
        ))}
      </li>
    </ul>
  );
}

function short(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
