// A form made of the settings' JSON Schema: ranges and what risky values cost beside each; gives TOML and the command.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { useApi } from "../api";
import { asToml, costsOf, type Leaf, leavesOf, type Schema, valueOf } from "../core/settings";
import { note, place } from "../route";
import { Copy, Panel, Shown, Ticked } from "../ui/parts";

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
        <div class="push tight">
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
                  {Object.keys(wrong).length === 1 ? "1 value is" : `${Object.keys(wrong).length} values are`} not allowed and left out.
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
          <Ticked text={one.reason.replace(/\n/g, " ")} /> {range.length > 0 && <span class="tabnum">Range: {range.join(", ")}.</span>}
        </p>
      </div>
    </div>
  );
}
