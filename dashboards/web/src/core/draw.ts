// Drawing payloads on a canvas. Sizes are in CSS pixels; the caller's canvas may be denser.

import type { GraphPayload, GridPayload, Payload, TextPayload } from "./payload";

export interface Ink {
  paper: string;
  ink: string;
  faint: string;
  accent: string;
  /** Of words on the accent; white where it is not said. */
  onAccent?: string;
  mono: string;
}

const NAMED: Record<string, string> = {
  lightblue: "#cfe4f2",
  navy: "#1d3f66",
  gold: "#e3b23c",
  lightgrey: "#dfe1e4",
  grey: "#8b9097",
};

/** Draw whatever it is into a box of that size. */
export function drawPayload(to: CanvasRenderingContext2D, payload: Payload, width: number, height: number, ink: Ink): void {
  to.clearRect(0, 0, width, height);
  if (payload.kind === "grid") drawGrid(to, payload, width, height, ink);
  else if (payload.kind === "graph") drawGraph(to, payload, width, height, ink);
  else if (payload.kind === "text") drawText(to, payload, width, height, ink);
}

function drawGrid(to: CanvasRenderingContext2D, grid: GridPayload, width: number, height: number, ink: Ink): void {
  const side = Math.min(width / grid.columns, height / grid.rows);
  const left = (width - side * grid.columns) / 2;
  const top = (height - side * grid.rows) / 2;
  const colors = grid.tiles.map(tileColor);
  for (let row = 0; row < grid.rows; row++) {
    for (let column = 0; column < grid.columns; column++) {
      to.fillStyle = colors[grid.cells[row][column]];
      to.fillRect(left + column * side, top + row * side, Math.ceil(side), Math.ceil(side));
    }
  }
  if (side >= 8) {
    to.strokeStyle = "rgba(40, 44, 52, 0.18)";
    to.lineWidth = 1;
    to.beginPath();
    for (let row = 0; row <= grid.rows; row++) line(to, left, top + row * side, left + grid.columns * side, top + row * side);
    for (let column = 0; column <= grid.columns; column++)
      line(to, left + column * side, top, left + column * side, top + grid.rows * side);
    to.stroke();
  }
  to.strokeStyle = "#22262d";
  to.lineWidth = Math.max(2, side / 12);
  to.lineCap = "round";
  to.beginPath();
  for (const [row, column, where] of grid.walls) {
    const x = left + column * side;
    const y = top + row * side;
    if (where === "east") line(to, x + side, y, x + side, y + side);
    else line(to, x, y + side, x + side, y + side);
  }
  to.stroke();
  for (const item of grid.items) {
    const x = left + (item.column + 0.5) * side;
    const y = top + (item.row + 0.5) * side;
    to.fillStyle = item.color || ink.accent;
    to.strokeStyle = "rgba(255, 255, 255, 0.9)";
    to.lineWidth = Math.max(1, side / 20);
    to.beginPath();
    if (item.facing) arrow(to, x, y, side * 0.34, item.facing);
    else if (item.name === "agent") to.arc(x, y, side * 0.3, 0, 2 * Math.PI);
    else if (item.name === "goal" || item.name === "destination") to.rect(x - side * 0.36, y - side * 0.36, side * 0.72, side * 0.72);
    else diamond(to, x, y, side * 0.27);
    to.fill();
    to.stroke();
    if (item.label) {
      to.fillStyle = item.color ? "#fff" : (ink.onAccent ?? "#fff");
      to.font = `600 ${Math.round(side * 0.3)}px ${ink.mono}`;
      to.textAlign = "center";
      to.textBaseline = "middle";
      to.fillText(item.label, x, y + side * 0.02, side * 0.7);
    }
  }
}

function tileColor(tile: string): string {
  const [name, color] = tile.split(" ");
  if (color) return NAMED[color] ?? color;
  return { wall: "#5b616b", floor: "#eceef0", goal: "#5aa469", lava: "#d9603b", door: "#b98b4e" }[name] ?? "#e7e9ec";
}

function line(to: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  to.moveTo(x1, y1);
  to.lineTo(x2, y2);
}

function arrow(to: CanvasRenderingContext2D, x: number, y: number, r: number, facing: string): void {
  const turn = { right: 0, down: 0.5, left: 1, up: 1.5 }[facing] ?? 0;
  for (const [i, [angle, reach]] of [[0, 1], [0.77, 1], [1, 0.35], [1.23, 1]].entries()) {
    const at = (turn + angle) * Math.PI;
    const px = x + r * reach * Math.cos(at);
    const py = y + r * reach * Math.sin(at);
    if (i) to.lineTo(px, py);
    else to.moveTo(px, py);
  }
  to.closePath();
}

function diamond(to: CanvasRenderingContext2D, x: number, y: number, r: number): void {
  to.moveTo(x, y - r);
  to.lineTo(x + r, y);
  to.lineTo(x, y + r);
  to.lineTo(x - r, y);
  to.closePath();
}

