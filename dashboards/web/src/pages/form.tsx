// A form made of the settings' JSON Schema: ranges and what risky values cost beside each; gives TOML and the command.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { useApi } from "../api";
import { note, place } from "../route";
import { Copy, Panel, Shown } from "../ui/parts";

interface Leaf {
  key: string;
  type: "boolean" | "integer" | "number" | "string" | "array";
  choices: string[] | null;
  nullable: boolean;
  usual: any;
  unit: string;
  reason: string;
  low: number | null;
  high: number | null;
  above: number | null;
  below: number | null;
  risks: { when: string; cost: string }[];
}

type Schema = Record<string, any>;

/** All leaves of the schema, with the path of each key. */
export function leavesOf(schema: Schema, root: Schema = schema, path = "", usual: any = undefined): Leaf[] {
  const found: Leaf[] = [];
  const properties = (schema.properties ?? {}) as Record<string, Schema>;
  for (const [name, given] of Object.entries(properties)) {
    const key = path ? `${path}.${name}` : name;
    const one = resolved(given, root);
    const standard = usual?.[name] !== undefined ? usual[name] : (given.default ?? one.default);
    if (one.properties) found.push(...leavesOf(one, root, key, standard));
    else found.push(leaf(key, { ...one, ...given }, root, standard));
  }
  return found;
}

function resolved(schema: Schema, root: Schema): Schema {
  const name = /^#\/\$defs\/(.+)$/.exec(schema.$ref ?? "")?.[1];
  if (name) return resolved(root.$defs[name], root);
  if (schema.allOf?.length === 1) return resolved(schema.allOf[0], root);
  return schema;
}

function leaf(key: string, schema: Schema, root: Schema, usual: any): Leaf {
  const kinds: Schema[] = (schema.anyOf ?? [schema]).map((one: Schema) => resolved(one, root));
  const real = kinds.find((one) => one.type !== "null") ?? schema;
  const all: Schema = { ...real, ...Object.fromEntries(Object.entries(schema).filter(([name]) => name !== "anyOf")) };
  const bound = (name: string): number | null => (typeof all[name] === "number" ? all[name] : null);
  return {
    key,
    type: all.enum ? "string" : (all.type ?? "string"),
    choices: all.enum ?? (all.const !== undefined ? [all.const] : null),
    nullable: kinds.some((one) => one.type === "null"),
    usual,
    unit: all.unit ?? "",
    reason: all.description ?? "",
    low: bound("minimum"),
    high: bound("maximum"),
    above: bound("exclusiveMinimum"),
    below: bound("exclusiveMaximum"),
    risks: all.risks ?? [],
  };
}

/** A value from what was typed; null where nothing was. Throws with what is allowed. */
export function valueOf(leaf: Leaf, text: string): any {
  if (text === "") return null;
  if (leaf.type === "boolean") return text === "true";
  if (leaf.type === "array") return text.split(",").map((one) => one.trim()).filter(Boolean);
  if (leaf.type === "string") {
    if (leaf.choices && !leaf.choices.includes(text)) throw new Error(`one of ${leaf.choices.join(", ")}`);
    return text;
  }
  const n = Number(text.replace(/_/g, ""));
  if (!Number.isFinite(n)) throw new Error("a number");
  if (leaf.type === "integer" && !Number.isInteger(n)) throw new Error("a whole number");
  if (leaf.low !== null && n < leaf.low) throw new Error(`at least ${leaf.low}`);
  if (leaf.high !== null && n > leaf.high) throw new Error(`at most ${leaf.high}`);
  if (leaf.above !== null && n <= leaf.above) throw new Error(`more than ${leaf.above}`);
  if (leaf.below !== null && n >= leaf.below) throw new Error(`less than ${leaf.below}`);
  return n;
}

/** What a value costs, of the risks of its leaf. */
export function costsOf(leaf: Leaf, value: any): string[] {
  const number = (text: string): number => Number(text.replace(/,/g, ""));
  return leaf.risks
    .filter(({ when }) => {
      const sides = [...when.matchAll(/(below|above) ([\d.,e+-]+)/g)];
      if (sides.length) return sides.some(([, side, at]) => typeof value === "number" && (side === "below" ? value < number(at) : value > number(at)));
      return JSON.stringify(value) === when.replace(/'/g, '"').replace("True", "true").replace("False", "false");
    })
    .map(({ cost }) => cost);
}

export function asToml(pairs: [string, any][]): string {
  const sections = new Map<string, string[]>();
  for (const [key, value] of pairs) {
    const parts = key.split(".");
    const name = parts.pop() as string;
    const section = parts.join(".");
    sections.set(section, [...(sections.get(section) ?? []), `${name} = ${tomlValue(value)}`]);
  }
  const blocks = [...sections].sort(([a], [b]) => (a < b ? -1 : 1)).map(([section, lines]) => (section ? `[${section}]\n${lines.join("\n")}` : lines.join("\n")));
  return blocks.length ? `${blocks.join("\n\n")}\n` : "";
}

function tomlValue(value: any): string {
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(", ")}]`;
  return JSON.stringify(value);
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`;
}

