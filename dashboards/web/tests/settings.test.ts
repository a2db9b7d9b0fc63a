import { describe, expect, it } from "vitest";
import { asToml, costsOf, leavesOf, valueOf } from "../src/core/settings";

const schema = {
  properties: {
    durable: { $ref: "#/$defs/Durable" },
    level: { enum: ["warn", "off"], default: "warn", type: "string" },
  },
  $defs: {
    Durable: {
      properties: {
        rows: { type: "integer", default: 100, minimum: 1, maximum: 1000, unit: "rows", description: "How many.", risks: [{ when: "below 10", cost: "it is slow" }] },
        age_s: { type: "number", default: 0.5, exclusiveMinimum: 0 },
        names: { type: "array", items: { type: "string" }, default: [] },
        limit: { anyOf: [{ type: "integer", minimum: 5 }, { type: "null" }], default: null },
      },
    },
  },
};
const leaves = Object.fromEntries(leavesOf(schema).map((leaf) => [leaf.key, leaf]));

describe("the form", () => {
  it("finds every leaf with its range", () => {
    expect(Object.keys(leaves)).toEqual(["durable.rows", "durable.age_s", "durable.names", "durable.limit", "level"]);
    expect(leaves["durable.rows"]).toMatchObject({ low: 1, high: 1000, unit: "rows", usual: 100 });
    expect(leaves["durable.limit"]).toMatchObject({ nullable: true, low: 5, type: "integer" });
  });

  it("takes what is allowed and says what is, otherwise", () => {
    expect(valueOf(leaves["durable.rows"], "50")).toBe(50);
    expect(valueOf(leaves["durable.names"], "a, b")).toEqual(["a", "b"]);
    expect(valueOf(leaves["durable.rows"], "")).toBeNull();
    expect(() => valueOf(leaves["durable.rows"], "0")).toThrow("at least 1");
    expect(() => valueOf(leaves["durable.rows"], "1.5")).toThrow("a whole number");
    expect(() => valueOf(leaves["durable.age_s"], "0")).toThrow("more than 0");
    expect(() => valueOf(leaves["durable.age_s"], "x")).toThrow("a number");
    expect(() => valueOf(leaves.level, "loud")).toThrow("one of warn, off");
  });

  it("says what a risky value costs", () => {
    expect(costsOf(leaves["durable.rows"], 5)).toEqual(["it is slow"]);
    expect(costsOf(leaves["durable.rows"], 50)).toEqual([]);
  });

  it("writes TOML, plain keys before sections", () => {
    expect(asToml([["durable.rows", 5], ["level", "off"], ["durable.names", ["a"]]])).toBe('level = "off"\n\n[durable]\nrows = 5\nnames = ["a"]\n');
    expect(asToml([])).toBe("");
  });
});
