// Which lines are drawn of an episode, and where they break.

import { float } from "../core/numbers";
import type { Line } from "../ui/plot";
import type { SeriesData } from "./replay_data";

/** Plots of an episode: reward and return, actions, then observations and infos, four lines a plot at most. */
export function linesOf(data: SeriesData | null): { title: string; x: number[]; lines: Line[] }[] {
  if (!data) return [];
  const { x, at } = broken(data.t);
  const values = (name: string): (number | null)[] => at.map((i) => (i < 0 ? null : float(data.lines[name][i])));
  const names = Object.keys(data.lines);
  const groups: { title: string; members: string[] }[] = [];
  if (names.includes("reward")) groups.push({ title: "reward", members: ["reward"] }, { title: "return so far", members: ["return so far"] });
  const rest = names.filter((name) => !["reward", "return so far"].includes(name));
  const infos = rest.filter((name) => name.startsWith("info."));
  const others = rest.filter((name) => !name.startsWith("info."));
  const actions = others.filter((name) => name === "action" || name.startsWith("action"));
  const seen = others.filter((name) => !actions.includes(name));
  if (actions.length) groups.push({ title: "action", members: actions.slice(0, 8) });
  for (let i = 0; i < Math.min(seen.length, 16); i += 4) {
    const members = seen.slice(i, i + 4);
    groups.push({ title: seen.length > 4 ? `observation ${i}–${i + members.length - 1}` : "observation", members });
  }
  const families = new Map<string, string[]>();
  for (const name of infos) {
    const family = name.replace(/\[\d+\]$/, "");
    families.set(family, [...(families.get(family) ?? []), name]);
  }
  for (const [title, members] of [...families].slice(0, 8)) groups.push({ title, members: members.slice(0, 8) });
  return groups
    .map(({ title, members }) => ({
      title: members.length === 1 && title === "observation" ? members[0] : title,
      x,
      lines: members.map((name) => ({ name, values: values(name), steps: ["reward", "action"].includes(name) })),
    }))
    .filter((group) => group.lines.some((line) => line.values.some((value) => value !== null)));
}

/** Where t jumps although nothing was thinned, a null breaks the lines: a gap is drawn as one. */
function broken(t: number[]): { x: number[]; at: number[] } {
  const x: number[] = [];
  const at: number[] = [];
  const usual = t.length > 1 ? Math.max(1, (t[t.length - 1] - t[0]) / (t.length - 1)) : 1;
  t.forEach((value, i) => {
    if (i && value - t[i - 1] > Math.max(1, usual * 3)) {
      x.push((value + t[i - 1]) / 2);
      at.push(-1);
    }
    x.push(value);
    at.push(i);
  });
  return { x, at };
}
