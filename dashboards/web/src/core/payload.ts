// What stands for the look of an environment: its shape, and what it says in words.

export interface GridItem {
  name: string;
  row: number;
  column: number;
  label: string;
  facing: string;
  color: string;
}

export interface GridPayload {
  kind: "grid";
  rows: number;
  columns: number;
  tiles: string[];
  cells: number[][];
  items: GridItem[];
  walls: [number, number, string][];
  facts: Record<string, string | number | boolean>;
}

export interface GraphNode {
  id: string;
  label: string;
  role: string;
  x: number | null;
  y: number | null;
}

export interface GraphPayload {
  kind: "graph";
  nodes: GraphNode[];
  edges: { source: string; target: string; label: string; role: string }[];
  directed: boolean;
  facts: Record<string, string | number | boolean>;
}

export interface TextPayload {
  kind: "text";
  lines: string[];
  facts: Record<string, string | number | boolean>;
}

export interface RgbPayload {
  kind: "rgb";
  frame: string;
  t: number | null;
  facts: Record<string, string | number | boolean>;
}

export type Payload = GridPayload | GraphPayload | TextPayload | RgbPayload;

/** What a picture of it shows, for who cannot see it. */
export function inWords(payload: Payload): string {
  const facts = Object.entries(payload.facts ?? {}).map(([name, value]) => `${name} ${value}`);
  return [described(payload), ...facts].join("; ");
}

function described(payload: Payload): string {
  switch (payload.kind) {
    case "grid": {
      const items = payload.items.map((item) => {
        const facing = item.facing ? ` facing ${item.facing}` : "";
        return `${item.name} at row ${item.row + 1}, column ${item.column + 1}${facing}`;
      });
      return [`Grid of ${payload.rows} rows and ${payload.columns} columns`, ...items].join(": ").replace(/: (?=.*: )/g, ", ");
    }
    case "graph": {
      const special = payload.nodes.filter((node) => node.role).map((node) => `${node.role} at ${node.label || node.id}`);
      const size = `Graph of ${payload.nodes.length} nodes and ${payload.edges.length} edges`;
      return [size, ...special.slice(0, 8)].join(", ");
    }
    case "text":
      return `Text: ${payload.lines.join(" ")}`;
    case "rgb":
      return "Picture";
  }
}
