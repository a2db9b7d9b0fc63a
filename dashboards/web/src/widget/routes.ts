// The ways to a run's gateway from a notebook, tried in order: through the Jupyter server, directly, through the kernel.

export interface Route {
  name: string;
  address: URL;
}

interface Door {
  host: string;
  port: number;
}

/** Where the Jupyter server's pages begin; null in notebooks that are not Jupyter's. */
function jupyterBase(doc: Document): string | null {
  const config = doc.querySelector("#jupyter-config-data")?.textContent;
  if (config) {
    try {
      const base = (JSON.parse(config) as { baseUrl?: string }).baseUrl;
      if (base) return base;
    } catch {
      return null; // somebody else's element
    }
  }
  return doc.body?.dataset.baseUrl ?? null;
}

export function routesTo(door: Door, run: string, doc: Document = document): Route[] {
  const routes: Route[] = [];
  const base = jupyterBase(doc);
  if (base !== null) {
    const address = new URL(`${base.replace(/\/*$/, "/")}proxy/${door.port}/api/live`, location.origin);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    routes.push({ name: "through the Jupyter server", address });
  }
  routes.push({ name: "directly", address: new URL(`ws://${door.host}:${door.port}/api/live`) });
  for (const route of routes) route.address.searchParams.set("run", run);
  return routes;
}

/** What a socket shows to be let in: a page of another origin has no cookie and can set no header. */
export function protocolsOf(token: string): string[] {
  const bytes = new TextEncoder().encode(token);
  const text = btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  return ["rolltape.v1", `rolltape.token.${text}`];
}