type Places = Map<string, [number, number]>;

/** Where nodes lie, 0 to 1. Layers from the first node on, for those that do not say it themselves. */
export function placesOf(graph: GraphPayload): Places {
  const places: Places = new Map();
  for (const node of graph.nodes) if (node.x !== null && node.y !== null) places.set(node.id, [node.x, node.y]);
  const left = graph.nodes.filter((node) => !places.has(node.id));
  if (!left.length) return places;
  const next = new Map<string, string[]>();
  const entered = new Set<string>();
  for (const { source, target } of graph.edges) {
    next.set(source, [...(next.get(source) ?? []), target]);
    if (!graph.directed) next.set(target, [...(next.get(target) ?? []), source]);
    entered.add(target);
  }
  const depth = new Map<string, number>();
  const roots = graph.directed ? left.filter((node) => !entered.has(node.id)) : [];
  let queue = (roots.length ? roots : left.slice(0, 1)).map((node) => node.id);
  for (const id of queue) depth.set(id, 0);
  for (;;) {
    while (queue.length) {
      const id = queue.shift() as string;
      for (const to of next.get(id) ?? []) {
        if (!depth.has(to)) {
          depth.set(to, (depth.get(id) ?? 0) + 1);
          queue.push(to);
        }
      }
    }
    const alone = left.find((node) => !depth.has(node.id));
    if (!alone) break;
    depth.set(alone.id, 0);
    queue = [alone.id];
  }
  const layers = new Map<number, string[]>();
  for (const node of left) {
    const at = depth.get(node.id) ?? 0;
    layers.set(at, [...(layers.get(at) ?? []), node.id]);
  }
  const last = Math.max(...layers.keys());
  for (const [at, ids] of layers) {
    ids.forEach((id, i) => places.set(id, [(i + 0.5) / ids.length, last ? 0.08 + (0.84 * at) / last : 0.5]));
  }
  return places;
}

function drawGraph(to: CanvasRenderingContext2D, graph: GraphPayload, width: number, height: number, ink: Ink): void {
  const places = placesOf(graph);
  const r = Math.max(4, Math.min(18, Math.min(width, height) / (2.4 * Math.sqrt(graph.nodes.length + 1))));
  const at = (id: string): [number, number] => {
    const [x, y] = places.get(id) ?? [0.5, 0.5];
    return [r * 1.4 + x * (width - 2.8 * r), r * 1.4 + y * (height - 2.8 * r)];
  };
  for (const edge of graph.edges) {
    const [x1, y1] = at(edge.source);
    const [x2, y2] = at(edge.target);
    const angle = Math.atan2(y2 - y1, x2 - x1);
    to.strokeStyle = edge.role ? ink.accent : ink.faint;
    to.fillStyle = to.strokeStyle;
    to.lineWidth = edge.role ? 2.5 : 1.25;
    to.beginPath();
    line(to, x1, y1, x2 - r * Math.cos(angle), y2 - r * Math.sin(angle));
    to.stroke();
    if (graph.directed) {
      to.beginPath();
      const [tx, ty] = [x2 - r * Math.cos(angle), y2 - r * Math.sin(angle)];
      to.moveTo(tx, ty);
      for (const side of [0.45, -0.45]) to.lineTo(tx - r * 0.7 * Math.cos(angle + side), ty - r * 0.7 * Math.sin(angle + side));
      to.fill();
    }
  }
  for (const node of graph.nodes) {
    const [x, y] = at(node.id);
    to.beginPath();
    to.arc(x, y, r, 0, 2 * Math.PI);
    to.fillStyle = node.role === "agent" ? ink.accent : node.role === "goal" ? "#3d8b57" : node.role ? ink.faint : ink.paper;
    to.strokeStyle = node.role === "agent" ? ink.accent : ink.ink;
    to.lineWidth = 1.5;
    to.fill();
    to.stroke();
    if (r >= 8) {
      to.fillStyle = node.role === "agent" ? (ink.onAccent ?? "#fff") : node.role === "goal" ? "#fff" : ink.ink;
      to.font = `${Math.round(r * 0.8)}px ${ink.mono}`;
      to.textAlign = "center";
      to.textBaseline = "middle";
      to.fillText(node.label || node.id, x, y + 0.5, 1.7 * r);
    }
  }
}

function drawText(to: CanvasRenderingContext2D, text: TextPayload, width: number, height: number, ink: Ink): void {
  const longest = Math.max(1, ...text.lines.map((line) => line.length));
  const size = Math.max(6, Math.min(18, (width - 16) / (longest * 0.61), (height - 12) / (text.lines.length * 1.35 || 1)));
  to.font = `${size}px ${ink.mono}`;
  to.fillStyle = ink.ink;
  to.textAlign = "left";
  to.textBaseline = "top";
  const top = Math.max(6, (height - text.lines.length * size * 1.35) / 2);
  text.lines.forEach((words, i) => to.fillText(words, 8, top + i * size * 1.35));
}
