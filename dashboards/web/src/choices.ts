// What a viewer chose and finds again: kept in the browser, never sent.

import { effect, signal, type Signal } from "@preact/signals";

export function kept<T>(name: string, usual: T): Signal<T> {
  let first = usual;
  try {
    const text = localStorage.getItem(`rolltape.${name}`);
    if (text !== null) first = JSON.parse(text) as T;
  } catch {
    // A browser that keeps nothing, or something else under that name: the usual choice holds.
  }
  const value = signal(first);
  effect(() => {
    try {
      localStorage.setItem(`rolltape.${name}`, JSON.stringify(value.value));
    } catch {
      // As above.
    }
  });
  return value;
}

export type Theme = "auto" | "light" | "dark";
export const theme = kept<Theme>("theme", "auto");
const darkScreen = matchMedia("(prefers-color-scheme: dark)");
/** Rises whenever the colours change, so that canvases draw again. */
export const inkChanged = signal(0);

function apply(): void {
  const dark = theme.value === "dark" || (theme.value === "auto" && darkScreen.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  inkChanged.value = inkChanged.peek() + 1;
}
effect(apply);
darkScreen.addEventListener("change", apply);

/** Colours of the page for a canvas. */
export function ink(): Record<string, string> {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    paper: of("panel"),
    ink: of("ink"),
    soft: of("soft"),
    faint: of("line-strong"),
    line: of("line"),
    accent: of("accent"),
    onAccent: of("on-accent"),
    mono: of("mono"),
    good: of("good"),
    warn: of("warn"),
    bad: of("bad"),
    ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8].map((n) => [`s${n}`, of(`s${n}`)])),
  };
}
