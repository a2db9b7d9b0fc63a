// Settings as their JSON Schema describes them: leaves, what each takes, what risky values cost, and TOML.

export interface Leaf {
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

export type Schema = Record<string, any>;

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
