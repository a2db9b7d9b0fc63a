// Whether a run can be watched, and what to say where it cannot.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { trouble, useApi } from "../api";
import type { Status } from "../core/wire";
import { link } from "../route";
import { Empty, Failed, Loading } from "../ui/parts";
import { type LiveRun, liveOf } from "./live_link";

/** Seconds without a step after which a stream is said to stand still. */
export const STILL_S = 3;

export function useLive(run: string): LiveRun {
  const [live, setLive] = useState(() => liveOf(run));
  useEffect(() => setLive(liveOf(run)), [run]);
  return live;
}

/** What to show in place of live pictures, or null where they are there. */
export function Unlive({ live, run }: { live: LiveRun; run: string }): JSX.Element | null {
  const about = useApi<any>(`runs/${run}`, {}, 5000);
  const history = (
    <p>
      <a class="button strong" href={link(["run", run, "episodes"])}>
        Open its recording
      </a>
    </p>
  );
  const state = live.state.value;
  if (state === "refused")
    return (
      <Empty title="The token was refused" tone="bad">
        <p>Open the address that the server printed.</p>
      </Empty>
    );
  if (state === "protocol")
    return (
      <Empty title="This page and the run do not understand each other" tone="bad">
        <p>{live.reason.value}. Load the page again; if that does not help, their versions differ.</p>
      </Empty>
    );
  if (state === "not_live" || (state === "ended" && !live.hello.value)) {
    if (!about.data) return about.error ? <Failed error={about.error} /> : <Loading what="the run" />;
    const going = about.data?.status === "running";
    return (
      <Empty title={going ? "This run is live elsewhere" : "This run is over"}>
        <p class="prose">
          {going
            ? "This server shows the history of the lake, and the run's own page has the live pictures. What is committed so far can be seen here as well."
            : `Its state is ${about.data?.status ?? "unknown"}, and nothing moves any more. Everything that was recorded can be played back.`}
        </p>
        {going && about.data.live_page && (
          <p>
            <a class="button strong" href={`${about.data.live_page}#/run/${run}/live`}>
              Open its live page
            </a>
          </p>
        )}
        {history}
      </Empty>
    );
  }
  if (!live.hello.value) {
    return state === "reconnecting" ? (
      <Empty title="No connection">
        <p>The live server does not answer; {live.reason.value}. What is recorded is not affected.</p>
        {history}
      </Empty>
    ) : (
      <Loading what="the live streams" />
    );
  }
  return null;
}

/** What breaks the picture without breaking the recording. */
export function Breaks({ live }: { live: LiveRun }): JSX.Element | null {
  const state = live.state.value;
  const run = live.status.value?.run.state;
  if (state === "ended")
    return (
      <p class="banner" role="status">
        The run has ended; these are its last pictures.
      </p>
    );
  if (state === "reconnecting" || state === "connecting") {
    if (trouble.value === "gone") return null; // the banner of the page says it
    return (
      <p class="banner" role="status">
        Connection lost, {live.reason.value || "connecting"}. What is recorded is not affected.
      </p>
    );
  }
  if (run === "hub_gone")
    return (
      <p class="banner" role="status">
        The hub does not answer: pictures go on, counts stand still. The recording goes on.
      </p>
    );
  return null;
}

/** The top of a page of live pictures: its title, what is chosen there, and what breaks them. */
export function LiveHead(props: { live: LiveRun; title: ComponentChildren; children: ComponentChildren }): JSX.Element {
  return (
    <>
      <div class="head">
        {props.title}
        <div class="push">{props.children}</div>
      </div>
      <Breaks live={props.live} />
    </>
  );
}

/** Where a stream is, as the last status says. */
export function stateOf(status: Status | null, stream: number): { state: string; episode: number | null; t: number | null; return: number | null } {
  const i = status?.streams.index.indexOf(stream) ?? -1;
  if (!status || i < 0) return { state: "no_viewer", episode: null, t: null, return: null };
  const { state, episode, t, return: sum } = status.streams;
  return { state: state[i], episode: episode[i], t: t[i], return: sum[i] };
}
