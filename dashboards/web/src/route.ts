// Where the viewer is, in the address: a path and parameters after the `#`. Everything that can be seen has an address.

import { computed, signal } from "@preact/signals";

export interface Place {
  path: string[];
  query: Record<string, string>;
}

function read(): Place {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  return {
    path: path.split("/").filter(Boolean).map(decodeURIComponent),
    query: Object.fromEntries(new URLSearchParams(search ?? "")),
  };
}

export const place = signal<Place>(read());
addEventListener("hashchange", () => (place.value = read()));

export function link(path: (string | number)[], query: Record<string, string | number | null | undefined> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `#/${path.map((part) => encodeURIComponent(String(part))).join("/")}${search ? `?${search}` : ""}`;
}

/** Change parameters of the address without a new entry in the browser's history. */
export function note(changes: Record<string, string | number | null | undefined>): void {
  const { path, query } = place.peek();
  if (read().path.join("/") !== path.join("/")) return; // the viewer has just left, and the page does not know it yet
  const hash = link(path, { ...query, ...changes });
  if (hash !== location.hash) {
    history.replaceState(null, "", hash);
    place.value = read();
  }
}

export function go(hash: string): void {
  location.hash = hash;
}

/** The run that the address names, or "". */
export const runInView = computed(() => (place.value.path[0] === "run" ? (place.value.path[1] ?? "") : ""));
