// Asking the server. Addresses are relative, so that the page works below any prefix.

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

/** Whether the token was refused, or the server cannot be reached. */
export const trouble = signal<"" | "token" | "gone">("");

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | boolean | null | undefined>;

export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `./api/${path}${search ? `?${search}` : ""}`;
}

export async function ask(path: string, query: Query = {}, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address(path, query), { signal, credentials: "same-origin" });
  } catch (error) {
    if (!signal?.aborted) trouble.value = "gone";
    throw error;
  }
  if (response.status === 401) trouble.value = "token";
  else if (trouble.value) trouble.value = "";
  if (!response.ok) {
    const told = await response.json().catch(() => ({ error: "server", message: `The server answered ${response.status}.` }));
    throw new ApiError(response.status, told.error, told.message);
  }
  return response;
}

export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return (await ask(path, query, signal)).json() as Promise<T>;
}

export interface Asked<T> {
  data: T | null;
  error: ApiError | null;
  loading: boolean;
}

/** What the server says; asked again when the question changes, and every `every` ms while the page is seen. */
export function useApi<T>(path: string | null, query: Query = {}, every = 0): Asked<T> {
  const [asked, setAsked] = useState<Asked<T> & { key: string }>({ data: null, error: null, loading: true, key: "" });
  const key = path === null ? "" : address(path, query);
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async (): Promise<void> => {
      try {
        if (!document.hidden || !every) {
          const data = await get<T>(path, query, stop.signal);
          setAsked({ data, error: null, loading: false, key });
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        const known = error instanceof ApiError ? error : new ApiError(0, "gone", "The server cannot be reached.");
        setAsked((before) => ({ data: before.key === key ? before.data : null, error: known, loading: false, key }));
      }
      if (every && !stop.signal.aborted) timer = setTimeout(load, every);
    };
    void load();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [key, every]);
  // What was said to another question is kept in view for as long as the new answer takes, but not across paths.
  return asked.key.split("?")[0] === key.split("?")[0] ? asked : { data: null, error: null, loading: true };
}

export type Columns = Record<string, any[]>;

/** The rows of columns, for lists that are short. */
export function rowsOf(columns: Columns): Record<string, any>[] {
  const names = Object.keys(columns);
  const n = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: n }, (_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
}
