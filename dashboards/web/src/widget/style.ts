// How the widgets look: in the colours of the notebook around them, dark or light.

import type { Ink } from "../core/draw";

const STYLE = `
.rt{font:13px/1.45 system-ui,sans-serif;color:var(--jp-ui-font-color1,inherit);display:block;max-width:100%}
.rt-bar{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:center;margin:4px 0}
.rt-faint{opacity:.75}
.rt-tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(var(--rt-tile,160px),1fr));gap:8px;max-width:1100px}
.rt figure{margin:0;border:1px solid color-mix(in srgb,currentColor 22%,transparent);border-radius:6px;overflow:hidden;min-width:0}
.rt canvas{display:block;width:100%;height:auto;image-rendering:auto;background:color-mix(in srgb,currentColor 5%,transparent)}
.rt figcaption{padding:2px 6px;font-size:12px;display:flex;gap:6px;justify-content:space-between;white-space:nowrap;overflow:hidden}
.rt button,.rt select{font:inherit;color:inherit;background:color-mix(in srgb,currentColor 8%,transparent);border:1px solid color-mix(in srgb,currentColor 30%,transparent);border-radius:5px;padding:2px 10px;min-height:26px;cursor:pointer}
.rt select option{color:#111;background:#fff}
.rt button:focus-visible,.rt select:focus-visible,.rt input:focus-visible{outline:2px solid #2f7fc1;outline-offset:2px}
.rt input[type=range]{flex:1 1 160px;min-width:120px;accent-color:#2f7fc1}
.rt-note{padding:3px 8px;border-left:3px solid #d9822b;margin:4px 0}
.rt-note:empty{display:none}
.rt figcaption>:first-child{overflow:hidden;text-overflow:ellipsis}
.rt-state{flex:none;font-weight:600;font-size:11px}
.rt-player{max-width:640px}
.rt-player .rt-plot{height:46px;width:100%}
`;

/** An element with the style, emptied. */
export function styled(el: HTMLElement): HTMLElement {
  const style = document.createElement("style");
  style.textContent = STYLE;
  const root = document.createElement("div");
  root.className = "rt";
  el.replaceChildren(style, root);
  return root;
}

export function inkOf(el: HTMLElement): Ink {
  const ink = getComputedStyle(el).color || "#222";
  return { paper: "rgba(127,127,127,.15)", ink, faint: "#8b9097", accent: "#2f7fc1", mono: "ui-monospace, monospace" };
}

const CONTROLS = new Set<string>(["button", "input", "select"]);

/** A new element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  // JupyterLab takes arrow keys from whatever has the focus, unless that itself says so: its ancestors are not asked.
  if (CONTROLS.has(name)) made.setAttribute("data-lm-suppress-shortcuts", "true");
  return made;
}
