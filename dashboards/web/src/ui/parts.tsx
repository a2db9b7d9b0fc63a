// The small parts that pages are made of.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError, Asked } from "../api";

export function Icon({ name }: { name: string }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name] ?? ""} />
    </svg>
  );
}

const PATHS: Record<string, string> = {
  runs: "M3 5h14M3 10h14M3 15h9",
  live: "M10 8a2 2 0 1 0 0 4 2 2 0 0 0 0-4ZM5.5 5.5a6.4 6.4 0 0 0 0 9M14.5 5.5a6.4 6.4 0 0 1 0 9",
  flow: "M3 6h5l4 8h5M3 14h5l1-2M12 6h5M15 4l2 2-2 2M15 12l2 2-2 2",
  logs: "M4 4h12v12H4zM7 8h6M7 11h6M7 14h3",
  episodes: "M3 5h14v10H3zM7 5v10M13 5v10M3 10h4M13 10h4",
  config: "M4 6h7M15 6h1M4 14h1M9 14h7M13 4v4M7 12v4",
  schemas: "M3 4h5v4H3zM12 4h5v4h-5zM7.5 12h5v4h-5zM5.5 8v2h9V8M10 10v2",
  health: "M2 10h4l2-5 4 10 2-5h4",
  settings: "M4 4h12v12H4zM7 10l2 2 4-4",
  play: "M6 4l10 6-10 6z",
  pause: "M6 4v12M13 4v12",
  next: "M5 4l7 6-7 6zM15 4v12",
  back: "M15 4l-7 6 7 6zM5 4v12",
  loop: "M4 10a6 6 0 0 1 10-4l2 2M16 4v4h-4M16 10a6 6 0 0 1-10 4l-2-2M4 16v-4h4",
};

export function Panel(props: {
  title?: ComponentChildren;
  actions?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
  label?: string;
}): JSX.Element {
  return (
    <div class={`panel ${props.class ?? ""}`} role={props.label ? "group" : undefined} aria-label={props.label}>
      {(props.title || props.actions) && (
        <div class="panel-head">
          {props.title && <h2>{props.title}</h2>}
          <div class="actions">{props.actions}</div>
        </div>
      )}
      {props.children}
    </div>
  );
}

/** A state in words and shape, never in colour alone. */
export function Badge({ state }: { state: string }): JSX.Element {
  const { tone, sign } = STATES[state] ?? { tone: "plain", sign: "" };
  return (
    <span class={`badge ${tone}`}>
      <span aria-hidden="true">{sign}</span> {state.replace("_", " ")}
    </span>
  );
}

const STATES: Record<string, { tone: string; sign: string }> = {
  running: { tone: "live", sign: "●" },
  live: { tone: "live", sign: "●" },
  completed: { tone: "good", sign: "✓" },
  stopped: { tone: "plain", sign: "■" },
  failed: { tone: "bad", sign: "✕" },
  crashed: { tone: "bad", sign: "✕" },
  unreadable: { tone: "bad", sign: "?" },
  aborted: { tone: "warn", sign: "▲" },
  lost: { tone: "bad", sign: "✕" },
  open: { tone: "live", sign: "●" },
  starved: { tone: "warn", sign: "▲" },
  no_viewer: { tone: "plain", sign: "○" },
  error: { tone: "bad", sign: "✕" },
  warning: { tone: "warn", sign: "▲" },
  info: { tone: "plain", sign: "·" },
  debug: { tone: "plain", sign: "·" },
  reconnecting: { tone: "warn", sign: "↻" },
  connecting: { tone: "plain", sign: "↻" },
  ended: { tone: "plain", sign: "■" },
};

export function Figure(props: { name: string; value: ComponentChildren; note?: ComponentChildren; tone?: string }): JSX.Element {
  return (
    <div class={`figure ${props.tone ?? ""}`}>
      <dt>{props.name}</dt>
      <dd>
        <b>{props.value}</b>
        {props.note && <small>{props.note}</small>}
      </dd>
    </div>
  );
}

