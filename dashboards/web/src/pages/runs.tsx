// All runs of the lake: filter, sort, compare.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Columns, rowsOf, useApi } from "../api";
import { ago, bytes, count, figure, moment } from "../core/numbers";
import { go, link, note, place } from "../route";
import { Badge, type Column, Empty, Panel, Shown, Spark, Table } from "../ui/parts";

export interface RunsData {
  total: number;
  columns: Columns;
}
type Sparks = Record<string, { means: (number | null)[]; best: number | null; last: number | null }>;
type Row = Record<string, any>;

const SORTABLE = ["env_id", "created", "status", "steps", "episodes", "mean_return", "bytes"];

export function Runs(): JSX.Element {
  const runs = useApi<RunsData>("runs", {}, 3000);
  const sparks = useApi<Sparks>("sparks", {}, 15_000);
  const { q = "", sort = "created", order = "desc", state = "" } = place.value.query;
  const [picked, setPicked] = useState<string[]>([]);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const slash = (event: KeyboardEvent): void => {
      if (event.key === "/" && !(event.target as Element).closest("input,textarea,select")) {
        event.preventDefault();
        box.current?.focus();
      }
    };
    addEventListener("keydown", slash);
    return () => removeEventListener("keydown", slash);
  }, []);
  return (
    <>
      <div class="head">
        <h1>Runs</h1>
        <div class="push">
          <label class="field">
            Filter
            <input
              ref={box}
              type="search"
              placeholder="words or a /regex/   [ / ]"
              value={q}
              onInput={(event) => note({ q: event.currentTarget.value })}
            />
          </label>
          <label class="field">
            State
            <select value={state} onChange={(event) => note({ state: event.currentTarget.value })}>
              <option value="">all</option>
              {["running", "completed", "stopped", "failed", "crashed"].map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          <a
            class={`button ${picked.length >= 2 ? "strong" : ""}`}
            aria-disabled={picked.length < 2}
            href={picked.length >= 2 ? link(["compare"], { runs: picked.join(",") }) : undefined}
            title="Choose two to five runs by their boxes"
          >
            Compare {picked.length || ""}
          </a>
        </div>
      </div>
      <Shown asked={runs} what="the runs">
        {(data) => {
          if (!data.total)
            return (
              <Empty title="Nothing recorded yet">
                <p>This lake is empty. Record something, and it appears here while it is being written:</p>
                <code>rolltape record CartPole-v1 --envs 8 --steps 20000</code>
              </Empty>
            );
          const fits = matcher(q);
          const rows = rowsOf(data.columns).filter((row) => (!state || row.status === state) && fits(row));
          const by = SORTABLE.includes(sort) ? sort : "created";
          rows.sort((a, b) => compare(a[by], b[by]) * (order === "asc" ? 1 : -1));
          return (
            <Panel class="flush" label="Runs">
              <Table
                caption="Runs"
                columns={columnsOf(sparks.data, picked, setPicked)}
                rows={rows.slice(0, 500)}
                rowKey={(row) => row.run_id}
                sort={{ by, order: order === "asc" ? "asc" : "desc" }}
                onSort={(name, way) => note({ sort: name, order: way })}
                onPick={(row) => go(link(["run", row.run_id, "episodes"]))}
              />
              {!rows.length && <p class="loading">No run fits the filter.</p>}
              {(rows.length > 500 || data.total > data.columns.run_id.length) && (
                <p class="pager">Showing {count(Math.min(500, rows.length))} of {count(data.total)} runs: filter to see others.</p>
              )}
            </Panel>
          );
        }}
      </Shown>
    </>
  );
}

function columnsOf(sparks: Sparks | null, picked: string[], setPicked: (ids: string[]) => void): Column<Row>[] {
  const pick = (id: string): void => {
    if (picked.includes(id)) setPicked(picked.filter((other) => other !== id));
    else if (picked.length < 5) setPicked([...picked, id]);
  };
  return [
    {
      name: "pick",
      title: <span class="hidden">Compare</span>,
      cell: (row) => (
        <input
          type="checkbox"
          aria-label={`Compare ${row.env_id ?? "run"} ${row.run_id.slice(-6)}`}
          checked={picked.includes(row.run_id)}
          disabled={!picked.includes(row.run_id) && picked.length >= 5}
          onChange={() => pick(row.run_id)}
        />
      ),
    },
    {
      name: "env_id",
      title: "Environment",
      sortable: true,
      cell: (row) => (
        <>
          <a class="clip" href={link(["run", row.run_id, "episodes"])} title={row.env_id}>
            {row.env_id ?? (row.status === "unreadable" ? "unreadable" : "external program")}
          </a>{" "}
          <span class="mono soft" title={row.run_id}>
            {row.run_id.slice(-6)}
          </span>
        </>
      ),
    },
    { name: "status", title: "State", sortable: true, cell: (row) => <Badge state={row.status} /> },
    { name: "created", title: "Started", sortable: true, cell: (row) => <span title={moment(row.created)}>{ago(row.created)}</span> },
    { name: "steps", title: "Steps", number: true, sortable: true, cell: (row) => count(row.steps) },
    { name: "episodes", title: "Episodes", number: true, sortable: true, cell: (row) => count(row.episodes) },
    { name: "mean_return", title: "Mean return", number: true, sortable: true, cell: (row) => figure(row.mean_return) },
    { name: "best", title: "Best", number: true, cell: (row) => figure(sparks?.[row.run_id]?.best) },
    {
      name: "spark",
      title: "Returns",
      cell: (row) => {
        const spark = sparks?.[row.run_id];
        return spark ? (
          <Spark values={spark.means} label={`Returns from ${figure(spark.means[0])} to ${figure(spark.means.at(-1))}`} />
        ) : (
          <span class="soft">–</span>
        );
      },
    },
    { name: "frames", title: "Pictures", cell: (row) => <span class="soft">{row.frames ?? "none"}</span> },
    { name: "bytes", title: "Size", number: true, sortable: true, cell: (row) => bytes(row.bytes) },
  ];
}

function matcher(text: string): (row: Row) => boolean {
  const shape = /^\/(.+)\/?$/.exec(text);
  const of = (row: Row): string => `${row.env_id} ${row.run_id} ${row.status} ${row.frames} seed=${row.seed}`;
  if (shape) {
    try {
      const pattern = new RegExp(shape[1].replace(/\/$/, ""), "i");
      return (row) => pattern.test(of(row));
    } catch {
      return () => true; // a pattern that is still being written
    }
  }
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => words.every((word) => of(row).toLowerCase().includes(word));
}

function compare(a: any, b: any): number {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return a < b ? -1 : 1;
}