export function Form(): JSX.Element {
  const asked = useApi<{ schema: Schema }>("settings/schema");
  const { q = "", env = "CartPole-v1" } = place.value.query;
  const [typed, setTyped] = useState<Record<string, string>>({});
  const leaves = useMemo(() => (asked.data ? leavesOf(asked.data.schema) : []), [asked.data]);
  const wrong: Record<string, string> = {};
  const values: [string, any][] = [];
  for (const one of leaves) {
    try {
      const value = valueOf(one, typed[one.key] ?? "");
      if (value !== null && JSON.stringify(value) !== JSON.stringify(one.usual)) values.push([one.key, value]);
    } catch (error) {
      wrong[one.key] = (error as Error).message;
    }
  }
  const toml = asToml(values);
  const sets = values.map(([key, value]) => `  --set ${shellWord(`${key}=${Array.isArray(value) ? JSON.stringify(value) : value}`)}`);
  const command = [`rolltape record ${shellWord(env)} --steps 100000`, ...sets].join(" \\\n");
  const sections = new Map<string, Leaf[]>();
  for (const one of leaves) {
    if (!one.key.toLowerCase().includes(q.toLowerCase()) && !one.reason.toLowerCase().includes(q.toLowerCase())) continue;
    const section = one.key.split(".").slice(0, -1).join(".");
    sections.set(section, [...(sections.get(section) ?? []), one]);
  }
  return (
    <>
      <div class="head">
        <h1>Settings form</h1>
        <div class="push">
          <label class="field">
            Find
            <input type="search" value={q} placeholder="key or word" onInput={(event) => note({ q: event.currentTarget.value })} />
          </label>
          <label class="field">
            Environment
            <input type="text" value={env} onInput={(event) => note({ env: event.currentTarget.value })} />
          </label>
          <button type="button" class="quiet" disabled={!Object.keys(typed).length} onClick={() => setTyped({})}>
            Reset
          </button>
        </div>
      </div>
      <p class="soft">Fill in what should differ from its default. Nothing is sent anywhere: copy the TOML or the command.</p>
      <Shown asked={asked} what="the settings">
        {() => (
          <div class="with-side">
            <form class="form" onSubmit={(event) => event.preventDefault()} aria-label="Settings">
              {[...sections].map(([section, list]) => (
                <fieldset key={section}>
                  <legend>{section || "general"}</legend>
                  {list.map((one) => (
                    <Setting key={one.key} leaf={one} text={typed[one.key] ?? ""} wrong={wrong[one.key]} set={(text) => setTyped({ ...typed, [one.key]: text })} />
                  ))}
                </fieldset>
              ))}
            </form>
            <div class="stack" style={{ position: "sticky", top: "72px" }}>
              <Panel title="Command" actions={<Copy text={command} />}>
                <pre tabIndex={0}>{command}</pre>
              </Panel>
              <Panel title="rolltape.toml" actions={<Copy text={toml} />}>
                <pre tabIndex={0} aria-label="TOML">
                  {toml || "# all defaults"}
                </pre>
              </Panel>
              {Object.keys(wrong).length > 0 && (
                <p class="banner bad" role="alert">
                  {Object.keys(wrong).length} values are not allowed and left out.
                </p>
              )}
            </div>
          </div>
        )}
      </Shown>
    </>
  );
}

function Setting(props: { leaf: Leaf; text: string; wrong?: string; set: (text: string) => void }): JSX.Element {
  const { leaf: one, text, set } = props;
  const id = `set-${one.key}`;
  const usual = Array.isArray(one.usual) ? one.usual.join(", ") : String(one.usual ?? "");
  let costs: string[] = [];
  try {
    const value = valueOf(one, text);
    if (value !== null) costs = costsOf(one, value);
  } catch {
    // What is wrong with it is said below.
  }
  const range = [
    one.low !== null ? `at least ${one.low.toLocaleString("en-US")}` : one.above !== null ? `more than ${one.above}` : "",
    one.high !== null ? `at most ${one.high.toLocaleString("en-US")}` : one.below !== null ? `less than ${one.below}` : "",
  ].filter(Boolean);
  return (
    <div class="setting">
      <label for={id}>{one.key.split(".").at(-1)}</label>
      <div class="unit">
        {one.type === "boolean" || one.choices ? (
          <select id={id} value={text} onChange={(event) => set(event.currentTarget.value)}>
            <option value="">{usual || "none"} (default)</option>
            {(one.choices ?? ["true", "false"]).filter((choice) => choice !== usual).map((choice) => (
              <option key={choice}>{choice}</option>
            ))}
          </select>
        ) : (
          <input
            id={id}
            type="text"
            inputMode={one.type === "integer" ? "numeric" : one.type === "number" ? "decimal" : undefined}
            placeholder={usual || (one.nullable ? "none" : "")}
            value={text}
            aria-invalid={props.wrong ? true : undefined}
            aria-describedby={`${id}-about`}
            onInput={(event) => set(event.currentTarget.value)}
          />
        )}
        {one.unit && <small>{one.unit}</small>}
      </div>
      <div id={`${id}-about`}>
        {props.wrong && (
          <p class="wrong" role="alert">
            Expected {props.wrong}.
          </p>
        )}
        {costs.map((cost) => (
          <p key={cost} class="risk">
            ▲ Allowed, but {cost}.
          </p>
        ))}
        <p>
          {one.reason.replace(/\n/g, " ")} {range.length > 0 && <span class="tabnum">Range: {range.join(", ")}.</span>}
        </p>
      </div>
    </div>
  );
}