/** Text whose `names` stand between backticks, as docstrings have them. */
export function Ticked({ text }: { text: string }): JSX.Element {
  return <>{text.split("`").map((part, i) => (i % 2 ? <code key={i}>{part}</code> : part))}</>;
}

export function Empty(props: { title: string; children?: ComponentChildren; tone?: string }): JSX.Element {
  return (
    <div class={`empty ${props.tone ?? ""}`} role={props.tone === "bad" ? "alert" : undefined}>
      <svg viewBox="0 0 96 48" aria-hidden="true">
        <circle cx="26" cy="22" r="15" />
        <circle cx="70" cy="22" r="15" />
        <circle cx="26" cy="22" r="4" />
        <circle cx="70" cy="22" r="4" />
        <path d="M26 37h44" />
      </svg>
      <h2>{props.title}</h2>
      {props.children}
    </div>
  );
}

export function Loading({ what }: { what: string }): JSX.Element {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSeen(true), 250); // what is quick needs no word
    return () => clearTimeout(timer);
  }, []);
  return (
    <p class="loading" role="status">
      {seen ? `Reading ${what} …` : ""}
    </p>
  );
}

export function Failed({ error }: { error: ApiError }): JSX.Element {
  const title = { not_found: "Not there", damaged: "Damaged", unavailable: "Cannot be shown", token: "No access" }[error.code];
  return (
    <Empty title={title ?? "That did not work"} tone="bad">
      <p class="prose">{error.message}</p>
    </Empty>
  );
}

/** Its content once the server has answered; until then, and where it fails, that. */
export function Shown<T>(props: { asked: Asked<T>; what: string; children: (data: T) => ComponentChildren }): JSX.Element {
  const { data, error } = props.asked;
  if (data !== null) return <>{props.children(data)}</>;
  if (error) return <Failed error={error} />;
  return <Loading what={props.what} />;
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }): JSX.Element {
  const [done, setDone] = useState(false);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Only secure pages have the clipboard: the old way works elsewhere.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return (
    <button type="button" class="quiet" onClick={copy}>
      {done ? "Copied" : label}
    </button>
  );
}

export interface Column<Row> {
  name: string;
  title: ComponentChildren;
  cell: (row: Row) => ComponentChildren;
  number?: boolean;
  sortable?: boolean;
  hint?: string;
}

