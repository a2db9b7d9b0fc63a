// The page: navigation, the run in view, and one page at a time.

import { render, type JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { trouble, useApi } from "./api";
import { theme, type Theme } from "./choices";
import { ago } from "./core/numbers";
import { Compare } from "./pages/compare";
import { Config } from "./pages/config";
import { Episodes } from "./pages/episodes";
import { Flow } from "./pages/flow";
import { Form } from "./pages/form";
import { Health, type HealthData } from "./pages/health";
import { Live } from "./pages/live";
import { Focus } from "./pages/live_focus";
import { liveLink } from "./pages/live_link";
import { Logs } from "./pages/logs";
import { Replay } from "./pages/replay";
import { type RunsData, Runs } from "./pages/runs";
import { Schemas } from "./pages/schemas";
import { go, link, place, runInView } from "./route";
import { Badge, Empty, Icon, Loading } from "./ui/parts";

const OF_RUN = ["live", "flow", "logs", "episodes", "config"];
const RUN_ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const TITLES: Record<string, string> = {
  runs: "Runs",
  live: "Live",
  flow: "Flow",
  logs: "Logs",
  episodes: "Episodes",
  config: "Config",
  schemas: "Schemas",
  health: "Health",
  settings: "Settings form",
  compare: "Compare",
  episode: "Replay",
};
const NAV = ["runs", "live", "flow", "logs", "episodes", "config", "schemas", "health", "settings"];

function pageName(): string {
  const [first, , third] = place.value.path;
  return first === "run" ? (third ?? "episodes") : (first ?? "runs");
}

function Page(props: { run: string; runs: RunsData | null }): JSX.Element {
  const { path } = place.value;
  const name = pageName();
  if (OF_RUN.includes(name) || name === "episode") {
    if (!props.run) {
      return props.runs === null ? (
        <Loading what="the runs" />
      ) : (
        <Empty title="No run to look at yet">
          <p>Record one, and it appears here:</p>
          <code>rolltape record CartPole-v1 --steps 10000</code>
        </Empty>
      );
    }
  }
  if (props.run && !RUN_ID.test(props.run))
    return (
      <Empty title="No such run" tone="bad">
        <p class="prose">
          <code>{props.run}</code> is not the identity of a run.
        </p>
        <a href="#/">All runs</a>
      </Empty>
    );
  switch (name) {
    case "runs":
      return <Runs />;
    case "live":
      return path[3] === undefined ? <Live run={props.run} /> : <Focus run={props.run} stream={Number(path[3])} />;
    case "flow":
      return <Flow run={props.run} />;
    case "logs":
      return <Logs run={props.run} />;
    case "episodes":
      return <Episodes run={props.run} />;
    case "episode":
      return <Replay run={props.run} episode={Number(path[3])} key={`${props.run}/${path[3]}`} />;
    case "config":
      return <Config run={props.run} />;
    case "schemas":
      return <Schemas run={props.run} />;
    case "health":
      return <Health run={props.run} />;
    case "settings":
      return <Form />;
    case "compare":
      return <Compare />;
    default:
      return (
        <Empty title="No such page">
          <a href="#/">All runs</a>
        </Empty>
      );
  }
}

function App(): JSX.Element {
  const runs = useApi<RunsData>("runs", {}, 5000);
  const health = useApi<HealthData>("health", {}, 15_000);
  const ids: string[] = runs.data?.columns.run_id ?? [];
  const run = runInView.value || ids[0] || "";
  const at = ids.indexOf(run);
  const name = pageName();
  const main = useRef<HTMLElement>(null);
  const seen = useRef(name);
  useEffect(() => {
    document.title = `${TITLES[name] ?? "Rolltape"} · Rolltape`;
    if (seen.current !== name) main.current?.focus({ preventScroll: true });
    seen.current = name;
  }, [name]);
  const current = name === "episode" ? "episodes" : name === "compare" ? "runs" : name;
  const where = (page: string): string => {
    if (page === "runs") return "#/";
    if (OF_RUN.includes(page) && run) return link(["run", run, page]);
    return link([page]);
  };
  const status = at >= 0 ? runs.data?.columns.status[at] : null;
  const isOfRun = OF_RUN.includes(name) || name === "episode";
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        To the content
      </a>
      <aside class="side" aria-label="Rolltape">
        <a class="brand" href="#/" aria-label="Rolltape: all runs">
          <img src="./favicon.svg" alt="" />
          <span>Rolltape</span>
        </a>
        <nav class="nav" aria-label="Pages">
          {NAV.map((page) => (
            <a key={page} href={where(page)} aria-current={page === current ? "page" : undefined}>
              <Icon name={page} />
              {page === "settings" ? "Form" : TITLES[page]}
            </a>
          ))}
        </nav>
        <div class="foot">
          {health.data && (
            <>
              <div class="mono" title={health.data.lake}>
                {health.data.lake.split("/").slice(-2).join("/")}
              </div>
              <div>version {health.data.version}</div>
            </>
          )}
        </div>
      </aside>
      <div class="stack top-stack">
        <header class="top">
          <label class="field picker">
            <span class="wide-only">Run</span>
            <select
              aria-label="Run in view"
              value={run}
              disabled={!ids.length}
              onChange={(event) => go(link(["run", event.currentTarget.value, isOfRun && name !== "episode" ? name : "episodes"]))}
            >
              {!ids.length && <option value="">{runs.data ? "none yet" : "–"}</option>}
              {at < 0 && run && <option value={run}>{run}</option>}
              {ids.slice(0, 300).map((id, i) => (
                <option key={id} value={id}>
                  {short(runs.data?.columns.env_id[i] ?? "external")} · {id.slice(-6)} · {ago(runs.data?.columns.created[i])}
                </option>
              ))}
            </select>
          </label>
          {status && <Badge state={status} />}
          <LiveChip />
          <label class="field push">
            <span class="wide-only">Colours</span>
            <select aria-label="Colours" value={theme.value} onChange={(event) => (theme.value = event.currentTarget.value as Theme)}>
              <option value="auto">as the system</option>
              <option value="light">light</option>
              <option value="dark">dark</option>
            </select>
          </label>
        </header>
        <main id="main" tabIndex={-1} ref={main}>
          {trouble.value === "token" && (
            <div class="banner bad" role="alert">
              <span>
                The token of this page has expired or is missing. Open the address that <code>rolltape dashboard</code> printed; what is recorded is untouched.
              </span>
            </div>
          )}
          {trouble.value === "gone" && (
            <div class="banner" role="alert">
              The server cannot be reached; trying again. What is recorded is not affected, and what you see is as of then.
            </div>
          )}
          {trouble.value === "token" && !runs.data ? (
            <Empty title="Access needs a token" tone="bad">
              <p class="prose">
                Every start of the server prints an address with a new token. Open that one, or start it again:
              </p>
              <code>rolltape dashboard</code>
            </Empty>
          ) : (
            <Page run={run} runs={runs.data} />
          )}
        </main>
      </div>
    </div>
  );
}

function short(name: string): string {
  return name.length > 40 ? `${name.slice(0, 38)}…` : name;
}

function LiveChip(): JSX.Element | null {
  const live = liveLink.value;
  if (!live) return null;
  const me = live.status.value?.viewers.find((viewer) => viewer.me);
  const state = live.state.value;
  if (state === "not_live") return null; // the state of the run says it
  if (state !== "open") return <Badge state={state} />;
  if (!me?.subscribed) return null; // nothing is in view
  return (
    <span class="soft tabnum chip-fps" title="Pictures a second, and the time from the step to your screen">
      {me.fps.toFixed(1)} fps · {Math.round(me.latency_ms)} ms
    </span>
  );
}

render(<App />, document.getElementById("page") as HTMLElement);
