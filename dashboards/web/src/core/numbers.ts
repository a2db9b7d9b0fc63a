// Numbers, sizes and times as a person reads them.

export type Value = number | string | null | undefined;

/** A float of the API: three words stand for what JSON cannot say. */
export function float(value: Value): number | null {
  if (value === null || value === undefined) return null;
  return typeof value === "number" ? value : Number(value);
}

export function count(value: Value): string {
  const n = float(value);
  return n === null ? "–" : n.toLocaleString("en-US", { maximumFractionDigits: 0 });
}

/** At most four significant digits, so that a column of them can be compared. */
export function figure(value: Value): string {
  const n = float(value);
  if (n === null) return "–";
  if (!Number.isFinite(n)) return Number.isNaN(n) ? "NaN" : n > 0 ? "∞" : "−∞";
  if (Number.isInteger(n) && Math.abs(n) < 1e6) return n.toLocaleString("en-US");
  const size = Math.abs(n);
  if (size >= 1e6 || (size < 1e-3 && size > 0)) return n.toExponential(2);
  return n.toLocaleString("en-US", { maximumSignificantDigits: 4 });
}

export function bytes(value: Value): string {
  const n = float(value);
  if (n === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = n < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  const scaled = n / 1000 ** power;
  return `${scaled.toLocaleString("en-US", { maximumFractionDigits: power && scaled < 10 ? 1 : 0 })} ${units[power]}`;
}

export function seconds(value: Value): string {
  const s = float(value);
  if (s === null) return "–";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 120) return `${s.toLocaleString("en-US", { maximumFractionDigits: 1 })} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
}

export function percent(value: Value): string {
  const n = float(value);
  return n === null ? "–" : `${(n * 100).toLocaleString("en-US", { maximumFractionDigits: 1 })} %`;
}

const TWO = (n: number): string => String(n).padStart(2, "0");

/** Local date and time of UTC milliseconds. */
export function moment(ms: Value): string {
  const n = float(ms);
  if (n === null) return "–";
  const d = new Date(n);
  return `${d.getFullYear()}-${TWO(d.getMonth() + 1)}-${TWO(d.getDate())} ${clock(n)}`;
}

export function clock(ms: number, fraction = false): string {
  const d = new Date(ms);
  const rest = fraction ? `.${String(d.getMilliseconds()).padStart(3, "0")}` : "";
  return `${TWO(d.getHours())}:${TWO(d.getMinutes())}:${TWO(d.getSeconds())}${rest}`;
}

/** "3 min ago". */
export function ago(ms: Value, now = Date.now()): string {
  const n = float(ms);
  if (n === null) return "–";
  const s = Math.max(0, (now - n) / 1000);
  if (s < 60) return "just now";
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86_400)} d ago`;
}

export function many(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`;
}

/** A setting in one line, with all its digits. */
export function exactly(value: unknown): string {
  return typeof value === "number" ? value.toLocaleString("en-US", { maximumSignificantDigits: 17 }) : said(value);
}

/** Any value of the API in one line. */
export function said(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return figure(value);
  if (typeof value === "boolean") return value ? "true" : "false";
  if (Array.isArray(value)) return `[${value.map(said).join(", ")}]`;
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}