export function Table<Row>(props: {
  caption: string;
  columns: Column<Row>[];
  rows: Row[];
  rowKey: (row: Row) => string | number;
  sort?: { by: string; order: "asc" | "desc" };
  onSort?: (by: string, order: "asc" | "desc") => void;
  current?: (row: Row) => boolean;
  onPick?: (row: Row) => void;
  children?: ComponentChildren;
}): JSX.Element {
  const { sort, onSort, onPick } = props;
  const again = (name: string): void => {
    onSort?.(name, sort?.by === name && sort.order === "desc" ? "asc" : "desc");
  };
  return (
    <div class="table" tabIndex={0} role="region" aria-label={props.caption}>
      <table>
        <caption class="hidden">{props.caption}</caption>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th
                key={column.name}
                scope="col"
                class={column.number ? "number" : ""}
                title={column.hint}
                aria-sort={sort?.by === column.name ? (sort.order === "asc" ? "ascending" : "descending") : undefined}
              >
                {column.sortable && onSort ? (
                  <button type="button" class="sort" onClick={() => again(column.name)}>
                    {column.title}
                    <span aria-hidden="true">{sort?.by === column.name ? (sort.order === "asc" ? " ↑" : " ↓") : ""}</span>
                  </button>
                ) : (
                  column.title
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((row) => (
            <tr
              key={props.rowKey(row)}
              class={`${props.current?.(row) ? "current" : ""} ${onPick ? "pick" : ""}`}
              aria-current={props.current?.(row) ? "true" : undefined}
              onClick={onPick && ((event) => !(event.target as Element).closest("a,button,input,label") && onPick(row))}
            >
              {props.columns.map((column) => (
                <td key={column.name} class={column.number ? "number" : ""}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {props.children}
    </div>
  );
}

export function Pager(props: { total: number; offset: number; limit: number; what: string; go: (offset: number) => void }): JSX.Element {
  const { total, offset, limit } = props;
  const last = Math.min(offset + limit, total);
  return (
    <nav class="pager" aria-label={`Pages of ${props.what}`}>
      <span>
        {total ? `${(offset + 1).toLocaleString("en-US")}–${last.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} ${props.what}` : `No ${props.what}`}
      </span>
      <button type="button" class="quiet" disabled={offset === 0} onClick={() => props.go(Math.max(0, offset - limit))}>
        Previous
      </button>
      <button type="button" class="quiet" disabled={last >= total} onClick={() => props.go(offset + limit)}>
        Next
      </button>
    </nav>
  );
}

export function Spark({ values, label }: { values: (number | null)[]; label: string }): JSX.Element {
  const known = values.filter((value): value is number => value !== null && Number.isFinite(value));
  if (known.length < 2) return <span class="soft">–</span>;
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  const points = values
    .map((value, i) => (value === null ? "" : `${((i / (values.length - 1)) * 78 + 1).toFixed(1)},${(17 - ((value - low) / span) * 14).toFixed(1)}`))
    .filter(Boolean);
  return (
    <svg class="spark" viewBox="0 0 80 20" role="img" aria-label={label}>
      <polyline points={points.join(" ")} />
    </svg>
  );
}

/** Bars of a histogram; a range of them can be chosen by dragging, and by the two inputs beside it. */
export function Histogram(props: {
  edges: number[];
  counts: number[];
  name: string;
  low: number | null;
  high: number | null;
  onRange: (low: number | null, high: number | null) => void;
}): JSX.Element {
  const box = useRef<SVGSVGElement>(null);
  const from = useRef<number | null>(null);
  const { edges, counts } = props;
  if (!counts.length) return <p class="soft">No episode has ended yet.</p>;
  const most = Math.max(...counts);
  const span = edges[edges.length - 1] - edges[0] || 1;
  const at = (event: PointerEvent): number => {
    const rect = (box.current as SVGSVGElement).getBoundingClientRect();
    return Math.min(counts.length - 1, Math.max(0, Math.floor(((event.clientX - rect.left) / rect.width) * counts.length)));
  };
  const inside = (i: number): boolean =>
    (props.low === null || edges[i + 1] >= props.low - span * 1e-9) && (props.high === null || edges[i] <= props.high + span * 1e-9);
  const done = (event: PointerEvent): void => {
    if (from.current === null) return;
    const [a, b] = [from.current, at(event)].sort((x, y) => x - y);
    from.current = null;
    if (a === b && props.low !== null) props.onRange(null, null);
    else props.onRange(edges[a], edges[b + 1]);
  };
  return (
    <svg
      ref={box}
      class="histogram"
      viewBox={`0 0 ${counts.length * 10} 60`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${props.name}: from ${edges[0]} to ${edges[edges.length - 1]}, most often near ${edges[counts.indexOf(most)].toPrecision(3)}`}
      onPointerDown={(event) => {
        from.current = at(event);
        (event.target as Element).setPointerCapture?.(event.pointerId);
      }}
      onPointerUp={done}
    >
      <rect class="ground" x="0" y="0" width={counts.length * 10} height="60" />
      {counts.map((n, i) => (
        <rect key={i} class={inside(i) ? "in" : "out"} x={i * 10 + 0.75} width="8.5" y={58 - (n / most) * 56} height={n ? Math.max(1.5, (n / most) * 56) : 0} />
      ))}
    </svg>
  );
}
